//go:build linux && cgo

package shim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/moorage-dev/moorage/cluster/runtime/runc/internal/plan"
)

// userNamespace opens a user namespace with the mapping.
func userNamespace(r plan.IDRange) (*os.File, error) {
	maps := []syscall.SysProcIDMap{{ContainerID: 0, HostID: int(r.Base), Size: int(r.Size)}}
	cmd := exec.CommandContext(context.Background(), "/proc/self/exe", verbHold)
	cmd.Args[0] = Name
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: maps, GidMappings: maps}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("make a user namespace: %w", err)
	}
	f, err := os.Open("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/ns/user")
	_ = in.Close()
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	return f, err
}

// bindMapped mounts source at target with owners shifted into the namespace.
func bindMapped(source, target string, userns *os.File) error {
	tree, err := unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("open tree %s: %w", source, err)
	}
	defer func() { _ = unix.Close(tree) }()
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(userns.Fd())}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return fmt.Errorf("shift owners of %s: %w", source, err)
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount %s: %w", target, err)
	}
	return nil
}

// tryIDMap does once what each container needs: a user namespace, a shifted
// folder and an overlay on it.
func tryIDMap(dir string) (err error) {
	work, err := os.MkdirTemp(dir, "probe-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	for _, d := range []string{"source", "lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(work, d), 0o700); err != nil {
			return err
		}
	}
	ns, err := userNamespace(plan.IDRange{Base: 1 << 30, Size: 65536})
	if err != nil {
		return err
	}
	defer func() { _ = ns.Close() }()
	lower := filepath.Join(work, "lower")
	if err := bindMapped(filepath.Join(work, "source"), lower, ns); err != nil {
		return err
	}
	defer func() { _ = unix.Unmount(lower, unix.MNT_DETACH) }()
	merged := filepath.Join(work, "merged")
	data := overlayData([]string{lower}, filepath.Join(work, "upper"), filepath.Join(work, "work"))
	if err := unix.Mount("overlay", merged, "overlay", 0, data); err != nil {
		return fmt.Errorf("overlay on shifted folders: %w", err)
	}
	return unix.Unmount(merged, unix.MNT_DETACH)
}
