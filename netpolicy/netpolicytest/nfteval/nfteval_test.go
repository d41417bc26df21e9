package nfteval_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/netpolicy/netpolicytest/nfteval"
)

const rules = `
table inet t {
	set friends {
		type ipv4_addr
		elements = { 10.0.0.1, 10.0.0.2 }
	}
	map to {
		type ipv4_addr : verdict
		elements = { 10.0.0.9 : goto nine, 10.0.0.8 : drop }
	}
	chain forward {
		type filter hook forward priority 0; policy drop;
		ct state established ct direction reply accept
		iifname "br.*" jump bridged # by any of them
		ip saddr @friends tcp dport { 80, 8000-8010 } accept
		ip daddr vmap @to
		ip6 daddr != { fd00::/8 } udp dport 53 accept
		icmpv6 type { nd-neighbor-solicit } accept
		meta nfproto ipv6 meta l4proto tcp accept
	}
	chain bridged {
		ip saddr 10.9.0.0/16 return
		oifname "eth0" accept
	}
	chain nine {
		th dport 9 accept
	}
}
`

func kernel(t *testing.T) *nfteval.Kernel {
	t.Helper()
	k := &nfteval.Kernel{}
	require.NoError(t, k.Run(rules))
	return k
}

func TestPacketsAreJudgedAsTheManualSays(t *testing.T) {
	k := kernel(t)
	for _, row := range []struct {
		name string
		p    nfteval.Packet
		want bool
	}{
		{"a member and a port", nfteval.Packet{From: a("10.0.0.1"), To: a("1.1.1.1"), Protocol: "tcp", Port: 80}, true},
		{"a range of ports", nfteval.Packet{From: a("10.0.0.2"), To: a("1.1.1.1"), Protocol: "tcp", Port: 8010}, true},
		{"beside the range", nfteval.Packet{From: a("10.0.0.2"), To: a("1.1.1.1"), Protocol: "tcp", Port: 8011}, false},
		{"another protocol has no tcp port", nfteval.Packet{From: a("10.0.0.1"), To: a("1.1.1.1"), Protocol: "udp", Port: 80}, false},
		{"no member", nfteval.Packet{From: a("10.0.0.3"), To: a("1.1.1.1"), Protocol: "tcp", Port: 80}, false},
		{"goto and then the policy", nfteval.Packet{From: a("10.0.0.3"), To: a("10.0.0.9"), Protocol: "tcp", Port: 10}, false},
		{"goto and accept", nfteval.Packet{From: a("10.0.0.3"), To: a("10.0.0.9"), Protocol: "sctp", Port: 9}, true},
		{"no ports at all", nfteval.Packet{From: a("10.0.0.3"), To: a("10.0.0.9"), Protocol: "icmp"}, false},
		{"jump and accept", nfteval.Packet{In: "br.7", Out: "eth0", From: a("10.8.0.3"), To: a("10.0.0.8"), Protocol: "udp", Port: 1}, true},
		{"jump, return, and on", nfteval.Packet{In: "br.7", Out: "eth0", From: a("10.9.0.3"), To: a("10.0.0.8"), Protocol: "udp", Port: 1}, false},
		{"a name that only begins so", nfteval.Packet{In: "br", Out: "eth0", From: a("10.8.0.3"), To: a("10.0.0.8"), Protocol: "udp", Port: 1}, false},
		{"a reply", nfteval.Packet{From: a("10.0.0.3"), To: a("10.0.0.8"), Protocol: "udp", Port: 1, State: "established", Reply: true}, true},
		{"the same way", nfteval.Packet{From: a("10.0.0.3"), To: a("10.0.0.8"), Protocol: "udp", Port: 1, State: "established"}, false},
		{"not in a range", nfteval.Packet{From: a("fd00::1"), To: a("2a00::1"), Protocol: "udp", Port: 53}, true},
		{"in the range", nfteval.Packet{From: a("fd00::1"), To: a("fd00::2"), Protocol: "udp", Port: 53}, false},
		{"a match of IPv6 in IPv4", nfteval.Packet{From: a("10.0.0.3"), To: a("1.1.1.1"), Protocol: "udp", Port: 53}, false},
		{"a type", nfteval.Packet{From: a("fd00::1"), To: a("fd00::2"), Protocol: "icmpv6", Type: "nd-neighbor-solicit"}, true},
		{"another type", nfteval.Packet{From: a("fd00::1"), To: a("fd00::2"), Protocol: "icmpv6", Type: "echo-request"}, false},
		{"a family", nfteval.Packet{From: a("fd00::1"), To: a("fd00::2"), Protocol: "tcp", Port: 1}, true},
	} {
		row.p.Hook = "forward"
		got, err := k.Judge(row.p)
		require.NoError(t, err, row.name)
		assert.Equal(t, row.want, got, row.name)
	}
	got, err := k.Judge(nfteval.Packet{Hook: "input", From: a("10.0.0.3"), To: a("10.0.0.8"), Protocol: "udp"})
	require.NoError(t, err)
	assert.True(t, got, "nothing is at this hook")
	_, err = k.Judge(nfteval.Packet{Hook: "forward", From: a("10.0.0.3"), To: a("fd00::1"), Protocol: "udp"})
	require.Error(t, err, "two families")
}

func a(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestAScriptIsTakenWholeOrNotAtAll(t *testing.T) {
	k := kernel(t)
	for _, bad := range []string{
		"delete chain inet t nine",                          // the map leads there
		"flush chain inet t nine\ndelete chain inet t nine", // still
		"delete set inet t friends",
		"delete set inet t nobody",
		"delete element inet t friends { 10.0.0.7 }",
		"add element inet t to { 10.0.0.9 : drop }", // it has another verdict
		"add element inet t friends { 10.0.0.x/9",
		"flush chain inet t nowhere",
		"table inet t {\n\tchain forward {\n\t\tjump nowhere\n\t}\n}",
		"table inet t {\n\tchain forward {\n\t\tip saddr @nobody drop\n\t}\n}",
		"table inet t {\n\tset more {\n\t\ttype ipv4_addr\n\t\telements = { 10.0.0.0/8 }\n\t}\n}", // a range needs the flag
		"table inet t {\n\tchain forward {\n\t\tfib daddr type local drop\n\t}\n}",
		"table inet t {\n\tchain forward {\n\t\tdrop accept\n\t}\n}",
		"table ip t",
		"list ruleset",
	} {
		assert.Error(t, k.Run("add chain inet t fresh\n"+bad), bad)
		assert.Equal(t, []string{"bridged", "forward", "nine"}, k.Chains("t"), bad)
	}
	require.NoError(t, k.Run("delete element inet t to { 10.0.0.9 }\nflush chain inet t nine\ndelete chain inet t nine"))
	assert.Equal(t, []string{"bridged", "forward"}, k.Chains("t"))
	require.NoError(t, k.Run("delete table inet t"))
	assert.Empty(t, k.Tables())
}

func TestChainsThatCallOneAnotherForEverAreAnError(t *testing.T) {
	var k nfteval.Kernel
	require.NoError(t, k.Run("table inet t {\n\tchain a {\n\t\ttype filter hook forward priority 0; policy accept;\n\t\tjump b\n\t}\n\tchain b {\n\t\tjump b\n\t}\n}"))
	_, err := k.Judge(nfteval.Packet{Hook: "forward", From: a("10.0.0.1"), To: a("10.0.0.2"), Protocol: "tcp"})
	require.Error(t, err)
}

func ExampleKernel() {
	var k nfteval.Kernel
	err := k.Run(`table inet t {
		chain c {
			type filter hook forward priority 0; policy drop;
			tcp dport 443 accept
		}
	}`)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, port := range []uint16{80, 443} {
		fmt.Println(k.Judge(nfteval.Packet{Hook: "forward", From: a("10.0.0.1"), To: a("9.9.9.9"), Protocol: "tcp", Port: port}))
	}
	// Output:
	// false <nil>
	// true <nil>
}
