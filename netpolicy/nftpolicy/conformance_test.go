package nftpolicy_test

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/netpolicy"
	"github.com/moorage-dev/moorage/netpolicy/netpolicytest"
	"github.com/moorage-dev/moorage/netpolicy/netpolicytest/nfteval"
	"github.com/moorage-dev/moorage/netpolicy/nftpolicy"
)

// tableOf is a world on one host.
func tableOf(w *netpolicytest.World) nftpolicy.Table {
	tb := nftpolicy.Table{Name: "t", Bridges: "mrgt.", Foreign: "mrg", Masquerade: true, Routers: w.Router}
	for i := range w.Leases {
		n := nftpolicy.Network{ID: i, Bridge: bridge(i), Prefixes: w.Leases[i].Prefixes, Policy: w.Leases[i].Policy}
		for _, r := range w.Leases[i].Replicas {
			for _, a := range r.Addresses {
				n.Members = append(n.Members, nftpolicy.Member{Address: a, Service: r.Service})
			}
		}
		tb.Networks = append(tb.Networks, n)
	}
	return tb
}

func bridge(lease int) string { return fmt.Sprintf("mrgt.%d", lease) }

// onHost is a packet as the host's rules see it.
func onHost(p netpolicytest.Packet) nfteval.Packet {
	out := nfteval.Packet{
		Hook: "forward", In: "eth0", Out: "eth0", From: p.From.Address, To: p.To.Address,
		Protocol: strings.ToLower(string(p.Port.Protocol)), Port: p.Port.Number,
	}
	if p.From.Role == netpolicy.Replica {
		out.In = bridge(p.From.Lease)
	}
	if p.To.Role == netpolicy.Replica {
		out.Out = bridge(p.To.Lease)
	}
	switch {
	case p.From.Role == netpolicy.Node:
		out.Hook, out.In = "output", ""
	case p.To.Role == netpolicy.Node:
		out.Hook, out.Out = "input", ""
	}
	return out
}

// harness interprets what render makes of a world.
func harness(render func(w *netpolicytest.World) (string, error)) netpolicytest.Harness {
	return netpolicytest.Harness{Render: func(w *netpolicytest.World) (netpolicytest.Interpreter, error) {
		var k nfteval.Kernel
		script, err := render(w)
		if err == nil {
			err = k.Run(script)
		}
		return netpolicytest.InterpreterFunc(func(p netpolicytest.Packet) (bool, error) { return k.Judge(onHost(p)) }), err
	}}
}

func whole(w *netpolicytest.World) (string, error) { return tableOf(w).Ruleset() }

func TestRulesAreWhatEvaluateSays(t *testing.T) { netpolicytest.Run(t, harness(whole)) }

func TestRulesThatWereChangedOneNetworkAfterAnotherAreWhatEvaluateSays(t *testing.T) {
	netpolicytest.Run(t, harness(func(w *netpolicytest.World) (string, error) {
		tb := tableOf(w)
		// The table begins with other networks in the places of these.
		old := tableOf(w)
		slices.Reverse(old.Networks)
		for i := range old.Networks {
			old.Networks[i].ID, old.Networks[i].Bridge, old.Networks[i].Open = i, bridge(i), true
		}
		script, err := old.Ruleset()
		if err != nil {
			return "", err
		}
		out := []string{script}
		for i := range tb.Networks {
			for _, step := range [][2]*nftpolicy.Network{{&old.Networks[i], nil}, {nil, &old.Networks[i]}, {&old.Networks[i], &tb.Networks[i]}} {
				script, err := tb.Replace(step[0], step[1])
				if err != nil {
					return "", err
				}
				out = append(out, script)
			}
		}
		return strings.Join(out, "\n"), nil
	}))
}

func TestMisreadingsOfThePolicyAreCaught(t *testing.T) {
	for _, f := range netpolicytest.Faults() {
		h := harness(whole)
		h.Fault = f.Plant
		assert.Error(t, caseNamed(t, f.Caught).Check(h), f.Name)
	}
}

func caseNamed(t *testing.T, name string) netpolicytest.Case {
	t.Helper()
	cases := netpolicytest.Cases()
	i := slices.IndexFunc(cases, func(c netpolicytest.Case) bool { return c.Name == name })
	require.GreaterOrEqual(t, i, 0, name)
	return cases[i]
}

// TestEveryRuleMatters takes one kind of rule out of the text, or changes it, and
// looks whether a case notices.
func TestEveryRuleMatters(t *testing.T) {
	for name, change := range map[string]struct{ pattern, by string }{
		"own ranges":                         {`(exit_\w+ \{(?:\n\t\t.*)*?\n)\t\tip daddr \{ 10\.200.*drop\n`, "$1"},
		"source addresses of others":         {`\t\tip saddr @n0_0_v4 accept\n`, "\t\taccept\n"},
		"the end of a service's chain":       {`(chain n0_0 \{(?:\n\t\t.*)*)\n\t\tdrop`, "$1\n\t\taccept"},
		"the end of a network's chain":       {`(chain n\d+_host \{(?:\n\t\t.*)*)\n\t\tdrop`, "$1\n\t\taccept"},
		"IPv6 of members":                    {`type ipv6_addr : verdict\n.*\n`, "type ipv6_addr : verdict\n"},
		"a range that is one address wider":  {`169\.254\.0\.0/16`, "169.254.0.0/15"},
		"a port that is another":             {`dport 5432`, "dport 5431"},
		"a protocol that is another":         {`udp dport 5433`, "tcp dport 5433"},
		"the router is everybody":            {`ip saddr \{ 172\.31\.0\.80 \} `, ""},
		"return instead of drop":             {`(ip daddr \{ 0\.0\.0\.0/8.*) drop`, "$1 return"},
		"drop instead of return":             {`(ip daddr \{ 192\.168\.7\.0/24.*) return`, "$1 drop"},
		"the network's own bridge is no way": {`\t\toifname "mrgt\.0" return\n`, ""},
		"the control plane of everybody":     {`ip saddr @\w+ (ip daddr \S+ tcp dport 6443)`, "$1"},
		"DNS by any protocol":                {`meta l4proto \{ tcp, udp \} th dport \{ 53 \} `, ""},
	} {
		t.Run(name, func(t *testing.T) {
			pattern := regexp.MustCompile(change.pattern)
			h := harness(func(w *netpolicytest.World) (string, error) {
				script, err := whole(w)
				return pattern.ReplaceAllString(script, change.by), err
			})
			w, err := netpolicytest.Town()
			require.NoError(t, err)
			script, err := whole(w)
			require.NoError(t, err)
			require.Regexp(t, pattern, script, "the change changes something")
			for _, c := range netpolicytest.Cases() {
				if c.Check(h) != nil {
					return
				}
			}
			assert.Fail(t, "no case noticed")
		})
	}
}

func TestRepliesPassAndChangesCutWhatTheyDeny(t *testing.T) {
	var k nfteval.Kernel
	script, err := table(t).Ruleset()
	require.NoError(t, err)
	require.NoError(t, k.Run(script))
	packet := func(from, to, state string, reply bool) bool {
		p := nfteval.Packet{Hook: "forward", In: "mrgabc.2", Out: "mrgabc.2", From: addr(from), To: addr(to), Protocol: "tcp", Port: 40000, State: state, Reply: reply}
		if !prefix("10.200.1.0/24").Contains(p.From) {
			p.In = "eth0"
		}
		if !prefix("10.200.1.0/24").Contains(p.To) {
			p.Out = "eth0"
		}
		ok, err := k.Judge(p)
		require.NoError(t, err)
		return ok
	}
	const web, api = "10.200.1.2", "10.200.1.3"
	assert.True(t, packet(web, api, "established", true), "a reply")
	assert.False(t, packet(web, api, "established", false), "no reply, though the connection was there before the policy")
	assert.True(t, packet("8.8.8.8", api, "established", true))
	assert.True(t, packet(api, "198.51.100.9", "established", true))
	assert.False(t, packet("8.8.8.8", api, "established", false))
	assert.False(t, packet("8.8.8.8", api, "", false))
	assert.True(t, packet("8.8.8.8", api, "related", false), "the news that a host is unreachable")
	ok, err := k.Judge(nfteval.Packet{Hook: "input", In: "mrgabc.2", From: addr("fd10:0:0:1::2"), To: addr("ff02::1"), Protocol: "icmpv6", Type: "nd-neighbor-solicit"})
	require.NoError(t, err)
	assert.True(t, ok, "neighbours are found")
	ok, err = k.Judge(nfteval.Packet{Hook: "output", Out: "mrgabc.2", From: addr("10.200.1.1"), To: addr(web), Protocol: "icmp", Type: "redirect"})
	require.NoError(t, err)
	assert.False(t, ok, "no container is told to go straight to another")
	ok, err = k.Judge(nfteval.Packet{Hook: "forward", In: "mrgabc.9", Out: "eth0", From: addr("10.200.9.2"), To: netip.MustParseAddr("8.8.8.8"), Protocol: "tcp", Port: 80})
	require.NoError(t, err)
	assert.False(t, ok, "a bridge of no network")
	for out, want := range map[string]bool{"mrgother.1": false, "eth0": true} {
		ok, err = k.Judge(nfteval.Packet{Hook: "forward", In: "mrgabc.2", Out: out, From: addr(web), To: addr("44.0.0.1"), Protocol: "tcp", Port: 80})
		require.NoError(t, err)
		assert.Equal(t, want, ok, "a network of another table, whatever its addresses")
	}
}
