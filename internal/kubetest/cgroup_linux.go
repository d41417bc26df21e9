package kubetest

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroups are the control group trees of one cluster: <name>/system holds its
// own programs, <name>/node-n the pods of a node. What is in them is the
// cluster's and nobody else's, so ending and removing them is exact.
type cgroups struct {
	name string
	// mounts has the folder of every hierarchy: several in version 1, one in
	// version 2.
	mounts  []string
	unified bool
	// beside is a hierarchy of version 2 that has no controllers of ours.
	beside string
}

const cgroupRoot = "/sys/fs/cgroup"

func newCgroups(name string) (cgroups, error) {
	c := cgroups{name: name}
	var st unix.Statfs_t
	if err := unix.Statfs(cgroupRoot, &st); err != nil {
		return c, fmt.Errorf("kubetest: control groups: %w", err)
	}
	if st.Type == unix.CGROUP2_SUPER_MAGIC {
		c.unified, c.mounts = true, []string{cgroupRoot}
		return c, nil
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return c, err
	}
	defer func() { _ = f.Close() }()
	for s := bufio.NewScanner(f); s.Scan(); {
		before, after, _ := strings.Cut(s.Text(), " - ")
		fields := strings.Fields(before)
		const mountPoint = 4
		if strings.HasPrefix(after, "cgroup2 ") && len(fields) > mountPoint {
			c.beside = fields[mountPoint] // of a hybrid; runc leaves empty folders in it
		}
		if strings.HasPrefix(after, "cgroup ") && len(fields) > mountPoint && strings.HasPrefix(fields[mountPoint], cgroupRoot) {
			c.mounts = append(c.mounts, fields[mountPoint])
		}
	}
	if len(c.mounts) == 0 {
		return c, errors.New("kubetest: no control groups are mounted below " + cgroupRoot)
	}
	return c, nil
}

// make makes one group below the cluster's in every hierarchy, with the
// processors of its parent (a new cpuset of version 1 has none).
func (c cgroups) make(group string) error {
	for _, mount := range c.mounts {
		parent := mount
		for _, part := range []string{c.name, group} {
			dir := filepath.Join(parent, part)
			if c.unified {
				if err := delegate(parent); err != nil {
					return err
				}
			}
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("kubetest: control group: %w", err)
			}
			if err := inherit(parent, dir); err != nil {
				return err
			}
			parent = dir
		}
		if c.unified && group != systemGroup {
			if err := delegate(parent); err != nil {
				return err
			}
		}
	}
	return nil
}

// delegate lets children use every controller that dir has (version 2).
func delegate(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(string(b)) {
		err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+name), 0o644)
		if err != nil {
			return fmt.Errorf("kubetest: controller %s: %w", name, err)
		}
	}
	return nil
}

func inherit(parent, dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		b, err := os.ReadFile(filepath.Join(parent, file))
		if errors.Is(err, fs.ErrNotExist) || strings.TrimSpace(string(b)) == "" {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, file), b, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// systemGroup is the group of the cluster's own programs.
const systemGroup = "system"

// enter moves a process into the group of programs. One hierarchy is enough to
// know it by; limits of the others stay the caller's.
func (c cgroups) enter(pid int) error {
	dir := filepath.Join(c.tracker(), c.name, systemGroup)
	return os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644)
}

// tracker is the hierarchy by which processes are found.
func (c cgroups) tracker() string {
	if i := slices.IndexFunc(c.mounts, func(m string) bool { return filepath.Base(m) == "pids" }); i >= 0 {
		return c.mounts[i]
	}
	return c.mounts[0]
}

// members returns the processes of a group and all below it.
func (c cgroups) members(group string) []int {
	var pids []int
	root := filepath.Join(c.tracker(), c.name, group)
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			b, _ := os.ReadFile(filepath.Join(path, "cgroup.procs"))
			for _, field := range strings.Fields(string(b)) {
				if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
					pids = append(pids, pid)
				}
			}
		}
		return nil // a group that went away meanwhile has no members
	})
	return pids
}

// remove removes all groups, deepest first; they must be empty.
func (c cgroups) remove() error {
	var errs []error
	mounts := slices.Clone(c.mounts)
	if c.beside != "" {
		mounts = append(mounts, c.beside)
	}
	for _, mount := range mounts {
		var dirs []string
		_ = filepath.WalkDir(filepath.Join(mount, c.name), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for _, dir := range slices.Backward(dirs) {
			if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
