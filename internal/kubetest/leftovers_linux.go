package kubetest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/util/wait"
)

// Clusters of all test binaries on this machine know of each other by their
// folders: <temporary folder>/moorage-kube-*, each with a file that names the
// process it belongs to.
const (
	folderPrefix = "moorage-kube-"
	ownerFile    = "owner"
	beforeFile   = "before.json"
)

// state is what the machine was like before the first cluster.
type state struct {
	// Settings has values by name below /proc/sys.
	Settings map[string]string
	// Absent are folders and files outside our own that were not there.
	Absent []string
}

// machineWide are settings that kubelet changes for the whole machine; the last
// cluster puts them back.
func machineWide() []string {
	return []string{"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes"}
}

// outside are the paths that Kubernetes and containerd fix in their code; they
// stand in the order of removal.
func outside() []string {
	return []string{
		"/var/lib/kubelet/device-plugins/kubelet.sock", "/var/lib/kubelet/device-plugins", "/var/lib/kubelet",
		"/usr/libexec/kubernetes/kubelet-plugins/volume/exec", "/usr/libexec/kubernetes/kubelet-plugins/volume",
		"/usr/libexec/kubernetes/kubelet-plugins", "/usr/libexec/kubernetes",
		"/var/lib/cni/results", "/var/lib/cni", "/var/log/containers", "/tmp/hostpath_pv",
		"/run/containerd/s", "/run/containerd/runc/k8s.io", "/run/containerd/runc", "/run/containerd",
	}
}

// claimFolder makes the folder of a new cluster, after removing what killed
// test binaries left behind.
func claimFolder(ctx context.Context) (string, error) {
	unlock, err := lockMachine()
	if err != nil {
		return "", err
	}
	defer unlock()
	before := readState()
	for _, dir := range folders() {
		if alive(dir) {
			if b, err := os.ReadFile(filepath.Join(dir, beforeFile)); err == nil {
				_ = json.Unmarshal(b, &before)
			}
			continue
		}
		if err := removeCluster(ctx, dir); err != nil {
			return "", fmt.Errorf("kubetest: what another test left behind: %w", err)
		}
		before = readState()
	}
	dir, err := os.MkdirTemp("", folderPrefix)
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // volumes are read by pods of any user
		return "", err
	}
	started, err := startTime(os.Getpid())
	if err != nil {
		return "", err
	}
	saved, err := json.Marshal(before)
	if err != nil {
		return "", err
	}
	return dir, errors.Join(
		os.WriteFile(filepath.Join(dir, beforeFile), saved, 0o600),
		os.WriteFile(filepath.Join(dir, ownerFile), fmt.Appendf(nil, "%d %s", os.Getpid(), started), 0o600),
	)
}

// releaseFolder removes a cluster's folder and all that belongs to it.
func releaseFolder(ctx context.Context, dir string) error {
	unlock, err := lockMachine()
	if err != nil {
		return err
	}
	defer unlock()
	return removeCluster(ctx, dir)
}

// lockMachine keeps other test binaries from starting or removing clusters. The
// lock is on the temporary folder itself, so nothing is left of it.
func lockMachine() (unlock func(), err error) {
	f, err := os.Open(os.TempDir())
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}

func folders() []string {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), folderPrefix+"*"))
	return dirs
}

// alive reports whether the process that a folder belongs to still runs.
func alive(dir string) bool {
	b, err := os.ReadFile(filepath.Join(dir, ownerFile))
	if err != nil {
		return false
	}
	text, since, _ := strings.Cut(string(b), " ")
	pid, err := strconv.Atoi(text)
	if err != nil {
		return false
	}
	started, err := startTime(pid)
	return err == nil && started == since
}

// startTime tells a process from a later one with the same number.
func startTime(pid int) (string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	_, after, _ := strings.Cut(string(b), ") ") // the name may hold anything
	fields := strings.Fields(after)
	const index = 19
	if len(fields) <= index {
		return "", fmt.Errorf("kubetest: /proc/%d/stat is short", pid)
	}
	return fields[index], nil
}

func readState() state {
	s := state{Settings: map[string]string{}}
	for _, name := range machineWide() {
		if b, err := os.ReadFile(filepath.Join("/proc/sys", name)); err == nil {
			s.Settings[name] = strings.TrimSpace(string(b))
		}
	}
	for _, path := range outside() {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			s.Absent = append(s.Absent, path)
		}
	}
	return s
}

// removeCluster ends and removes all of a cluster; it needs the machine's lock.
func removeCluster(ctx context.Context, dir string) error {
	groups, err := newCgroups(filepath.Base(dir))
	if err != nil {
		return err
	}
	const patience = 20 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	strays := append(shimSockets(dir), networkResults(dir)...)
	strays = append(strays, volumes(dir)...)
	errs := []error{killAll(ctx, groups), unmountBelow(dir), removeLogLinks(dir), wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true,
		func(context.Context) (bool, error) { return groups.remove() == nil, nil })}
	for _, s := range strays {
		errs = append(errs, os.RemoveAll(s))
	}
	if !slices.ContainsFunc(folders(), func(o string) bool { return o != dir }) {
		errs = append(errs, restore(dir))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("kubetest: remove %s: %w", dir, err)
	}
	return os.RemoveAll(dir)
}

// killAll kills what is in the cluster's groups until nothing is left.
func killAll(ctx context.Context, groups cgroups) error {
	return wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, func(context.Context) (bool, error) {
		pids := groups.members("")
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		return len(pids) == 0, nil
	})
}

// unmountBelow unmounts everything below dir, the last mount first.
func unmountBelow(dir string) error {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var points []string
	for s := bufio.NewScanner(f); s.Scan(); {
		const mountPoint = 4
		if fields := strings.Fields(s.Text()); len(fields) > mountPoint && strings.HasPrefix(fields[mountPoint], dir+"/") {
			points = append(points, fields[mountPoint])
		}
	}
	_ = f.Close()
	var errs []error
	for _, p := range slices.Backward(points) {
		if err := unix.Unmount(p, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", p, err))
		}
	}
	return errors.Join(errs...)
}

// shimSockets returns the sockets of containers' shims: containerd puts them
// outside of its own folders.
func shimSockets(dir string) []string {
	files, _ := filepath.Glob(filepath.Join(dir, "*/state/io.containerd.runtime.v2.task/k8s.io/*/address"))
	var out []string
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil {
			out = append(out, strings.TrimPrefix(string(b), "unix://"))
		}
	}
	return out
}

// networkResults returns what network plug-ins noted of our pods that were not
// stopped in an orderly way; where they note it is fixed in containerd's code.
func networkResults(dir string) (out []string) {
	sandboxes, _ := filepath.Glob(filepath.Join(dir, "*/containerd/io.containerd.grpc.v1.cri/sandboxes/*"))
	for _, s := range sandboxes {
		files, _ := filepath.Glob("/var/lib/cni/results/*-" + filepath.Base(s) + "-*")
		out = append(out, files...)
	}
	return out
}

// volumes returns the folders that the controller manager made for volumes. It
// fixes where; which are ours stands in our etcd, whose files are searched because
// it does not run any more.
func volumes(dir string) (out []string) {
	pattern := regexp.MustCompile(`/tmp/hostpath_pv/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
	_ = filepath.WalkDir(filepath.Join(dir, "etcd"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // what cannot be read names nothing
		}
		b, _ := os.ReadFile(path)
		for _, found := range pattern.FindAll(b, -1) {
			out = append(out, string(found))
		}
		return nil
	})
	slices.Sort(out)
	return slices.Compact(out)
}

// restore puts the machine back to what it was before the first cluster.
func restore(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, beforeFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var before state
	if err == nil {
		err = json.Unmarshal(b, &before)
	}
	errs := []error{err}
	for name, value := range before.Settings {
		errs = append(errs, os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0o644))
	}
	for _, path := range before.Absent {
		_ = os.Remove(path) // what is not empty belongs to others by now
	}
	return errors.Join(errs...)
}

// removeLogLinks removes kubelet's links to our pods' logs; their folder is
// fixed in its code.
func removeLogLinks(dir string) error {
	links, _ := filepath.Glob("/var/log/containers/*.log")
	var errs []error
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && strings.HasPrefix(to, dir+"/") {
			errs = append(errs, os.Remove(link))
		}
	}
	return errors.Join(errs...)
}
