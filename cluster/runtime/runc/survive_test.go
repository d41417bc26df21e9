//go:build linux && cgo

package runc_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/runc"
)

// hostStatus reads the first number of a field of a process's status.
func hostStatus(t *testing.T, pid int, field string, into *int) {
	t.Helper()
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	require.NoError(t, err)
	for l := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(l, field+":"); ok {
			_, err := fmt.Sscan(value, into)
			require.NoError(t, err)
			return
		}
	}
	require.Fail(t, "no such field", field)
}

// The agent of TestContainersSurviveTheKillingOfTheirAgent: a process that opens
// the runtime, starts containers and waits to be killed.
const (
	agentDir   = "MOORAGE_TEST_AGENT_DIR"
	agentShim  = "MOORAGE_TEST_AGENT_SHIM"
	agentImage = "MOORAGE_TEST_AGENT_IMAGE"
)

func TestAgentToBeKilled(t *testing.T) {
	dir := os.Getenv(agentDir)
	if dir == "" {
		t.Skip("run by another test, as a process of its own")
	}
	r, err := runc.New(runc.Config{Dir: dir, Shim: os.Getenv(agentShim)})
	require.NoError(t, err)
	im, err := r.Pull(t.Context(), runtime.PullRequest{Reference: os.Getenv(agentImage)})
	require.NoError(t, err)
	_, err = r.EnsureNetwork(t.Context(), "lan")
	require.NoError(t, err)
	_, err = r.Start(t.Context(), runtime.Spec{Name: "ticker", Image: im.Digest, Network: "lan", Args: []string{"tick", "80"}})
	require.NoError(t, err)
	_, err = r.Start(t.Context(), runtime.Spec{Name: "quitter", Image: im.Digest, Network: "lan", Args: []string{"wait"}})
	require.NoError(t, err)
	fmt.Println("started")
	select {}
}

// touch makes the ticker print a line.
func touch(t *testing.T, c runtime.Container) {
	t.Helper()
	conn, err := net.Dial("tcp", netip.AddrPortFrom(c.Address, 80).String())
	require.NoError(t, err)
	_, _ = conn.Read(make([]byte, 1)) // until it is taken
	require.NoError(t, conn.Close())
}

func TestContainersSurviveTheKillingOfTheirAgent(t *testing.T) {
	t.Parallel()
	w := needRoot(t)
	dir := t.TempDir()
	agent := exec.Command(os.Args[0], "-test.run=^TestAgentToBeKilled$", "-test.v")
	agent.Env = append(os.Environ(), agentDir+"="+dir, agentShim+"="+w.shim, agentImage+"="+w.reference)
	out, err := agent.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, agent.Start())
	buf, seen := make([]byte, 1024), ""
	for !strings.Contains(seen, "started\n") {
		n, err := out.Read(buf)
		seen += string(buf[:n])
		require.NoError(t, err, seen)
	}
	require.NoError(t, syscall.Kill(-pgid(t, agent.Process.Pid), 0), "the agent lives")
	require.NoError(t, agent.Process.Kill())
	_ = agent.Wait()

	r := openIn(t, w, dir, nil)
	list, err := r.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 2)
	ticker, err := r.Inspect(t.Context(), "ticker")
	require.NoError(t, err)
	require.Equal(t, runtime.Running, ticker.State)
	line(t, r, "ticker", "ready")
	touch(t, ticker)
	line(t, r, "ticker", "tick 0")

	again, err := r.Start(t.Context(), runtime.Spec{Name: "ticker", Image: ticker.Image, Args: []string{"wait"}})
	require.NoError(t, err)
	assert.Equal(t, ticker.PID, again.PID, "found, not started twice")

	// While no agent is there, a container goes on printing and another ends.
	quitter, err := r.Inspect(t.Context(), "quitter")
	require.NoError(t, err)
	require.NoError(t, r.Close())
	touch(t, ticker)
	require.NoError(t, syscall.Kill(quitter.PID, syscall.SIGTERM))
	awaitEnd(t, quitter.PID)
	r = openIn(t, w, dir, nil)
	line(t, r, "ticker", "tick 1")
	quitter = ended(t, r, "quitter")
	assert.Zero(t, quitter.ExitCode)
	assert.False(t, quitter.FinishedAt.IsZero())
	network, err := r.EnsureNetwork(t.Context(), "lan")
	require.NoError(t, err)
	assert.True(t, network.Prefix.Contains(ticker.Address), "the network was found too")
	third := start(t, r, "third", "lan", "wait")
	assert.NotEqual(t, ticker.Address, third.Address)
}

func pgid(t *testing.T, pid int) int {
	t.Helper()
	id, err := syscall.Getpgid(pid)
	require.NoError(t, err)
	return id
}

func awaitEnd(t *testing.T, pid int) {
	t.Helper()
	require.Eventually(t, func() bool { return syscall.Kill(pid, 0) != nil || zombie(pid) }, patience, 10*time.Millisecond)
}

// zombie reports that a process has ended and only waits for its parent to take
// notice, which the machine's first process may do late.
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "Z") || strings.HasPrefix(rest, "X")
}

func TestAContainerWhoseShimDiesIsEndedAndReported(t *testing.T) {
	t.Parallel()
	r := open(t, nil)
	c := start(t, r, "a", "lan", "wait")
	var shim int
	hostStatus(t, c.PID, "PPid", &shim)
	require.NoError(t, syscall.Kill(shim, syscall.SIGKILL))
	got := ended(t, r, "a")
	assert.Equal(t, -1, got.ExitCode)
	assert.Contains(t, got.Reason, "lost")
	awaitEnd(t, c.PID)
	require.NoError(t, r.Remove(t.Context(), "a"))
}

func TestTwoRuntimesOnOneMachineDoNotDisturbEachOther(t *testing.T) {
	t.Parallel()
	one, two := open(t, nil), open(t, nil)
	a := start(t, one, "same-name", "lan", "serve", "80", "one")
	b := start(t, two, "same-name", "lan", "serve", "80", "two")
	line(t, one, "same-name", "ready")
	line(t, two, "same-name", "ready")
	assert.NotEqual(t, a.Address, b.Address)
	code, _, errs := run(t, one, "same-name", "fetch", b.Address.String(), "80")
	assert.Equal(t, 3, code)
	assert.Contains(t, errs, "timeout")
	require.NoError(t, one.Purge(t.Context()))
	got, err := two.Inspect(t.Context(), "same-name")
	require.NoError(t, err)
	assert.Equal(t, runtime.Running, got.State)
	code, out, errs := run(t, two, "same-name", "fetch", b.Address.String(), "80")
	require.Zero(t, code, errs)
	assert.Equal(t, "two\n", out)
}

func TestASecondRuntimeInTheSameFolderIsRefused(t *testing.T) {
	t.Parallel()
	w := needRoot(t)
	dir := t.TempDir()
	openIn(t, w, dir, nil)
	_, err := runc.New(runc.Config{Dir: dir, Shim: w.shim})
	require.ErrorContains(t, err, "another process uses it")
}

func TestPurgeLeavesNothingOnTheMachine(t *testing.T) {
	w := needRoot(t)
	r, err := runc.New(runc.Config{Dir: t.TempDir(), Shim: w.shim})
	require.NoError(t, err)
	c := start(t, r, "a", "lan", "wait")
	instance := regexp.MustCompile(`mrg([0-9a-f]{6})`).FindStringSubmatch(ourBridges(t, c))[1]
	require.Greater(t, len(tracesOf(t, instance)), 4, "bridge, interface, table, cgroups")
	require.NoError(t, r.Purge(t.Context()))
	require.NoError(t, r.Close())
	awaitEnd(t, c.PID)
	assert.Empty(t, tracesOf(t, instance))
}

// tracesOf are those of one instance: others may come and go at the same time.
func tracesOf(t *testing.T, instance string) []string {
	t.Helper()
	var out []string
	for trace := range traces(t) {
		if strings.Contains(trace, instance) {
			out = append(out, trace)
		}
	}
	return out
}

// traces are interfaces, tables and cgroups of runtimes of this kind.
func traces(t *testing.T) map[string]bool {
	t.Helper()
	out, err := exec.Command("sh", "-c",
		`ip -br link | grep -oE '^(mrg|mv)[0-9a-f]{6}[^@ ]*' ; nft list tables | grep moorage_; ls -d /sys/fs/cgroup/*/moorage/*/ /sys/fs/cgroup/moorage/*/ 2>/dev/null; true`).CombinedOutput()
	require.NoError(t, err)
	set := map[string]bool{}
	for l := range strings.Lines(string(out)) {
		set[strings.TrimSpace(l)] = true
	}
	return set
}

func TestAMissingOrUselessShimIsUnsupportedWithAdvice(t *testing.T) {
	needRoot(t)
	for _, shim := range []string{"/nonexistent", "/bin/true"} {
		_, err := runc.New(runc.Config{Dir: t.TempDir(), Shim: shim})
		require.ErrorIs(t, err, runtime.ErrUnsupported)
		assert.ErrorContains(t, err, "go build")
	}
}

func TestAProgramCanBeItsOwnShim(t *testing.T) {
	needRoot(t)
	t.Setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
	r := open(t, func(c *runc.Config) { c.Shim, c.SelfShim = "", true })
	start(t, r, "a", "lan", "wait")
	line(t, r, "a", "ready")
	code, out, errs := run(t, r, "a", "hostname")
	require.Zero(t, code, errs)
	assert.Equal(t, "a\n", out)
}

func TestWithoutUserNamespacesTheOtherWallsStand(t *testing.T) {
	t.Parallel()
	r := open(t, func(c *runc.Config) { c.UserNamespaces = runc.UserNamespacesOff })
	c := start(t, r, "a", "lan", "wait")
	var uid int
	hostStatus(t, c.PID, "Uid", &uid)
	assert.Zero(t, uid)
	for field, want := range map[string]string{"Seccomp": "2", "NoNewPrivs": "1", "CapEff": "00000000200405fb"} {
		assert.Equal(t, want, status(t, r, "a", "1", field), field)
	}
	for _, try := range [][]string{{"mount"}, {"unshare"}, {"sethostname"}, {"write", "/sys/fs/cgroup/x", "1"}, {"write", "/proc/sys/kernel/core_pattern", "x"}} {
		code, _, _ := run(t, r, "a", try...)
		assert.NotZero(t, code, try)
	}
}

func TestRulesThatSomebodyFlushedComeBack(t *testing.T) {
	r := open(t, nil)
	a := start(t, r, "a", "one", "serve", "80", "hello")
	start(t, r, "b", "two", "wait")
	line(t, r, "a", "ready")
	tables, err := exec.Command("sh", "-c", "nft list tables | grep moorage_").Output()
	require.NoError(t, err)
	for table := range strings.Lines(string(tables)) {
		if strings.Contains(ourBridges(t, a), strings.TrimPrefix(strings.Fields(table)[2], "moorage_")) {
			require.NoError(t, exec.Command("nft", "delete", "table", "inet", strings.Fields(table)[2]).Run())
		}
	}
	_, err = r.EnsureNetwork(t.Context(), "one")
	require.NoError(t, err)
	code, _, _ := run(t, r, "b", "fetch", a.Address.String(), "80")
	assert.Equal(t, 3, code)
}

// ourBridges names the bridge that a container's address is on.
func ourBridges(t *testing.T, c runtime.Container) string {
	t.Helper()
	out, err := exec.Command("ip", "-o", "route", "get", c.Address.String()).CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}

func TestAShimWithoutSeccompIsRefusedUnlessAskedFor(t *testing.T) {
	t.Parallel()
	w := needRoot(t)
	shim := filepath.Join(t.TempDir(), "moorage-shim")
	out, err := exec.Command("go", "build", "-buildvcs=false", "-tags=", "-o", shim, "./moorage-shim").CombinedOutput()
	require.NoError(t, err, string(out))
	_, err = runc.New(runc.Config{Dir: t.TempDir(), Shim: shim})
	require.ErrorIs(t, err, runtime.ErrUnsupported)
	assert.ErrorContains(t, err, "seccomp")
	r := openIn(t, w, t.TempDir(), func(c *runc.Config) { c.Shim, c.WithoutSeccomp = shim, true })
	start(t, r, "a", "", "wait")
	line(t, r, "a", "ready")
}

func TestAnInterruptedStartIsTakenBackAtTheNextOpening(t *testing.T) {
	t.Parallel()
	w := needRoot(t)
	dir := t.TempDir()
	r := openIn(t, w, dir, nil)
	start(t, r, "whole", "lan", "wait")
	require.NoError(t, r.Close())
	half := filepath.Join(dir, "containers", "half")
	require.NoError(t, os.Mkdir(half, 0o700))
	data, err := os.ReadFile(filepath.Join(dir, "containers", "whole", "spec.json"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(half, "spec.json"), data, 0o600))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "containers", "begun", "logs"), 0o700))

	r = openIn(t, w, dir, nil)
	list, err := r.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, "whole", list[0].Name)
	require.Equal(t, runtime.Running, list[0].State)
	left, err := os.ReadDir(filepath.Join(dir, "containers"))
	require.NoError(t, err)
	require.Len(t, left, 1)
}

func TestImagesNotWantedGoWhenTheyTakeTooMuch(t *testing.T) {
	t.Parallel()
	w := needRoot(t)
	dir := t.TempDir()
	r := openIn(t, w, dir, func(c *runc.Config) { c.MaxCacheBytes = 1 })
	used := start(t, r, "a", "", "wait").Image
	records := filepath.Join(dir, "images", "images")
	old := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(filepath.Join(records, strings.TrimPrefix(used, "sha256:")+".json"), old, old))
	other := pulled(t, r, w.asUser)
	require.NotEqual(t, used, other)
	left, err := os.ReadDir(records)
	require.NoError(t, err)
	require.Len(t, left, 2, "one runs, one was just pulled")
	require.NoError(t, r.Remove(t.Context(), "a"))
	require.NoError(t, os.Chtimes(filepath.Join(records, strings.TrimPrefix(used, "sha256:")+".json"), old, old))
	pulled(t, r, w.asUser)
	left, err = os.ReadDir(records)
	require.NoError(t, err)
	require.Len(t, left, 1)
}
