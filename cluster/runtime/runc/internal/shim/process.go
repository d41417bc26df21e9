//go:build linux && cgo

package shim

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/user"
	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// maxUserFile bounds /etc/passwd and /etc/group of an image.
const maxUserFile = 1 << 20

// newProcess turns the OCI form into libcontainer's.
func newProcess(p *specs.Process, first bool) *libcontainer.Process {
	out := &libcontainer.Process{
		Args: p.Args, Env: p.Env, Cwd: p.Cwd, Init: first,
		UID: int(p.User.UID), GID: int(p.User.GID), NoNewPrivileges: &p.NoNewPrivileges,
	}
	for _, g := range p.User.AdditionalGids {
		out.AdditionalGroups = append(out.AdditionalGroups, int(g))
	}
	if c := p.Capabilities; c != nil {
		out.Capabilities = &configs.Capabilities{
			Bounding: c.Bounding, Effective: c.Effective, Inheritable: c.Inheritable,
			Permitted: c.Permitted, Ambient: c.Ambient,
		}
	}
	for _, r := range p.Rlimits {
		if kind, ok := rlimits()[r.Type]; ok {
			out.Rlimits = append(out.Rlimits, configs.Rlimit{Type: kind, Hard: r.Hard, Soft: r.Soft})
		}
	}
	return out
}

func rlimits() map[string]int {
	return map[string]int{"RLIMIT_NOFILE": unix.RLIMIT_NOFILE, "RLIMIT_CORE": unix.RLIMIT_CORE}
}

// setUser finds the image's user in its own files and sets IDs, groups, HOME.
func setUser(p *specs.Process, root, name string) error {
	passwd, closePasswd, err := openIn(root, "etc/passwd")
	if err != nil {
		return err
	}
	defer closePasswd()
	group, closeGroup, err := openIn(root, "etc/group")
	if err != nil {
		return err
	}
	defer closeGroup()
	u, err := user.GetExecUser(name, &user.ExecUser{Home: "/"}, passwd, group)
	if err != nil {
		return fmt.Errorf("user %.80q of the image: %w", name, err)
	}
	p.User.UID, p.User.GID = uint32(u.Uid), uint32(u.Gid)
	for _, g := range u.Sgids {
		p.User.AdditionalGids = append(p.User.AdditionalGids, uint32(g))
	}
	if !hasEnv(p.Env, "HOME") {
		p.Env = append(p.Env, "HOME="+u.Home)
	}
	if u.Uid != 0 { // only root holds capabilities; others get none by exec anyway
		p.Capabilities.Effective, p.Capabilities.Permitted = nil, nil
	}
	return nil
}

func hasEnv(env []string, name string) bool {
	for _, e := range env {
		if strings.HasPrefix(e, name+"=") {
			return true
		}
	}
	return false
}

// openIn opens a file of the image, following no link out of it. A file that is
// not there is empty.
func openIn(root, name string) (io.Reader, func(), error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, nil, err
	}
	info, err := r.Stat(name)
	if err != nil || !info.Mode().IsRegular() {
		return strings.NewReader(""), func() { _ = r.Close() }, nil //nolint:nilerr // no such file, or a link out of the image
	}
	f, err := r.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return strings.NewReader(""), func() { _ = r.Close() }, nil
	}
	if err != nil {
		return nil, nil, errors.Join(err, r.Close())
	}
	return io.LimitReader(f, maxUserFile), func() { _, _ = f.Close(), r.Close() }, nil
}

// addVolumes mounts volumes on the stage, shifted, and binds them from there.
func (k *keeper) addVolumes() error {
	for i, v := range k.plan.Volumes {
		at, err := k.stage.bind(v.Source, "volumes", strconv.Itoa(i))
		if err != nil {
			return err
		}
		options := []string{"bind", "nosuid", "nodev", "rprivate"}
		if v.ReadOnly {
			options = append(options, "ro")
		}
		k.plan.OCI.Mounts = append(k.plan.OCI.Mounts, specs.Mount{Type: "bind", Source: at, Destination: v.Target, Options: options})
	}
	return nil
}

// outOfMemory asks the container's memory cgroup, before it is removed, whether
// the kernel killed something in it.
func (k *keeper) outOfMemory() bool {
	state, err := k.container.State()
	if err != nil {
		return false
	}
	for _, at := range []struct{ controller, file string }{{"memory", "memory.oom_control"}, {"", "memory.events"}} {
		if dir := state.CgroupPaths[at.controller]; dir != "" && counter(filepath.Join(dir, at.file), "oom_kill") > 0 {
			return true
		}
	}
	return false
}

// counter reads one number of a file of names and numbers.
func counter(path, name string) uint64 {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			n, _ := strconv.ParseUint(value, 10, 64)
			return n
		}
	}
	return 0
}

// leaveCgroup moves the shim out of the agent's cgroup, so that whoever stops the
// agent by its cgroup (systemd) does not stop containers. Where that cannot be,
// the shim stays where it is.
func leaveCgroup(name string) {
	if name == "" {
		return
	}
	for _, top := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"} {
		if _, err := os.Stat(filepath.Join(top, "cgroup.procs")); err != nil {
			continue
		}
		dir := filepath.Join(top, name)
		if os.MkdirAll(dir, 0o755) == nil {
			_ = os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0o600)
		}
	}
}
