package ipleasetest_test

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/iplease/driver"
	"github.com/moorage-dev/moorage/iplease/ipleasetest"
	"github.com/moorage-dev/moorage/iplease/memannouncer"
)

// forgetful is an announcer whose List misses everything.
type forgetful struct{ driver.Announcer }

func (forgetful) List(context.Context) ([]iplease.ClaimID, error) { return nil, nil }

// A case is a function that returns an error, so a suite can be run by anything.
// In a test of an announcer it is ipleasetest.Run(t, harness).
func Example() {
	for _, a := range []driver.Announcer{memannouncer.New(memannouncer.Config{}), forgetful{memannouncer.New(memannouncer.Config{})}} {
		network := &ipleasetest.Network{Announcer: a}
		for i := range 4 {
			network.V4 = append(network.V4, netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}))
		}
		for _, c := range ipleasetest.Cases() {
			if c.Name == "list" {
				fmt.Println(c.Clause)
				fmt.Println(c.Check(context.Background(), ipleasetest.Harness{}.Env(network)))
			}
		}
	}
	// Output:
	// List returns every claim with anything announced or desired, sorted by its text.
	// <nil>
	// List returns every claim with anything announced or desired, sorted by its text.
	// list is [], want [tenant/web1 tenant/web2 tenant/web3]
}
