package ipleasetest

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/iplease/driver"
)

func changeCases() []Case {
	const leadsThere = "Apply returns, where the claim was announced before, once the ports lead where a says."
	traffic := []Ability{Traffic}
	return []Case{
		{Name: "a port added", Clause: leadsThere, Needs: traffic, Check: portAdded},
		{Name: "a port removed", Clause: leadsThere, Needs: traffic, Check: portRemoved},
		{Name: "another container port", Clause: leadsThere, Needs: traffic, Check: portRetargeted},
		{Name: "another service", Clause: leadsThere, Needs: traffic, Check: serviceRetargeted},
		{Name: "another deployment", Clause: leadsThere, Needs: traffic, Check: migrated},
		{Name: "a flow that lives follows", Clause: leadsThere, Needs: traffic, Check: flowFollows},
		{Name: "an address that stays answers on", Clause: "An address that stays is never withdrawn in between.", Needs: []Ability{Traffic, Neighbours}, Check: staysAnswered},
		{Name: "withdrawn is silent", Clause: "Withdraw returns when nobody answers for its addresses any more.", Needs: []Ability{Neighbours}, Check: silent},
		{Name: "withdrawn leads nowhere", Clause: "Withdraw removes everything of the claim.", Needs: traffic, Check: leadsNowhere},
		{Name: "withdrawn leaves the neighbour's", Clause: "Withdraw removes everything of the claim, and nothing of others.", Needs: traffic, Check: leavesNeighbour},
	}
}

func portAdded(ctx context.Context, e *Env) error {
	a, err := e.served(ctx, 1, "one")
	if err != nil {
		return err
	}
	a.Revision, a.Ports = 2, append(a.Ports, port(iplease.TCP, 443))
	if err := e.Announcer.Apply(ctx, a); err != nil {
		return err
	}
	for _, at := range a.Addresses {
		if got, err := e.Ask(ctx, somebody(), iplease.TCP, netip.AddrPortFrom(at, 443)); err != nil || got.Replica != "one" {
			return fmt.Errorf("the new port of %s leads to %q: %w", at, got.Replica, err)
		}
	}
	return nil
}

func portRemoved(ctx context.Context, e *Env) error {
	a, err := e.served(ctx, 1, "one")
	if err != nil {
		return err
	}
	for _, at := range a.Addresses {
		if _, err := e.reaches(ctx, somebody(), iplease.TCP, at, 80, "one"); err != nil {
			return err
		}
	}
	a.Revision, a.Ports = 2, a.Ports[1:]
	if err := e.Announcer.Apply(ctx, a); err != nil {
		return err
	}
	for _, at := range a.Addresses {
		if err := e.shut(ctx, somebody(), iplease.TCP, at, 80); err != nil {
			return err
		}
		if _, err := e.reaches(ctx, somebody(), iplease.UDP, at, 80, "one"); err != nil {
			return err
		}
	}
	return nil
}

// retargeted applies a change and checks where both ports lead right after.
func (e *Env) retargeted(ctx context.Context, a driver.Announcement, want string, wantPort uint16) error {
	if err := e.Announcer.Apply(ctx, a.Clone()); err != nil {
		return err
	}
	return everywhere(a, func(at netip.Addr, proto iplease.Protocol) error {
		got, err := e.Ask(ctx, somebody(), proto, netip.AddrPortFrom(at, 80))
		if err != nil || got.Replica != want || got.Port != wantPort {
			return fmt.Errorf("after apply %s port 80/%s leads to %q port %d, want %q port %d: %w", at, proto, got.Replica, got.Port, want, wantPort, err)
		}
		return nil
	})
}

func portRetargeted(ctx context.Context, e *Env) error {
	a, err := e.served(ctx, 1, "one")
	if err != nil {
		return err
	}
	a.Revision = 2
	for i := range a.Ports {
		a.Ports[i].Port = OtherPort
	}
	return e.retargeted(ctx, a, "one", OtherPort)
}

func serviceRetargeted(ctx context.Context, e *Env) error {
	a, err := e.served(ctx, 1, "one")
	if err != nil {
		return err
	}
	more, err := e.replica(ctx, "two", lease(1), "api")
	if err != nil {
		return err
	}
	a.Revision, a.Backends = 2, append(a.Backends, more...)
	for i := range a.Ports {
		a.Ports[i].Service = "api"
	}
	return e.retargeted(ctx, a, "two", ContainerPort)
}

// moved is an announcement of the first claim for another deployment.
func (e *Env) moved(ctx context.Context, a driver.Announcement) (driver.Announcement, error) {
	a = a.Clone()
	a.Revision++
	for i := range a.Ports {
		a.Ports[i].Lease = lease(2)
	}
	var err error
	a.Backends, err = e.replica(ctx, "two", lease(2), "web")
	return a, err
}

func migrated(ctx context.Context, e *Env) error {
	a, err := e.served(ctx, 1, "one")
	if err != nil {
		return err
	}
	next, err := e.moved(ctx, a)
	if err != nil {
		return err
	}
	if err := e.retargeted(ctx, next, "two", ContainerPort); err != nil {
		return err
	}
	a.Revision = next.Revision + 1 // and back, as a rolled back migration does
	return e.retargeted(ctx, a, "one", ContainerPort)
}

func flowFollows(ctx context.Context, e *Env) error {
	const localPort = 40001 // a datagram from the same port belongs to the same flow
	a, err := e.served(ctx, 1, "one")
	if err != nil {
		return err
	}
	for _, at := range a.Addresses {
		if _, err := e.reaches(ctx, Client{Port: localPort}, iplease.UDP, at, 80, "one"); err != nil {
			return err
		}
	}
	next, err := e.moved(ctx, a)
	if err != nil {
		return err
	}
	if err := e.Announcer.Apply(ctx, next); err != nil {
		return err
	}
	for _, at := range a.Addresses {
		got, err := e.Ask(ctx, Client{Port: localPort}, iplease.UDP, netip.AddrPortFrom(at, 80))
		if err != nil || got.Replica != "two" {
			return fmt.Errorf("a flow that lived before the move of %s comes to %q: %w", at, got.Replica, err)
		}
	}
	return nil
}

func staysAnswered(ctx context.Context, e *Env) error {
	a, err := e.served(ctx, 1, "one")
	if err != nil {
		return err
	}
	next, err := e.moved(ctx, a)
	if err != nil {
		return err
	}
	before, err := e.Answers(ctx, a.Addresses[0])
	if err != nil || before == "" {
		return fmt.Errorf("%s is answered by %q: %w", a.Addresses[0], before, err)
	}
	if err := e.Announcer.Apply(ctx, next); err != nil {
		return err
	}
	after, err := e.Answers(ctx, a.Addresses[0])
	if err != nil || after == "" {
		return fmt.Errorf("right after a change %s is answered by %q: %w", a.Addresses[0], after, err)
	}
	return nil
}

func silent(ctx context.Context, e *Env) error {
	a := e.bare(1, 1)
	if err := e.held(ctx, a); err != nil {
		return err
	}
	for _, at := range a.Addresses {
		if who, err := e.Answers(ctx, at); err != nil || who == "" {
			return fmt.Errorf("%s is announced and answered by %q: %w", at, who, err)
		}
	}
	if err := e.Announcer.Withdraw(ctx, a.Claim); err != nil {
		return err
	}
	for _, at := range a.Addresses {
		if who, err := e.Answers(ctx, at); err != nil || who != "" {
			return fmt.Errorf("%s is withdrawn and answered by %q: %w", at, who, err)
		}
	}
	return nil
}

func leadsNowhere(ctx context.Context, e *Env) error {
	a, err := e.served(ctx, 1, "one")
	if err != nil {
		return err
	}
	if _, err := e.reaches(ctx, somebody(), iplease.TCP, a.Addresses[0], 80, "one"); err != nil {
		return err
	}
	if err := e.Announcer.Withdraw(ctx, a.Claim); err != nil {
		return err
	}
	return everywhere(a, func(at netip.Addr, proto iplease.Protocol) error { return e.shut(ctx, somebody(), proto, at, 80) })
}

func leavesNeighbour(ctx context.Context, e *Env) error {
	a, err := e.served(ctx, 1, "one")
	if err != nil {
		return err
	}
	b, err := e.served(ctx, 2, "two")
	if err != nil {
		return err
	}
	if err := e.Announcer.Withdraw(ctx, a.Claim); err != nil {
		return err
	}
	return everywhere(b, func(at netip.Addr, proto iplease.Protocol) error {
		_, err := e.reaches(ctx, somebody(), proto, at, 80, "two")
		return err
	})
}

func hostCases() []Case {
	found := "opened again on its state, it goes on"
	return []Case{
		{Name: "list after reopen", Clause: found, Needs: []Ability{Reopen}, Check: listAfterReopen},
		{Name: "announced after reopen", Clause: found, Needs: []Ability{Reopen, Traffic}, Check: announcedAfterReopen},
		{Name: "stale revision after reopen", Clause: "Apply: a revision not above the one held is ignored without error.", Needs: []Ability{Reopen}, Check: staleAfterReopen},
		{Name: "withdrawn stays so after reopen", Clause: "Withdraw removes everything of the claim.", Needs: []Ability{Reopen}, Check: withdrawnAfterReopen},
		{
			Name: "a host dies", Clause: "The announcer itself moves an address when a host dies, and says so in the status.",
			Needs: []Ability{Failover, Neighbours}, Check: hostDies,
		},
	}
}

// reopen replaces the announcer.
func (e *Env) reopen(ctx context.Context) error {
	a, err := e.Reopen(ctx)
	e.Announcer = a
	return err
}

func listAfterReopen(ctx context.Context, e *Env) error {
	for n := 1; n <= 2; n++ {
		if err := e.held(ctx, e.bare(n, 1)); err != nil {
			return err
		}
	}
	if err := e.reopen(ctx); err != nil {
		return err
	}
	return e.lists(ctx, claim(1), claim(2))
}

func announcedAfterReopen(ctx context.Context, e *Env) error {
	a, err := e.served(ctx, 1, "one")
	if err != nil {
		return err
	}
	if err := e.reopen(ctx); err != nil {
		return err
	}
	return everywhere(a, func(at netip.Addr, proto iplease.Protocol) error {
		_, err := e.reaches(ctx, somebody(), proto, at, 80, "one")
		return err
	})
}

func staleAfterReopen(ctx context.Context, e *Env) error {
	if err := e.held(ctx, e.bare(1, 5)); err != nil {
		return err
	}
	if err := e.reopen(ctx); err != nil {
		return err
	}
	if err := e.Announcer.Apply(ctx, e.bare(1, 4)); err != nil {
		return err
	}
	s, err := e.Announcer.Status(ctx, claim(1))
	if err == nil && s.Revision != 5 {
		err = fmt.Errorf("revision 4 over 5 has made it %s", describe(s))
	}
	return err
}

func withdrawnAfterReopen(ctx context.Context, e *Env) error {
	if err := e.held(ctx, e.bare(1, 1)); err != nil {
		return err
	}
	if err := e.Announcer.Withdraw(ctx, claim(1)); err != nil {
		return err
	}
	if err := e.reopen(ctx); err != nil {
		return err
	}
	return e.lists(ctx)
}

func hostDies(ctx context.Context, e *Env) error {
	a := e.bare(1, 1)
	if err := e.held(ctx, a); err != nil {
		return err
	}
	s, err := e.Announcer.Status(ctx, a.Claim)
	if err != nil {
		return err
	}
	dead := s.Addresses[0].Node
	if e.Announcer, err = e.Kill(ctx); err != nil {
		return err
	}
	err = e.status(ctx, a.Claim, func(s driver.Status) bool {
		return len(s.Addresses) > 0 && s.Addresses[0].State == driver.Announced && s.Addresses[0].Node != dead
	})
	if err != nil {
		return err
	}
	for _, at := range a.Addresses {
		if who, err := e.Answers(ctx, at); err != nil || who == "" {
			return fmt.Errorf("after %s died %s is answered by %q: %w", dead, at, who, err)
		}
	}
	return nil
}
