//go:build linux && cgo

package runc_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/moorage-dev/moorage/cluster/runtime/runc"
)

// neighbourhood is a network namespace beside the host: a machine with an address
// of the wide world (TEST-NET-2) and one of the provider's LAN.
type neighbourhood struct {
	ns           string
	public, home net.Listener
}

const (
	publicHost, publicMachine = "198.51.100.1", "198.51.100.2"
	homeHost, homeMachine     = "172.31.250.1", "172.31.250.2"
)

// beside builds it. Its names are the machine's own, so a lock keeps other runs of
// these tests away, and what a killed run left is removed first.
func beside(t *testing.T) *neighbourhood {
	t.Helper()
	n := &neighbourhood{ns: "wtest"}
	sh := func(script string) {
		out, err := exec.Command("sh", "-ec", script).CombinedOutput()
		require.NoError(t, err, string(out))
	}
	lock, err := os.OpenFile(filepath.Join(os.TempDir(), "moorage-wtest.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	require.NoError(t, err)
	t.Cleanup(func() { _ = lock.Close() })
	require.NoError(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	away := "ip link del wtest0 2>/dev/null || :; ip netns del " + n.ns + " 2>/dev/null || :"
	sh(away)
	t.Cleanup(func() { sh(away) })
	sh(fmt.Sprintf(`ip netns add %[1]s; ip link add wtest0 type veth peer name world0 netns %[1]s
		ip addr add %[2]s/24 dev wtest0; ip addr add %[4]s/24 dev wtest0; ip link set wtest0 up
		ip -n %[1]s addr add %[3]s/24 dev world0; ip -n %[1]s addr add %[5]s/24 dev world0
		ip -n %[1]s link set world0 up; ip -n %[1]s link set lo up; ip -n %[1]s route add default via %[2]s`,
		n.ns, publicHost, publicMachine, homeHost, homeMachine))
	n.within(t, func() {
		var err error
		n.public, err = net.Listen("tcp4", publicMachine+":0")
		require.NoError(t, err)
		n.home, err = net.Listen("tcp4", homeMachine+":0")
		require.NoError(t, err)
	})
	return n
}

// within runs work on a thread that is in the namespace and ends there.
func (n *neighbourhood) within(t *testing.T, work func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		goruntime.LockOSThread() // never unlocked: the thread is thrown away
		f, err := os.Open("/run/netns/" + n.ns)
		if err == nil {
			err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
			_ = f.Close()
		}
		if err == nil {
			work()
		}
		done <- err
	}()
	require.NoError(t, <-done)
}

// answer says to each caller where it seems to come from.
func answer(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
		_, _ = fmt.Fprintln(c, host)
		_ = c.Close()
	}
}

func port(t *testing.T, l net.Listener) string {
	t.Helper()
	_, p, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return p
}

func TestContainersReachTheWorldButNotTheProvidersLAN(t *testing.T) {
	needRoot(t)
	n := beside(t)
	go answer(n.public)
	go answer(n.home)
	defer func() { _, _ = n.public.Close(), n.home.Close() }()
	r := open(t, nil)
	a := start(t, r, "a", "lan", "serve", "80", "secret")
	line(t, r, "a", "ready")

	code, out, errs := run(t, r, "a", "fetch", publicMachine, port(t, n.public))
	require.Zero(t, code, errs)
	assert.Equal(t, publicHost+"\n", out, "under the host's address")
	code, _, errs = run(t, r, "a", "fetch", homeMachine, port(t, n.home))
	assert.Equal(t, 3, code)
	assert.Contains(t, errs, "timeout")
	code, _, _ = run(t, r, "a", "fetch", "169.254.169.254", "80")
	assert.Equal(t, 3, code, "nor a metadata service")

	n.within(t, func() { // a machine that routes to us cannot open a connection
		d := net.Dialer{Timeout: 1e9}
		_, err := d.Dial("tcp", netip.AddrPortFrom(a.Address, 80).String())
		assert.ErrorContains(t, err, "timeout")
	})
}

func TestPrivateRangesCanBeOpenedToContainers(t *testing.T) {
	needRoot(t)
	n := beside(t)
	go answer(n.home)
	defer func() { _, _ = n.public.Close(), n.home.Close() }()
	r := open(t, func(c *runc.Config) { c.PrivateEgress = []netip.Prefix{netip.MustParsePrefix("172.31.250.0/24")} })
	start(t, r, "a", "lan", "wait")
	code, out, errs := run(t, r, "a", "fetch", homeMachine, port(t, n.home))
	require.Zero(t, code, errs)
	assert.Equal(t, homeHost+"\n", out)
}

func TestAStrictFirewallOfDockerOrUfwDoesNotCutContainersOff(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for name, rules := range map[string]string{
		"docker": "table ip filter { chain DOCKER-USER { return; }; chain FORWARD { type filter hook forward priority 0; policy drop; jump DOCKER-USER; }; }",
		"ufw":    "table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }",
	} {
		t.Run(name, func(t *testing.T) {
			script := `ip link set lo up; nft "$1"; shift; "$@"; code=$?; nft list table ip filter; exit $code`
			cmd := exec.Command("unshare", "--net", "sh", "-c", script, "sh", rules,
				os.Args[0], "-test.run=^TestContainersReachTheWorldButNotTheProvidersLAN$", "-test.v")
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, string(out))
			assert.Contains(t, string(out), "--- PASS: TestContainersReachTheWorld")
			assert.Contains(t, string(out), "policy drop")
			assert.NotContains(t, string(out), "moorage_", "the rules were taken back")
		})
	}
}
