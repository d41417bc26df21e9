//go:build linux && cgo

package shim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/moorage-dev/moorage/cluster/runtime/runc/internal/plan"
)

// stage is a small file system of the shim's own mount namespace on which layers
// and the container's root are mounted. It lies where a container's root user,
// who is nobody on the host, can reach it whatever the modes of the folders that
// lead to the state directory. Nothing of it is seen outside, and it vanishes
// with shim and container.
type stage struct {
	dir    string
	userns *os.File // nil without
}

// prepareStage takes the mount namespace into use.
func prepareStage(state string, ids *plan.IDRange) (*stage, error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return nil, fmt.Errorf("take the mount namespace: %w", err)
	}
	dir, err := stagePlace(state)
	if err != nil {
		return nil, err
	}
	if err := unix.Mount("moorage", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0711,size=1m"); err != nil {
		return nil, fmt.Errorf("mount the stage on %s: %w", dir, err)
	}
	s := &stage{dir: dir}
	if ids != nil {
		if s.userns, err = userNamespace(*ids); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// stagePlace picks a folder that everybody can reach and that does not cover the
// state directory.
func stagePlace(state string) (string, error) {
	for _, dir := range []string{"/mnt", "/srv", "/media", "/opt", "/tmp"} {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() {
			continue
		}
		if rel, err := filepath.Rel(dir, state); err == nil && filepath.IsLocal(rel) {
			continue
		}
		return dir, nil
	}
	return "", errors.New("none of /mnt, /srv, /media, /opt, /tmp can be used as a mount point")
}

func (s *stage) close() {
	if s.userns != nil {
		_ = s.userns.Close()
	}
}

// mkdir makes a folder on the stage.
func (s *stage) mkdir(parts ...string) (string, error) {
	dir := filepath.Join(append([]string{s.dir}, parts...)...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}

// bind puts a folder of the host on the stage, shifted if there is a shift.
func (s *stage) bind(source string, parts ...string) (string, error) {
	target, err := s.mkdir(parts...)
	if err != nil {
		return "", err
	}
	if s.userns != nil {
		return target, bindMapped(source, target, s.userns)
	}
	return target, unix.Mount(source, target, "", unix.MS_BIND, "")
}

// root mounts the container's file system: layers below, state/upper above.
func (s *stage) root(state string, layers []string, owner int) (string, error) {
	merged, err := s.mkdir("root")
	if err != nil {
		return "", err
	}
	lower, err := s.lower(layers)
	if err != nil {
		return "", err
	}
	upper, work := filepath.Join(state, plan.UpperDir), filepath.Join(state, plan.WorkDir)
	for _, dir := range []string{upper, work} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", err
		}
	}
	if err := errors.Join(os.Chmod(upper, 0o755), os.Chown(upper, owner, owner)); err != nil {
		return "", err
	}
	// Layer names are relative to keep the kernel's one page of options long enough.
	if err := os.Chdir(s.dir); err != nil {
		return "", err
	}
	if err := unix.Mount("overlay", merged, "overlay", unix.MS_NODEV, overlayData(lower, upper, work)); err != nil {
		return "", fmt.Errorf("mount the image (overlayfs on %s): %w", state, err)
	}
	return merged, nil
}

// lower gives the layers' names, highest first.
func (s *stage) lower(layers []string) ([]string, error) {
	if len(layers) == 0 {
		_, err := s.mkdir("empty")
		return []string{"empty"}, err
	}
	var names []string
	for i := len(layers) - 1; i >= 0; i-- {
		name := strconv.Itoa(i)
		if _, err := s.bind(layers[i], name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// overlayData writes mount options; commas, colons and backslashes in names are
// escaped.
func overlayData(lower []string, upper, work string) string {
	esc := strings.NewReplacer(`\`, `\\`, `:`, `\:`, `,`, `\,`).Replace
	names := make([]string, len(lower))
	for i, l := range lower {
		names[i] = esc(l)
	}
	esc = strings.NewReplacer(`\`, `\\`, `,`, `\,`).Replace
	return "lowerdir=" + strings.Join(names, ":") + ",upperdir=" + esc(upper) + ",workdir=" + esc(work)
}
