package ipleasetest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/iplease/driver"
	"github.com/moorage-dev/moorage/market"
)

// claim returns the n-th claim of the suite; their texts sort as the numbers do up
// to 9.
func claim(n int) iplease.ClaimID {
	return iplease.ClaimID{Owner: "tenant", Name: "web" + strconv.Itoa(n)}
}

// lease returns the n-th lease of the suite.
func lease(n int) market.LeaseID {
	id, err := market.ParseLeaseID("tenant/" + strconv.Itoa(n) + "/1/1/provider")
	if err != nil {
		panic(err)
	}
	return id
}

// port leads to service "web" of the first lease.
func port(proto iplease.Protocol, external uint16) iplease.Port {
	return iplease.Port{Protocol: proto, External: external, Lease: lease(1), Service: "web", Port: ContainerPort}
}

// bare is an announcement of the n-th claim at the n-th addresses, with TCP and
// UDP on port 80 and no replicas.
func (e *Env) bare(n int, revision uint64) driver.Announcement {
	a := driver.Announcement{Claim: claim(n), Revision: revision, Addresses: []netip.Addr{e.V4[n-1]}}
	if e.Claims(IPv6) {
		a.Addresses = append(a.Addresses, e.V6[n-1])
	}
	a.Ports = []iplease.Port{port(iplease.TCP, 80), port(iplease.UDP, 80)}
	return a
}

// replica starts one for a service of a lease.
func (e *Env) replica(ctx context.Context, name string, of market.LeaseID, service string) ([]driver.Backend, error) {
	backends, err := e.Serve(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("start replica %s: %w", name, err)
	}
	for i := range backends {
		backends[i].Lease, backends[i].Service = of, service
	}
	return backends, nil
}

// served is bare(n, 1) with one replica of the given name, applied and announced.
func (e *Env) served(ctx context.Context, n int, name string) (driver.Announcement, error) {
	a := e.bare(n, 1)
	var err error
	if a.Backends, err = e.replica(ctx, name, lease(1), "web"); err != nil {
		return a, err
	}
	return a, e.announce(ctx, a)
}

// announce applies and waits until all of it is announced.
func (e *Env) announce(ctx context.Context, a driver.Announcement) error {
	if err := e.Announcer.Apply(ctx, a.Clone()); err != nil {
		return fmt.Errorf("apply of revision %d: %w", a.Revision, err)
	}
	return e.status(ctx, a.Claim, func(s driver.Status) bool { return s.State == driver.Announced && s.Revision == a.Revision })
}

// held applies and waits until the addresses are announced, whatever the ports
// are.
func (e *Env) held(ctx context.Context, a driver.Announcement) error {
	if err := e.Announcer.Apply(ctx, a.Clone()); err != nil {
		return fmt.Errorf("apply of revision %d: %w", a.Revision, err)
	}
	return e.status(ctx, a.Claim, func(s driver.Status) bool {
		return s.Revision == a.Revision && len(s.Addresses) == len(a.Addresses) &&
			!slices.ContainsFunc(s.Addresses, func(as driver.AddressStatus) bool { return as.State != driver.Announced })
	})
}

// soon tries again until f succeeds or the patience ends, and returns the last
// error.
func (e *Env) soon(ctx context.Context, f func() error) error {
	const pause = 20 * time.Millisecond
	deadline := time.Now().Add(e.Patience)
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after %s still: %w", e.Patience, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// status waits until a claim's status is as wanted.
func (e *Env) status(ctx context.Context, id iplease.ClaimID, ok func(driver.Status) bool) error {
	return e.soon(ctx, func() error {
		s, err := e.Announcer.Status(ctx, id)
		if err != nil {
			return fmt.Errorf("status: %w", err)
		}
		if !ok(s) {
			return fmt.Errorf("status is %s", describe(s))
		}
		return nil
	})
}

// describe prints a status in a line.
func describe(s driver.Status) string {
	text := fmt.Sprintf("%s at revision %d", s.State, s.Revision)
	for _, a := range s.Addresses {
		text += fmt.Sprintf("; %s %s by %q %s", a.Address, a.State, a.Node, a.Reason)
	}
	for _, p := range s.Ports {
		text += fmt.Sprintf("; %s %d/%s to %d %s %s", p.Address, p.Port.External, p.Port.Protocol, p.Port.Port, p.State, p.Reason)
	}
	return text
}

// lists checks what List returns.
func (e *Env) lists(ctx context.Context, want ...iplease.ClaimID) error {
	got, err := e.Announcer.List(ctx)
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("list is %v, want %v", got, want)
	}
	return nil
}

// somebody is any port of the first client.
func somebody() Client { return Client{} }

// reaches waits until a connection to a port of an address comes to a replica.
func (e *Env) reaches(ctx context.Context, from Client, proto iplease.Protocol, at netip.Addr, external uint16, replica string) (Answer, error) {
	var last Answer
	err := e.soon(ctx, func() error {
		got, err := e.Ask(ctx, from, proto, netip.AddrPortFrom(at, external))
		if err != nil {
			return fmt.Errorf("%s port %d/%s: %w", at, external, proto, err)
		}
		if last = got; got.Replica != replica {
			return fmt.Errorf("%s port %d/%s leads to %q, want %q", at, external, proto, got.Replica, replica)
		}
		return nil
	})
	return last, err
}

// everywhere does f for each address of an announcement and each protocol.
func everywhere(a driver.Announcement, f func(at netip.Addr, proto iplease.Protocol) error) error {
	for _, at := range a.Addresses {
		for _, proto := range []iplease.Protocol{iplease.TCP, iplease.UDP} {
			if err := f(at, proto); err != nil {
				return err
			}
		}
	}
	return nil
}

// shut checks that a port leads nowhere now.
func (e *Env) shut(ctx context.Context, from Client, proto iplease.Protocol, at netip.Addr, external uint16) error {
	if got, err := e.Ask(ctx, from, proto, netip.AddrPortFrom(at, external)); err == nil {
		return fmt.Errorf("%s port %d/%s leads to %q, want nowhere", at, external, proto, got.Replica)
	}
	return ctx.Err()
}

// errNone stands for no error in a text.
var errNone = errors.New("none")

// is checks for a sentinel.
func is(what string, err, want error) error {
	if errors.Is(err, want) {
		return nil
	}
	if err == nil {
		err = errNone
	}
	return fmt.Errorf("%s: got error \"%w\", want \"%w\"", what, err, want)
}
