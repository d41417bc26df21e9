package iplease_test

import (
	"fmt"
	"time"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/market"
)

// A bid reserves an address, the manifest binds it, a second deployment with the
// same endpoint name waits, and the address is moved to it.
func Example() {
	r, _ := iplease.ParseRange("203.0.113.10-203.0.113.20")
	t, err := iplease.New(iplease.Config{Pools: []iplease.Pool{{Name: "public", Ranges: []iplease.Range{r}}}})
	if err != nil {
		panic(err)
	}
	now := time.Unix(0, 0).UTC()
	first, _ := market.ParseLeaseID("tenant/1/1/1/provider")
	second, _ := market.ParseLeaseID("tenant/2/1/1/provider")
	want := func(l market.LeaseID) iplease.Want {
		return iplease.Want{Name: "myip", Number: 1, Ports: []iplease.Port{{Protocol: iplease.TCP, External: 80, Lease: l, Service: "web", Port: 8080}}}
	}

	fmt.Println(t.Reserve(iplease.Request{Order: first.OrderID, Numbers: []uint32{1}}))
	out := t.Update(first, []iplease.Want{want(first)}, now)
	fmt.Println(out[0].Claim.State, out[0].Claim.IPv4)
	out = t.Update(second, []iplease.Want{want(second)}, now)
	fmt.Println(out[0].Err)

	id := iplease.ClaimID{Owner: "tenant", Name: "myip"}
	_, err = t.Prepare(iplease.Move{Claim: id, To: second.DeploymentID, Ports: want(second).Ports}, now)
	fmt.Println(err)
	moved, _ := t.Switch(id)
	fmt.Println(moved.IPv4, moved.Holder, t.Confirm(id))

	t.Close(second, now)
	c, _ := t.Claim(id)
	fmt.Println(c.State, len(t.Expire(now.Add(iplease.DefaultCooling), 0)), t.Capacity()[0].Free)
	// Output:
	// <nil>
	// bound 203.0.113.10
	// iplease: withheld: endpoint myip is held by deployment tenant/1
	// <nil>
	// 203.0.113.10 tenant/2 <nil>
	// cooling 1 11
}
