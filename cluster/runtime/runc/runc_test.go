//go:build linux && cgo

package runc_test

import (
	"bytes"
	"context"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/runtime"
)

func TestAContainerRunsAndEnds(t *testing.T) {
	t.Parallel()
	r := open(t, nil)
	c := start(t, r, "one", "lan", "wait")
	require.Equal(t, runtime.Running, c.State)
	line(t, r, "one", "ready")
	code, out, errs := run(t, r, "one", "hostname")
	require.Zero(t, code, errs)
	require.Equal(t, "one\n", out)
	require.NoError(t, r.Stop(t.Context(), "one", patience))
	c = ended(t, r, "one")
	require.Zero(t, c.ExitCode)
	require.Equal(t, "stopped", c.Reason)
	require.True(t, c.FinishedAt.After(c.StartedAt))
}

func TestAnImageIsSeenAsItsLayersSay(t *testing.T) {
	t.Parallel()
	r := open(t, nil)
	start(t, r, "a", "", "wait")
	code, _, errs := run(t, r, "a", "cat", "/gone")
	assert.Equal(t, 3, code)
	assert.Contains(t, errs, "no such file", "a whiteout hides what is below")
	_, out, _ := run(t, r, "a", "cat", "/changed")
	assert.Equal(t, "after", out)
	_, out, _ = run(t, r, "a", "env", "GUEST")
	assert.Equal(t, "image\n", out)
	_, out, _ = run(t, r, "a", "env", "HOME")
	assert.Equal(t, "/root\n", out)
}

func TestTheImagesUserRunsTheContainer(t *testing.T) {
	t.Parallel()
	r := open(t, nil)
	startSpec(t, r, runtime.Spec{Name: "a", Image: pulled(t, r, shared().asUser), Args: []string{"wait"}})
	code, out, errs := run(t, r, "a", "cat", "/proc/self/status")
	require.Zero(t, code, errs)
	assert.Contains(t, out, "Uid:\t1000\t1000\t1000\t1000\n")
	assert.Contains(t, out, "Gid:\t1000\t1000\t1000\t1000\n")
	assert.Contains(t, out, "Groups:\t1001")
	assert.Contains(t, out, "CapEff:\t0000000000000000\n")
	code, _, _ = run(t, r, "a", "write", "/etc/passwd", "x")
	assert.NotZero(t, code)
	_, out, _ = run(t, r, "a", "env", "HOME")
	assert.Equal(t, "/home/app\n", out)
}

func TestVolumesKeepTheirContentFromContainerToContainer(t *testing.T) {
	t.Parallel()
	r := open(t, nil)
	spec := runtime.Spec{Name: "a", Args: []string{"wait"}, Mounts: []runtime.Mount{
		{Target: "/data", Volume: "v"}, {Target: "/ro", Volume: "v", ReadOnly: true}, {Target: "/ram", Tmpfs: true, Bytes: 1 << 20},
	}}
	startSpec(t, r, spec)
	code, _, errs := run(t, r, "a", "write", "/data/x", "kept")
	require.Zero(t, code, errs)
	code, _, errs = run(t, r, "a", "write", "/ro/x", "no")
	assert.NotZero(t, code)
	assert.Contains(t, errs, "read-only")
	code, _, errs = run(t, r, "a", "fill", "/ram/x", "3")
	assert.Equal(t, 3, code)
	assert.Contains(t, errs, "no space left")
	require.Error(t, r.RemoveVolume(t.Context(), "v"), "in use")
	require.NoError(t, r.Remove(t.Context(), "a"))

	spec.Name, spec.Image = "b", pulled(t, r, shared().reference)
	startSpec(t, r, spec)
	_, out, _ := run(t, r, "b", "cat", "/data/x")
	assert.Equal(t, "kept", out)
	_, out, _ = run(t, r, "b", "stat", "/data/x")
	assert.Equal(t, "0:0 644\n", out, "its owner is root in the new container's range as well")
	require.NoError(t, r.Remove(t.Context(), "b"))
	volumes, err := r.Volumes(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"v"}, volumes)
	require.NoError(t, r.RemoveVolume(t.Context(), "v"))
	require.NoError(t, r.RemoveVolume(t.Context(), "v"))
}

func TestExecStreamsBothWaysAndGivesTheCode(t *testing.T) {
	t.Parallel()
	r := open(t, nil)
	start(t, r, "a", "", "wait")
	var out, errs bytes.Buffer
	big := strings.Repeat("0123456789abcdef", 1<<16)
	code, err := r.Exec(t.Context(), "a", runtime.Exec{
		Command: []string{"/guest", "echo", "oops"}, Stdin: strings.NewReader(big), Stdout: &out, Stderr: &errs,
	})
	require.NoError(t, err)
	assert.Zero(t, code)
	assert.Equal(t, len(big), out.Len())
	assert.Equal(t, "oops", errs.String())
	code, err = r.Exec(t.Context(), "a", runtime.Exec{Command: []string{"/guest", "exit", "42"}})
	require.NoError(t, err)
	assert.Equal(t, 42, code)
	code, out2, _ := run(t, r, "a", "env", "NOT_SET")
	assert.Equal(t, 3, code)
	assert.Empty(t, out2)
	_, err = r.Exec(t.Context(), "a", runtime.Exec{Command: []string{"no-such-program"}})
	require.ErrorIs(t, err, runtime.ErrInvalid)
	assert.ErrorContains(t, err, "not found")
}

func TestExecWithATerminalFollowsItsSize(t *testing.T) {
	t.Parallel()
	r := open(t, nil)
	start(t, r, "a", "", "wait")
	var out bytes.Buffer
	sizes := make(chan runtime.TerminalSize, 1)
	sizes <- runtime.TerminalSize{Width: 80, Height: 24}
	pr, pw := io.Pipe()
	seen := make(chan string, 8)
	go func() {
		buf := make([]byte, 256)
		for {
			n, err := pr.Read(buf)
			if err != nil {
				close(seen)
				return
			}
			seen <- string(buf[:n])
		}
	}()
	go func() {
		for s := range seen {
			if strings.Contains(s, "80x24") {
				sizes <- runtime.TerminalSize{Width: 120, Height: 40}
			}
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	code, err := r.Exec(ctx, "a", runtime.Exec{
		Command: []string{"/guest", "sizes", "120"}, TTY: true, Stdout: io.MultiWriter(&out, pw), Resize: sizes,
	})
	require.NoError(t, pw.Close())
	require.NoError(t, err)
	assert.Zero(t, code)
	assert.Equal(t, "80x24\r\n120x40\r\n", out.String())
}

func TestExecEndsWithItsContext(t *testing.T) {
	t.Parallel()
	r := open(t, nil)
	start(t, r, "a", "", "wait")
	ctx, cancel := context.WithCancel(t.Context())
	pr, pw := io.Pipe()
	running := make(chan bool, 1)
	go func() {
		_, _ = pr.Read(make([]byte, 16)) // "ready"
		running <- runsOnHost(t, "stubborn\x00of-exec-test")
		cancel()
		_, _ = io.Copy(io.Discard, pr)
	}()
	_, err := r.Exec(ctx, "a", runtime.Exec{Command: []string{"/guest", "stubborn", "of-exec-test"}, Stdout: pw})
	require.ErrorIs(t, err, context.Canceled)
	require.True(t, <-running)
	require.Eventually(t, func() bool { return !runsOnHost(t, "stubborn\x00of-exec-test") }, patience, 20*time.Millisecond, "the command was killed")
}

// runsOnHost reports whether some process's command line has a text.
func runsOnHost(t *testing.T, text string) bool {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	for _, f := range files {
		if data, err := os.ReadFile(f); err == nil && strings.Contains(string(data), text) {
			return true
		}
	}
	return false
}

func TestNamesChangeInRunningContainers(t *testing.T) {
	t.Parallel()
	r := open(t, nil)
	start(t, r, "a", "lan", "wait")
	many := map[string][]netip.Addr{}
	for _, n := range []string{"alpha", "beta", "gamma", "delta"} {
		many[n] = []netip.Addr{netip.MustParseAddr("10.1.1.1")}
	}
	require.NoError(t, r.SetHosts(t.Context(), "lan", many))
	require.NoError(t, r.SetHosts(t.Context(), "lan", map[string][]netip.Addr{"beta": {netip.MustParseAddr("10.2.2.2")}}))
	code, out, _ := run(t, r, "a", "lookup", "beta")
	require.Zero(t, code)
	assert.Equal(t, "10.2.2.2\n", out)
	code, _, _ = run(t, r, "a", "lookup", "alpha")
	assert.NotZero(t, code)
	start(t, r, "b", "lan", "wait")
	code, out, _ = run(t, r, "b", "lookup", "beta")
	require.Zero(t, code, "a container that comes later knows the names")
	assert.Equal(t, "10.2.2.2\n", out)
	require.ErrorIs(t, r.SetHosts(t.Context(), "lan", map[string][]netip.Addr{"a\n1.1.1.1 b": nil}), runtime.ErrInvalid)
}

func TestAStartThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := openIn(t, needRoot(t), dir, nil)
	image := pulled(t, r, shared().reference)
	for name, spec := range map[string]runtime.Spec{
		"no program":  {Name: "a", Image: image, Entrypoint: []string{"/no/such/program"}},
		"no network":  {Name: "a", Image: image, Network: "absent"},
		"no image":    {Name: "a", Image: "sha256:" + strings.Repeat("0", 64)},
		"bad name":    {Name: "A b", Image: image},
		"bad mount":   {Name: "a", Image: image, Mounts: []runtime.Mount{{Target: "/proc/x", Tmpfs: true}}},
		"climbing":    {Name: "a", Image: image, Mounts: []runtime.Mount{{Target: "/data", Volume: "../../etc"}}},
		"not a file":  {Name: "a", Image: image, Entrypoint: []string{"/etc"}},
		"no such dot": {Name: "..", Image: image},
	} {
		_, err := r.Start(t.Context(), spec)
		require.Error(t, err, name)
		list, err := r.List(t.Context())
		require.NoError(t, err)
		require.Empty(t, list, name)
	}
	left, err := os.ReadDir(filepath.Join(dir, "containers"))
	require.NoError(t, err)
	require.Empty(t, left)
	_, err = r.Start(t.Context(), runtime.Spec{Name: "a", Image: image, Entrypoint: []string{"/no/such/program"}})
	require.ErrorIs(t, err, runtime.ErrInvalid)
}
