//go:build linux && cgo

package runc_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/runc"
)

// status reads a field of a process's status as the container sees it.
func status(t *testing.T, r *runc.Runtime, name, pid, field string) string {
	t.Helper()
	code, out, errs := run(t, r, name, "cat", "/proc/"+pid+"/status")
	require.Zero(t, code, errs)
	for l := range strings.Lines(out) {
		if value, ok := strings.CutPrefix(l, field+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func TestProcessesAreConfined(t *testing.T) {
	t.Parallel()
	r := open(t, nil)
	start(t, r, "a", "", "wait")
	line(t, r, "a", "ready")
	for _, pid := range []string{"1", "self"} { // the container's own and one that came by Exec
		assert.Equal(t, "2", status(t, r, "a", pid, "Seccomp"), "a system call filter is in force")
		assert.Equal(t, "1", status(t, r, "a", pid, "NoNewPrivs"))
		// CHOWN 0, DAC_OVERRIDE 1, FOWNER 3, FSETID 4, KILL 5, SETGID 6, SETUID 7, SETPCAP 8,
		// NET_BIND_SERVICE 10, SYS_CHROOT 18, AUDIT_WRITE 29.
		const usualFew = "00000000200405fb"
		for _, set := range []string{"CapEff", "CapPrm", "CapBnd"} {
			assert.Equal(t, usualFew, status(t, r, "a", pid, set), set)
		}
		assert.Equal(t, "0000000000000000", status(t, r, "a", pid, "CapAmb"))
		assert.Equal(t, "0000000000000000", status(t, r, "a", pid, "CapInh"))
	}
}

func TestRootInAContainerIsNobodyOnTheHost(t *testing.T) {
	t.Parallel()
	r := open(t, func(c *runc.Config) { c.UserNamespaces = runc.UserNamespacesRequired })
	a := start(t, r, "a", "", "wait")
	start(t, r, "b", "", "wait")
	maps := map[string]string{}
	for _, name := range []string{"a", "b"} {
		code, out, _ := run(t, r, name, "cat", "/proc/self/uid_map")
		require.Zero(t, code)
		maps[name] = strings.Join(strings.Fields(out), " ")
		assert.Regexp(t, `^0 1[89]\d{8} 65536$|^0 2\d{9} 65536$`, maps[name])
	}
	assert.NotEqual(t, maps["a"], maps["b"], "each container has host IDs of its own")
	code, out, errs := run(t, r, "a", "stat", "/guest")
	require.Zero(t, code, errs)
	assert.Equal(t, "0:0 755\n", out, "files of the image belong to the container's root")
	require.NotZero(t, a.PID)
	var uid int
	hostStatus(t, a.PID, "Uid", &uid)
	assert.GreaterOrEqual(t, uid, runc.DefaultIDBase)
}

func TestKernelFilesAreMaskedOrReadOnly(t *testing.T) {
	t.Parallel()
	r := open(t, nil)
	start(t, r, "a", "", "wait")
	for _, path := range []string{"/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts"} {
		if _, err := os.Stat(path); err != nil {
			continue // not in this kernel
		}
		code, out, _ := run(t, r, "a", "cat", path)
		assert.Zero(t, code, path)
		assert.Empty(t, out, "%s is masked", path)
	}
	for _, path := range []string{
		"/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/kernel/x", "/sys/fs/cgroup/x",
		"/sys/fs/cgroup/memory/memory.limit_in_bytes", "/proc/sys/net/ipv4/ip_forward", "/etc/hosts", "/etc/resolv.conf",
	} {
		code, _, errs := run(t, r, "a", "write", path, "1")
		assert.NotZero(t, code, path)
		assert.Regexp(t, "read-only|permission denied|no such file|operation not permitted", errs, path)
	}
}

func TestAContainerCannotMountOrMakeNamespacesOrRenameItself(t *testing.T) {
	t.Parallel()
	r := open(t, nil)
	start(t, r, "a", "", "wait")
	for _, try := range [][]string{{"mount"}, {"unshare"}, {"sethostname"}} {
		code, _, errs := run(t, r, "a", try...)
		assert.Equal(t, 3, code, try)
		assert.Contains(t, errs, "operation not permitted", try)
	}
}

func TestAContainerSeesOnlyItself(t *testing.T) {
	t.Parallel()
	r := open(t, nil)
	start(t, r, "a", "", "wait")
	code, out, errs := run(t, r, "a", "listfds")
	require.Zero(t, code, errs)
	for l := range strings.Lines(out) {
		assert.Regexp(t, `^\d+ (/dev/null|pipe:|anon_inode:|/sys/fs/cgroup|$)`, l, "no file of the host is open in the first process")
	}
	code, out, _ = run(t, r, "a", "cat", "/proc/self/mountinfo")
	require.Zero(t, code)
	for l := range strings.Lines(out) {
		fields := strings.Fields(l)
		if fields[4] == "/etc/hosts" || fields[4] == "/etc/resolv.conf" || fields[4] == "/etc/hostname" {
			continue
		}
		assert.Regexp(t, " - (overlay|proc|tmpfs|sysfs|devpts|mqueue|cgroup2?|devtmpfs) ", l)
	}
	code, _, _ = run(t, r, "a", "cat", "/etc/shadow")
	assert.NotZero(t, code)
}

func TestNetworksAreWalls(t *testing.T) {
	t.Parallel()
	r := open(t, nil)
	a := start(t, r, "a", "one", "serve", "80", "hello from a")
	start(t, r, "b", "one", "wait")
	start(t, r, "c", "two", "wait")
	start(t, r, "d", "", "wait")
	line(t, r, "a", "ready")

	t.Run("the host reaches a container", func(t *testing.T) {
		c, err := net.Dial("tcp", netip.AddrPortFrom(a.Address, 80).String())
		require.NoError(t, err)
		require.NoError(t, c.Close())
	})
	t.Run("the same network reaches it, by name too", func(t *testing.T) {
		code, out, errs := run(t, r, "b", "fetch", a.Address.String(), "80")
		require.Zero(t, code, errs)
		assert.Equal(t, "hello from a\n", out)
		require.NoError(t, r.SetHosts(t.Context(), "one", map[string][]netip.Addr{"web": {a.Address}}))
		code, out, errs = run(t, r, "b", "fetch", "web", "80")
		require.Zero(t, code, errs)
		assert.Equal(t, "hello from a\n", out)
	})
	t.Run("another network does not", func(t *testing.T) {
		code, _, errs := run(t, r, "c", "fetch", a.Address.String(), "80")
		assert.Equal(t, 3, code)
		assert.Contains(t, errs, "timeout")
		code, _, _ = run(t, r, "c", "fetch", "web", "80")
		assert.NotZero(t, code, "names are of one network only")
	})
	t.Run("no network reaches nothing", func(t *testing.T) {
		code, _, errs := run(t, r, "d", "fetch", a.Address.String(), "80")
		assert.Equal(t, 3, code)
		assert.Contains(t, errs, "unreachable")
	})
	t.Run("the host's own services are out of reach", func(t *testing.T) { hostIsOutOfReach(t, r, "b", a) })
}

// hostIsOutOfReach tries every address of the host with a server listening on all.
func hostIsOutOfReach(t *testing.T, r *runc.Runtime, from string, a runtime.Container) {
	t.Helper()
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	accepted := make(chan net.Addr, 1)
	go func() {
		if c, err := l.Accept(); err == nil {
			accepted <- c.RemoteAddr()
			_ = c.Close()
		}
	}()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	addrs, err := net.InterfaceAddrs()
	require.NoError(t, err)
	tried := 0
	for _, ifa := range addrs {
		p, err := netip.ParsePrefix(ifa.String())
		if err != nil || !p.Addr().Is4() || p.Addr().IsLoopback() {
			continue
		}
		code, _, errs := run(t, r, from, "fetch", p.Addr().String(), port)
		assert.Equal(t, 3, code, p)
		assert.Contains(t, errs, "timeout", p)
		tried++
	}
	assert.Positive(t, tried)
	select {
	case who := <-accepted:
		assert.Fail(t, "the host's service was reached", who)
	default:
	}
	_ = a
}

func TestLimitsAreRealAndTheirReasonsTold(t *testing.T) {
	t.Parallel()
	r := open(t, nil)
	t.Run("memory", func(t *testing.T) {
		startSpec(t, r, runtime.Spec{Name: "mem", Args: []string{"eat", "200"}, Resources: runtime.Resources{MemoryBytes: 64 << 20}})
		c := ended(t, r, "mem")
		assert.Equal(t, "out of memory", c.Reason)
		assert.Equal(t, 137, c.ExitCode)
	})
	t.Run("processes", func(t *testing.T) {
		startSpec(t, r, runtime.Spec{Name: "pids", Args: []string{"wait"}, Resources: runtime.Resources{PIDs: 40}})
		code, out, errs := run(t, r, "pids", "fork", "100")
		if code != 0 { // the limit hit the guest's own threads
			assert.Contains(t, errs, "resource temporarily unavailable")
			return
		}
		var started int
		_, err := fmt.Sscan(out, &started)
		require.NoError(t, err)
		assert.Less(t, started, 40)
	})
	t.Run("processor", func(t *testing.T) {
		startSpec(t, r, runtime.Spec{Name: "cpu", Args: []string{"wait"}, Resources: runtime.Resources{MilliCores: 200}})
		code, out, errs := run(t, r, "cpu", "spin", "1000")
		require.Zero(t, code, errs)
		var ms int
		_, err := fmt.Sscan(out, &ms)
		require.NoError(t, err)
		assert.Less(t, ms, 500, "of a second a fifth is granted")
	})
	t.Run("disk", func(t *testing.T) {
		startSpec(t, r, runtime.Spec{Name: "disk", Args: []string{"fill", "/work/big", "40"}, Resources: runtime.Resources{DiskBytes: 16 << 20}})
		c := ended(t, r, "disk")
		assert.Equal(t, "disk limit exceeded", c.Reason)
		assert.Equal(t, 137, c.ExitCode)
	})
	t.Run("disk by nesting", func(t *testing.T) {
		startSpec(t, r, runtime.Spec{Name: "deep", Args: []string{"wait"}, Resources: runtime.Resources{DiskBytes: 16 << 20}})
		code, _, errs := run(t, r, "deep", "mkdirs", "1000")
		require.Zero(t, code, errs)
		assert.Equal(t, "disk limit exceeded", ended(t, r, "deep").Reason)
	})
	t.Run("volume", func(t *testing.T) {
		startSpec(t, r, runtime.Spec{
			Name: "vol", Args: []string{"fill", "/data/big", "40"},
			Mounts: []runtime.Mount{{Target: "/data", Volume: "v", Bytes: 16 << 20}},
		})
		assert.Equal(t, "disk limit exceeded", ended(t, r, "vol").Reason)
	})
	t.Run("logs", func(t *testing.T) {
		startSpec(t, r, runtime.Spec{
			Name: "logs", Args: []string{"print", "40000", strings.Repeat("x", 80)},
			Resources: runtime.Resources{LogBytes: 256 << 10},
		})
		ended(t, r, "logs")
		var total int
		var last string
		for l, err := range r.Logs(t.Context(), "logs", runtime.LogOptions{Tail: -1}) {
			require.NoError(t, err)
			total += len(l.Text)
			last = l.Text
		}
		assert.Less(t, total, 256<<10)
		assert.Greater(t, total, 128<<10)
		assert.True(t, strings.HasPrefix(last, "39999 "), last)
	})
}
