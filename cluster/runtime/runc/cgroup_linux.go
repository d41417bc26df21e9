//go:build cgo

package runc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	cgroupTop = "/sys/fs/cgroup"
	// killTime bounds waiting for killed processes to leave a cgroup; one that hangs
	// in the kernel may take longer than anybody should wait.
	killTime = 10 * time.Second
	killStep = 5 * time.Millisecond
)

// cgroup is a container's cgroup, the same in every hierarchy.
func (r *Runtime) cgroup(name string) string { return r.cgroupRoot() + "/c-" + name }

func (r *Runtime) cgroupRoot() string { return "/moorage/" + r.instance }

// now is the time of something observed.
func now() time.Time { return time.Now() }

// cgroupDirs finds the cgroup in the one hierarchy of v2 or the many of v1.
func cgroupDirs(name string) []string {
	tops := []string{cgroupTop}
	if entries, err := os.ReadDir(cgroupTop); err == nil {
		for _, e := range entries {
			tops = append(tops, filepath.Join(cgroupTop, e.Name()))
		}
	}
	var out []string
	for _, top := range tops {
		dir := filepath.Join(top, name)
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
			out = append(out, dir)
		}
	}
	return out
}

// killCgroup kills everything in a cgroup and removes it. Absent is no error.
func killCgroup(name string) error {
	deadline := now().Add(killTime)
	for {
		left := 0
		dirs := cgroupDirs(name)
		for _, dir := range dirs {
			for _, pid := range members(dir) {
				_ = unix.Kill(pid, unix.SIGKILL)
				left++
			}
		}
		if left == 0 {
			return removeCgroup(dirs)
		}
		if now().After(deadline) {
			return fmt.Errorf("runc: %d processes in cgroup %s do not end", left, name)
		}
		time.Sleep(killStep)
	}
}

// removeCgroup removes empty cgroups; the kernel may need a moment to see that
// they are.
func removeCgroup(dirs []string) error {
	deadline := now().Add(killTime)
	for _, dir := range dirs {
		for {
			err := unix.Rmdir(dir)
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				break
			}
			if !errors.Is(err, unix.EBUSY) || now().After(deadline) {
				return fmt.Errorf("runc: remove cgroup %s: %w", dir, err)
			}
			time.Sleep(killStep)
		}
	}
	return nil
}

func members(dir string) []int {
	data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return nil
	}
	var out []int
	for _, f := range strings.Fields(string(data)) {
		if pid, err := strconv.Atoi(f); err == nil && pid > 1 {
			out = append(out, pid)
		}
	}
	return out
}
