package nftpolicy_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/netpolicy"
	"github.com/moorage-dev/moorage/netpolicy/nftpolicy"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

var update = flag.Bool("update", false, "rewrite golden files")

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }

func surroundings() netpolicy.Surroundings {
	return netpolicy.Surroundings{
		Own: []netip.Prefix{prefix("10.200.0.0/14"), prefix("203.0.113.0/24")}, Open: []netip.Prefix{prefix("192.168.7.0/24"), prefix("fd77::/64")},
		Resolvers:    []netip.Addr{addr("192.168.1.1"), addr("fd00::1")},
		ControlPlane: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:6443"), netip.MustParseAddrPort("[fd00::2]:6443")},
	}
}

func shop(tb testing.TB) *netpolicy.Policy {
	tb.Helper()
	g := manifest.Group{Services: []manifest.Service{
		{Name: "api", Expose: []manifest.Expose{{Port: 7000, Proto: manifest.TCP, Service: "web"}, {Port: 7001, Proto: manifest.TCP}},
			Params: &manifest.Params{Permissions: &manifest.Permissions{Read: []string{"logs"}}}},
		{Name: "web", Expose: []manifest.Expose{
			{Port: 8080, ExternalPort: 80, Proto: manifest.TCP, Global: true}, {Port: 9000, Proto: manifest.UDP, Global: true},
			{Port: 9001, Proto: manifest.TCP, Global: true, IP: "front"},
		}},
	}}
	leased := []netpolicy.LeasedPort{{Service: "web", Port: netpolicy.Port{Protocol: manifest.TCP, Number: 9001}, Sources: []netip.Prefix{prefix("198.51.100.0/24"), prefix("2001:db8:9::/48")}}}
	p, err := netpolicy.Compile(g, leased, surroundings())
	require.NoError(tb, err)
	return p
}

func table(tb testing.TB) nftpolicy.Table {
	tb.Helper()
	return nftpolicy.Table{
		Name: "moorage_abc", Bridges: "mrgabc.", Foreign: "mrg", Masquerade: true, Routers: []netip.Addr{addr("192.0.2.80")},
		Networks: []nftpolicy.Network{
			{ID: 2, Bridge: "mrgabc.2", Prefixes: []netip.Prefix{prefix("10.200.1.0/24"), prefix("fd10:0:0:1::/64")}, Policy: shop(tb), Members: []nftpolicy.Member{
				{Address: addr("10.200.1.2"), Service: "web"}, {Address: addr("10.200.1.3"), Service: "api"}, {Address: addr("10.200.1.4"), Service: "web"},
				{Address: addr("fd10:0:0:1::2"), Service: "web"}, {Address: addr("10.200.1.9"), Service: "gone"},
			}},
			{ID: 1, Bridge: "mrgabc.1", Prefixes: []netip.Prefix{prefix("10.200.0.0/24")}, Policy: shop(tb), Open: true},
		},
	}
}

func TestRulesAreThese(t *testing.T) {
	for name, render := range map[string]func() (string, error){
		"table":   table(t).Ruleset,
		"empty":   nftpolicy.Table{Name: "moorage_abc", Bridges: "mrgabc.", Foreign: "mrg"}.Ruleset,
		"replace": func() (string, error) { tb := table(t); return tb.Replace(&tb.Networks[1], &tb.Networks[0]) },
	} {
		got, err := render()
		require.NoError(t, err)
		golden := filepath.Join("testdata", name+".nft")
		if *update {
			require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
		}
		want, err := os.ReadFile(golden)
		require.NoError(t, err)
		assert.Equal(t, string(want), got, "go test -update rewrites it; say in the commit why")
		again, err := render()
		require.NoError(t, err)
		assert.Equal(t, got, again)
	}
}

// kernel runs scripts one after another in a network namespace of their own and
// returns what the table is in the end.
func kernel(t *testing.T, scripts ...string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("rules can be put into a kernel by root only")
	}
	var program strings.Builder
	for i, s := range scripts {
		file := filepath.Join(t.TempDir(), fmt.Sprint(i))
		require.NoError(t, os.WriteFile(file, []byte(s), 0o600))
		fmt.Fprintf(&program, "nft -f %s\n", file)
	}
	out, err := exec.CommandContext(t.Context(), "unshare", "--net", "sh", "-ec", program.String()+"nft list ruleset").CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}

func TestTheKernelTakesTheRules(t *testing.T) {
	tb := table(t)
	whole, err := tb.Ruleset()
	require.NoError(t, err)
	none, err := nftpolicy.Table{Name: tb.Name, Bridges: tb.Bridges, Foreign: tb.Foreign, Masquerade: true}.Ruleset()
	require.NoError(t, err)
	replace := func(old, now *nftpolicy.Network) string {
		text, err := tb.Replace(old, now)
		require.NoError(t, err)
		return text
	}
	one, two := &tb.Networks[0], &tb.Networks[1]
	want := kernel(t, whole)
	assert.Equal(t, want, kernel(t, whole, whole), "twice is as once")
	assert.Equal(t, kernel(t, none), kernel(t, whole, replace(one, nil), replace(two, nil), none))
	lines := func(s string) []string { // the kernel lists in order of making
		out := strings.Split(s, "\n")
		return out
	}
	assert.ElementsMatch(t, lines(want), lines(kernel(t, none, replace(nil, one), replace(nil, two))))
	assert.ElementsMatch(t, lines(want), lines(kernel(t, whole, replace(one, one), replace(two, two))), "replacing by itself changes nothing")
	assert.Empty(t, kernel(t, whole, tb.Delete()))
	assert.Empty(t, kernel(t, tb.Delete()), "absent is no error")
}

func TestMalformedTablesAreRefused(t *testing.T) {
	for name, edit := range map[string]func(*nftpolicy.Table){
		"a name that is code":          func(tb *nftpolicy.Table) { tb.Name = "x; flush ruleset" },
		"no name of bridges":           func(tb *nftpolicy.Table) { tb.Bridges = "" },
		"a bridge that is code":        func(tb *nftpolicy.Table) { tb.Networks[0].Bridge = "mrgabc.1\" drop" },
		"a bridge of somebody else":    func(tb *nftpolicy.Table) { tb.Networks[0].Bridge = "docker0" },
		"the same bridge twice":        func(tb *nftpolicy.Table) { tb.Networks[0].Bridge = tb.Networks[1].Bridge },
		"the same number twice":        func(tb *nftpolicy.Table) { tb.Networks[0].ID = tb.Networks[1].ID },
		"no policy":                    func(tb *nftpolicy.Table) { tb.Networks[0].Policy = nil },
		"two ranges of a family":       func(tb *nftpolicy.Table) { tb.Networks[0].Prefixes[1] = prefix("10.200.7.0/24") },
		"a member of somewhere":        func(tb *nftpolicy.Table) { tb.Networks[0].Members[0].Address = addr("8.8.8.8") },
		"an address of two containers": func(tb *nftpolicy.Table) { tb.Networks[0].Members[0].Address = tb.Networks[0].Members[1].Address },
	} {
		tb := table(t)
		edit(&tb)
		_, err := tb.Ruleset()
		assert.Error(t, err, name)
	}
	tb := table(t)
	tb.Networks[0].Policy = nil
	_, err := tb.Replace(&tb.Networks[0], nil)
	require.Error(t, err)
}
