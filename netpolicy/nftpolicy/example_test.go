package nftpolicy_test

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/moorage-dev/moorage/netpolicy"
	"github.com/moorage-dev/moorage/netpolicy/nftpolicy"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

func ExampleTable() {
	group := manifest.Group{Services: []manifest.Service{
		{Name: "db", Expose: []manifest.Expose{{Port: 5432, Proto: manifest.TCP, Service: "web"}}},
		{Name: "web"},
	}}
	policy, err := netpolicy.Compile(group, nil, netpolicy.Surroundings{})
	if err != nil {
		fmt.Println(err)
		return
	}
	table := nftpolicy.Table{Name: "example", Bridges: "br.", Foreign: "br.", Networks: []nftpolicy.Network{{
		ID: 1, Bridge: "br.1", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.1.0/24")}, Policy: policy,
		Members: []nftpolicy.Member{{Address: netip.MustParseAddr("10.0.1.2"), Service: "db"}, {Address: netip.MustParseAddr("10.0.1.3"), Service: "web"}},
	}}}
	text, err := table.Ruleset() // for "nft -f -"
	if err != nil {
		fmt.Println(err)
		return
	}
	for line := range strings.Lines(text) {
		if strings.Contains(line, "5432") {
			fmt.Println(strings.TrimSpace(line))
		}
	}
	// Output:
	// ip saddr @n1_1_v4 tcp dport 5432 accept
	// ip6 saddr @n1_1_v6 tcp dport 5432 accept
}
