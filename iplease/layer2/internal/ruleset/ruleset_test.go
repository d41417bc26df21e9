package ruleset_test

import (
	"context"
	"flag"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netns"

	"github.com/moorage-dev/moorage/internal/nft"
	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/iplease/layer2/internal/ruleset"
)

var update = flag.Bool("update", false, "rewrite golden files")

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func prefixes(s ...string) (out []netip.Prefix) {
	for _, p := range s {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func to(s ...string) (out []netip.AddrPort) {
	for _, p := range s {
		out = append(out, netip.MustParseAddrPort(p))
	}
	return out
}

func four() ruleset.Binding {
	return ruleset.Binding{
		Address: addr("203.0.113.7"),
		Ports: []ruleset.Port{
			{Protocol: iplease.TCP, External: 80, To: to("10.0.0.3:8080", "10.0.0.2:8080", "10.0.0.2:8080")},
			{Protocol: iplease.UDP, External: 80, To: to("10.0.0.2:8080"), Sources: prefixes("10.1.2.3/8", "10.9.0.0/16", "198.51.100.1/32", "2001:db8::/32")},
			{Protocol: iplease.TCP, External: 22},
		},
		Egress: []netip.Addr{addr("10.0.0.2")}, Near: prefixes("10.0.0.1/24"),
	}
}

func six() ruleset.Binding {
	return ruleset.Binding{
		Address: addr("2001:db8::7"),
		Ports: []ruleset.Port{
			{Protocol: iplease.TCP, External: 80, To: to("[fd00::2]:8080", "[fd00::3]:8080")},
			{Protocol: iplease.UDP, External: 53, To: to("[fd00::2]:53"), Sources: prefixes("198.51.100.0/24")},
		},
		Egress: []netip.Addr{addr("fd00::2")}, Near: prefixes("fd00::1/64"),
	}
}

func TestTheRulesAreThese(t *testing.T) {
	table := ruleset.New("moorage_ip_test", []string{"eth0", "eth1"}, false)
	table.Set(six())
	table.Set(four())
	got := table.Whole()
	table.Done()
	b := four()
	b.Ports = b.Ports[:1]
	b.Ports[0].To = to("10.0.0.4:8080")
	b.Egress = nil
	table.Set(b)
	table.Remove(six().Address)
	got += "# then\n" + table.Script()
	golden := filepath.Join("testdata", "two-addresses.nft")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "go test -update rewrites it; say in the commit why")
}

func TestNothingChangedIsNothingToDo(t *testing.T) {
	table := ruleset.New("moorage_ip_test", nil, false)
	table.Set(four())
	require.NotEmpty(t, table.Script())
	table.Done()
	table.Set(four())
	require.Empty(t, table.Script())
}

func TestAReplicaLeavesFromOneAddress(t *testing.T) {
	table := ruleset.New("moorage_ip_test", []string{"eth0"}, false)
	other := four()
	other.Address = addr("203.0.113.8")
	table.Set(four())
	table.Set(other)
	assert.True(t, table.Leaves(addr("10.0.0.2"), addr("203.0.113.7")))
	assert.False(t, table.Leaves(addr("10.0.0.2"), addr("203.0.113.8")))
	table.Remove(four().Address)
	table.Set(other)
	assert.True(t, table.Leaves(addr("10.0.0.2"), addr("203.0.113.8")))
}

func TestFlowsAreStaleThatTheRulesWouldNotMake(t *testing.T) {
	table := ruleset.New("moorage_ip_test", nil, false)
	table.Set(four())
	ap := netip.MustParseAddrPort
	const tcp, udp = 6, 17
	rows := []struct {
		name string
		flow ruleset.Flow
		want bool
	}{
		{"as the rules make it", ruleset.Flow{tcp, ap("192.0.2.1:9"), ap("203.0.113.7:80"), ap("10.0.0.3:8080"), ap("192.0.2.1:9")}, false},
		{"a replica that is gone", ruleset.Flow{tcp, ap("192.0.2.1:9"), ap("203.0.113.7:80"), ap("10.0.0.9:8080"), ap("192.0.2.1:9")}, true},
		{"another container port", ruleset.Flow{tcp, ap("192.0.2.1:9"), ap("203.0.113.7:80"), ap("10.0.0.3:8081"), ap("192.0.2.1:9")}, true},
		{"from before the address was held", ruleset.Flow{udp, ap("10.1.1.1:9"), ap("203.0.113.7:80"), ap("203.0.113.7:80"), ap("10.1.1.1:9")}, true},
		{"a source that may", ruleset.Flow{udp, ap("10.1.1.1:9"), ap("203.0.113.7:80"), ap("10.0.0.2:8080"), ap("10.1.1.1:9")}, false},
		{"a source that may not", ruleset.Flow{udp, ap("192.0.2.1:9"), ap("203.0.113.7:80"), ap("10.0.0.2:8080"), ap("192.0.2.1:9")}, true},
		{"a port that is shut", ruleset.Flow{tcp, ap("192.0.2.1:9"), ap("203.0.113.7:443"), ap("10.0.0.2:443"), ap("192.0.2.1:9")}, true},
		{"egress", ruleset.Flow{tcp, ap("10.0.0.2:9"), ap("192.0.2.1:80"), ap("192.0.2.1:80"), ap("203.0.113.7:9")}, false},
		{"egress of another", ruleset.Flow{tcp, ap("10.0.0.9:9"), ap("192.0.2.1:80"), ap("192.0.2.1:80"), ap("203.0.113.7:9")}, true},
		{"somebody else's", ruleset.Flow{tcp, ap("192.0.2.1:9"), ap("203.0.113.99:80"), ap("10.0.0.9:8080"), ap("192.0.2.1:9")}, false},
	}
	touched := map[netip.Addr]bool{addr("203.0.113.7"): true}
	for _, r := range rows {
		assert.Equal(t, r.want, table.Stale(r.flow, touched), r.name)
	}
	assert.False(t, table.Stale(rows[1].flow, nil), "addresses that did not change are left alone")
}

// kernel moves the test into a network namespace of its own for good.
func kernel(tb testing.TB) {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("rules need root")
	}
	if _, err := exec.LookPath(nft.Program); err != nil {
		tb.Skip("rules need the program nft (package nftables)")
	}
	runtime.LockOSThread() // never unlocked, so the thread is not used again
	ns, err := netns.New()
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = ns.Close() })
}

func listed(tb testing.TB) string {
	tb.Helper()
	out, err := exec.CommandContext(context.Background(), nft.Program, "list", "ruleset").Output()
	require.NoError(tb, err)
	return string(out)
}

// What a change leaves in the kernel is what the whole would be.
func TestTheKernelTakesTheRulesAndEveryChange(t *testing.T) {
	kernel(t)
	table := ruleset.New("moorage_ip_test", []string{"eth0"}, false)
	run := func(script string) {
		t.Helper()
		require.NoError(t, nft.Run(t.Context(), script))
		table.Done()
		changed := listed(t)
		require.NoError(t, nft.Run(t.Context(), table.Whole()))
		require.ElementsMatch(t, lines(listed(t)), lines(changed))
	}
	run(table.Whole())
	table.Set(four())
	table.Set(six())
	run(table.Script())
	b := four()
	b.Ports[0].To, b.Ports[1].Sources, b.Egress, b.Near = to("10.0.0.9:1"), nil, []netip.Addr{addr("10.0.0.3")}, prefixes("10.0.8.0/24")
	b.Ports = append(b.Ports, ruleset.Port{Protocol: iplease.UDP, External: 9, To: to("10.0.0.9:1")})
	table.Set(b)
	run(table.Script())
	b.Ports = b.Ports[1:3]
	table.Set(b)
	table.Remove(six().Address)
	run(table.Script())
	table.Remove(b.Address)
	run(table.Script())
}

func lines(s string) (out []string) {
	start := 0
	for i := range len(s) {
		if s[i] == '\n' {
			out = append(out, s[start:i])
			start = i + 1
		}
	}
	return out
}
