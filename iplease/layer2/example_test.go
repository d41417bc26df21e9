package layer2_test

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/iplease/driver"
	"github.com/moorage-dev/moorage/iplease/layer2"
)

// A host of a segment with two others. It answers as long as Run runs.
func Example() {
	a, err := layer2.New(layer2.Config{
		Node: "host-1", Interface: "eth0",
		Listen: netip.MustParseAddrPort("192.0.2.11:7947"),
		Peers: []netip.AddrPort{
			netip.MustParseAddrPort("192.0.2.11:7947"), netip.MustParseAddrPort("192.0.2.12:7947"), netip.MustParseAddrPort("192.0.2.13:7947"),
		},
		Key: []byte("the hosts share this key"), MinHosts: 2,
	})
	if err != nil {
		panic(err)
	}
	// go a.Run(ctx)
	defer func() { _ = a.Close() }()

	ctx := context.Background()
	claim := iplease.ClaimID{Owner: "tenant", Name: "web"}
	err = a.Apply(ctx, driver.Announcement{Claim: claim, Revision: 1, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.200")}})
	if err != nil {
		panic(err)
	}
	s, err := a.Status(ctx, claim)
	fmt.Println(s.State, s.Addresses[0].Reason, err)
	// Output: pending the announcer does not run <nil>
}
