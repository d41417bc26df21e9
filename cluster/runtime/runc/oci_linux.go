//go:build cgo

package runc

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/image"
	"github.com/moorage-dev/moorage/cluster/runtime/runc/internal/plan"
)

const (
	defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	// cpuPeriod is the span over which processor time is counted, in microseconds.
	cpuPeriod = 100_000
	// minQuota is the least the kernel takes for a period, in microseconds.
	minQuota = 1000
	// minShares is the least weight the kernel takes.
	minShares = 2
	// maxFiles bounds open files where the host allows as many.
	maxFiles = 1 << 20
	// oomAdjust makes the kernel take a container's process before the agent.
	oomAdjust = 100
)

// capabilities are the usual few. Left out of Docker's list: MKNOD (no devices),
// NET_RAW (ping works without, forging packets does not) and SETFCAP.
func capabilities() []string {
	return []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
		"CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_AUDIT_WRITE",
	}
}

// ociSpec is the container's configuration but for root, user and volumes.
func ociSpec(r *Runtime, s saved, im image.Details) (*specs.Spec, error) {
	command := command(s.Spec, im)
	if len(command) == 0 {
		return nil, fmt.Errorf("%w: neither the image nor the spec says what to run", runtime.ErrInvalid)
	}
	caps := capabilities()
	files := openFiles()
	adjust := oomAdjust
	o := &specs.Spec{
		Version: specs.Version, Root: &specs.Root{}, Hostname: hostname(s.Spec),
		Process: &specs.Process{
			Args: command, Env: environment(s.Spec, im), Cwd: "/", NoNewPrivileges: true, OOMScoreAdj: &adjust,
			Capabilities: &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps},
			Rlimits:      []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Hard: files, Soft: files}, {Type: "RLIMIT_CORE"}},
		},
		Mounts: append(kernelMounts(), fileMounts(r.containerDir(s.Spec.Name))...),
		Linux: &specs.Linux{
			CgroupsPath: r.cgroup(s.Spec.Name), Resources: resources(s.Spec.Resources), RootfsPropagation: "private",
			MaskedPaths: maskedPaths(), ReadonlyPaths: readonlyPaths(),
			Sysctl: map[string]string{"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 65535"},
		},
	}
	if im.WorkingDir != "" {
		o.Process.Cwd = filepath.Join("/", im.WorkingDir)
	}
	for _, m := range s.Spec.Mounts {
		if m.Tmpfs {
			o.Mounts = addMount(o.Mounts, tmpfs(m))
		}
	}
	namespaces(o, s.IDBase)
	if !r.shim.Seccomp {
		return o, nil
	}
	profile, err := seccomp.GetDefaultProfile(o)
	if err != nil {
		return nil, fmt.Errorf("runc: seccomp profile: %w", err)
	}
	o.Linux.Seccomp = profile
	return o, nil
}

func namespaces(o *specs.Spec, base uint32) {
	for _, kind := range []specs.LinuxNamespaceType{
		specs.PIDNamespace, specs.NetworkNamespace, specs.IPCNamespace, specs.UTSNamespace, specs.MountNamespace, specs.CgroupNamespace,
	} {
		o.Linux.Namespaces = append(o.Linux.Namespaces, specs.LinuxNamespace{Type: kind})
	}
	if base == 0 {
		return
	}
	o.Linux.Namespaces = append(o.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: base, Size: IDsPerContainer}}
	o.Linux.UIDMappings, o.Linux.GIDMappings = ids, ids
}

// command is what to run: Kubernetes' rule of command and args over the image's
// entrypoint and command.
func command(s runtime.Spec, im image.Details) []string {
	entry, args := im.Entrypoint, im.Cmd
	if s.Entrypoint != nil {
		entry, args = s.Entrypoint, nil
	}
	if s.Args != nil {
		args = s.Args
	}
	return append(slices.Clone(entry), args...)
}

// environment is the image's and the spec's, the later of one name winning.
func environment(s runtime.Spec, im image.Details) []string {
	all := append([]string{defaultPath, "HOSTNAME=" + hostname(s)}, im.Env...)
	all = append(all, s.Env...)
	at := map[string]int{}
	var out []string
	for _, e := range all {
		name, _, ok := strings.Cut(e, "=")
		if !ok {
			continue
		}
		if i, seen := at[name]; seen {
			out[i] = e
			continue
		}
		at[name] = len(out)
		out = append(out, e)
	}
	return out
}

func hostname(s runtime.Spec) string {
	if s.Hostname != "" {
		return s.Hostname
	}
	return s.Name
}

func openFiles() uint64 {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 1024
	}
	return min(l.Max, maxFiles)
}

func resources(r runtime.Resources) *specs.LinuxResources {
	pids := r.PIDs
	if pids == 0 {
		pids = runtime.DefaultPIDs
	}
	out := &specs.LinuxResources{
		Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}},
		Pids:    &specs.LinuxPids{Limit: pids},
	}
	if r.MilliCores > 0 {
		quota := max(int64(r.MilliCores)*cpuPeriod/1000, minQuota)
		shares := max(r.MilliCores*1024/1000, minShares)
		period := uint64(cpuPeriod)
		out.CPU = &specs.LinuxCPU{Quota: &quota, Period: &period, Shares: &shares}
	}
	if limit := r.MemoryLimit(); limit > 0 {
		bytes := int64(limit)
		out.Memory = &specs.LinuxMemory{Limit: &bytes}
		if swapCounted() {
			out.Memory.Swap = &bytes // memory and swap together: no swap
		}
	}
	return out
}

// swapCounted reports whether the kernel can bound swap per cgroup.
func swapCounted() bool {
	if _, err := os.Stat(filepath.Join(cgroupTop, "cgroup.controllers")); err == nil {
		return true
	}
	_, err := os.Stat(filepath.Join(cgroupTop, "memory/memory.memsw.limit_in_bytes"))
	return err == nil
}

func kernelMounts() []specs.Mount {
	guarded := []string{"nosuid", "noexec", "nodev"}
	with := func(more ...string) []string { return append(slices.Clone(guarded), more...) }
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: guarded},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=64k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: with("mode=1777", "size=64m")},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: guarded},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: with("ro")},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: with("relatime", "ro")},
	}
}

// fileMounts are the three files that every container expects, kept by the agent.
func fileMounts(dir string) []specs.Mount {
	var out []specs.Mount
	for name, target := range map[string]string{
		plan.HostsFile: "/etc/hosts", plan.ResolvFile: "/etc/resolv.conf", plan.NameFile: "/etc/hostname",
	} {
		out = append(out, specs.Mount{
			Type: "bind", Source: filepath.Join(dir, name), Destination: target,
			Options: []string{"bind", "rprivate", "ro", "nosuid", "nodev", "noexec"},
		})
	}
	slices.SortFunc(out, func(a, b specs.Mount) int { return strings.Compare(a.Destination, b.Destination) })
	return out
}

func tmpfs(m runtime.Mount) specs.Mount {
	options := []string{"nosuid", "nodev", "mode=1777"}
	if m.Bytes > 0 {
		options = append(options, "size="+strconv.FormatUint(m.Bytes, 10))
	}
	if m.ReadOnly {
		options = append(options, "ro")
	}
	return specs.Mount{Destination: m.Target, Type: "tmpfs", Source: "tmpfs", Options: options}
}

// addMount replaces a mount of the same place (a larger /dev/shm), or adds.
func addMount(list []specs.Mount, m specs.Mount) []specs.Mount {
	if i := slices.IndexFunc(list, func(o specs.Mount) bool { return o.Destination == m.Destination }); i >= 0 {
		list[i] = m
		return list
	}
	return append(list, m)
}

// maskedPaths tell about the host or were the way to attack it.
func maskedPaths() []string {
	return []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/proc/kallsyms",
		"/sys/firmware", "/sys/devices/virtual/powercap", "/sys/kernel/debug",
	}
}

func readonlyPaths() []string {
	// The last is of cgroup v1, where libcontainer leaves the folder of the
	// hierarchies writable.
	return []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", "/sys/fs/cgroup"}
}

// stopSignal reads "", "SIGQUIT", "QUIT" or "3".
func stopSignal(name string) (int, error) {
	if name == "" {
		return int(syscall.SIGTERM), nil
	}
	if n, err := strconv.Atoi(name); err == nil && n > 0 && n <= 64 {
		return n, nil
	}
	full := "SIG" + strings.TrimPrefix(strings.ToUpper(name), "SIG")
	if s := unix.SignalNum(full); s != 0 {
		return int(s), nil
	}
	return 0, fmt.Errorf("%w: the image's stop signal %.40q is unknown", runtime.ErrInvalid, name)
}
