package ipleasetest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"sync"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/iplease/driver"
)

func lifeCases() []Case {
	const (
		removes = "Withdraw removes everything of the claim, its revision included."
		nothing = "Withdraw: nothing there is no error."
		stale   = "Apply: a revision not above the one held is ignored without error, also when it differs."
		desired = "Apply makes a the desired state of its claim."
	)
	return []Case{
		{Name: "abilities are as claimed", Clause: "Abilities that only some have are interfaces, found with a type assertion.", Check: abilities},
		{Name: "withdraw of absent", Clause: nothing, Check: func(ctx context.Context, e *Env) error { return e.Announcer.Withdraw(ctx, claim(1)) }},
		{Name: "withdraw twice", Clause: nothing, Check: withdrawTwice},
		{Name: "withdraw removes", Clause: removes, Check: withdrawRemoves},
		{Name: "apply after withdraw", Clause: removes, Check: applyAfterWithdraw},
		{Name: "withdraw frees the address", Clause: removes, Check: withdrawFrees},
		{Name: "withdraw of one leaves others", Clause: "Withdraw removes everything of the claim, and nothing of others.", Check: withdrawIsolated},
		{Name: "apply twice", Clause: stale, Check: applyTwice},
		{Name: "stale revision", Clause: stale, Check: staleRevision},
		{Name: "newer revision", Clause: desired, Check: newerRevision},
		{Name: "concurrent applies", Clause: "Methods may be called concurrently.", Check: concurrentApplies},
		{Name: "list", Clause: "List returns every claim with anything announced or desired, sorted by its text.", Check: list},
		{Name: "an address has one claim", Clause: "ErrConflict means another claim announces one of the addresses, and leaves everything as it was before.", Check: conflict},
		{Name: "cancelled context", Clause: "A context that has ended makes every method return its error.", Check: cancelledContext},
	}
}

func withdrawTwice(ctx context.Context, e *Env) error {
	if err := e.held(ctx, e.bare(1, 1)); err != nil {
		return err
	}
	for range 2 {
		if err := e.Announcer.Withdraw(ctx, claim(1)); err != nil {
			return err
		}
	}
	return nil
}

func withdrawRemoves(ctx context.Context, e *Env) error {
	if err := e.held(ctx, e.bare(1, 1)); err != nil {
		return err
	}
	if err := e.Announcer.Withdraw(ctx, claim(1)); err != nil {
		return err
	}
	_, err := e.Announcer.Status(ctx, claim(1))
	return errors.Join(is("status after withdraw", err, driver.ErrNotFound), e.lists(ctx))
}

func applyAfterWithdraw(ctx context.Context, e *Env) error {
	if err := e.held(ctx, e.bare(1, 7)); err != nil {
		return err
	}
	if err := e.Announcer.Withdraw(ctx, claim(1)); err != nil {
		return err
	}
	return e.held(ctx, e.bare(1, 1))
}

func withdrawFrees(ctx context.Context, e *Env) error {
	if err := e.held(ctx, e.bare(1, 1)); err != nil {
		return err
	}
	if err := e.Announcer.Withdraw(ctx, claim(1)); err != nil {
		return err
	}
	next := e.bare(2, 1)
	next.Addresses = e.bare(1, 1).Addresses
	return e.held(ctx, next)
}

func withdrawIsolated(ctx context.Context, e *Env) error {
	for n := 1; n <= 2; n++ {
		if err := e.held(ctx, e.bare(n, 1)); err != nil {
			return err
		}
	}
	if err := e.Announcer.Withdraw(ctx, claim(1)); err != nil {
		return err
	}
	s, err := e.Announcer.Status(ctx, claim(2))
	if err == nil && s.Addresses[0].State != driver.Announced {
		err = fmt.Errorf("the other claim is %s", describe(s))
	}
	return errors.Join(err, e.lists(ctx, claim(2)))
}

func applyTwice(ctx context.Context, e *Env) error {
	for range 2 {
		if err := e.held(ctx, e.bare(1, 1)); err != nil {
			return err
		}
	}
	return e.lists(ctx, claim(1))
}

func staleRevision(ctx context.Context, e *Env) error {
	if err := e.held(ctx, e.bare(1, 5)); err != nil {
		return err
	}
	for _, revision := range []uint64{4, 5} {
		a := e.bare(1, revision)
		a.Ports = a.Ports[:1]
		a.Addresses = e.bare(2, 1).Addresses
		if err := e.Announcer.Apply(ctx, a); err != nil {
			return fmt.Errorf("apply of revision %d over 5: %w", revision, err)
		}
		s, err := e.Announcer.Status(ctx, claim(1))
		if err != nil {
			return err
		}
		if s.Revision != 5 || s.Addresses[0].Address != e.V4[0] || len(s.Ports) != 2*len(s.Addresses) {
			return fmt.Errorf("revision %d over 5 has made it %s", revision, describe(s))
		}
	}
	return nil
}

func newerRevision(ctx context.Context, e *Env) error {
	if err := e.held(ctx, e.bare(1, 1)); err != nil {
		return err
	}
	a := e.bare(1, 2)
	a.Ports = append(a.Ports[1:], port(iplease.TCP, 443))
	if err := e.held(ctx, a); err != nil {
		return err
	}
	s, err := e.Announcer.Status(ctx, claim(1))
	if err != nil {
		return err
	}
	if len(s.Ports) < 2 || !reflect.DeepEqual(s.Ports[0].Port, a.Ports[0]) || !reflect.DeepEqual(s.Ports[1].Port, a.Ports[1]) {
		return fmt.Errorf("revision 2 has made it %s", describe(s))
	}
	return nil
}

func concurrentApplies(ctx context.Context, e *Env) error {
	const n = 4
	errs := make([]error, n+1)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = e.held(ctx, e.bare(i+1, 1)) })
	}
	wg.Wait()
	errs[n] = e.lists(ctx, claim(1), claim(2), claim(3), claim(4))
	return errors.Join(errs...)
}

func list(ctx context.Context, e *Env) error {
	if err := e.lists(ctx); err != nil {
		return err
	}
	for _, n := range []int{3, 1, 2} {
		if err := e.Announcer.Apply(ctx, e.bare(n, 1)); err != nil {
			return err
		}
	}
	return e.lists(ctx, claim(1), claim(2), claim(3))
}

func conflict(ctx context.Context, e *Env) error {
	for n := 1; n <= 2; n++ {
		if err := e.held(ctx, e.bare(n, 1)); err != nil {
			return err
		}
	}
	thief := e.bare(2, 2)
	thief.Addresses = e.bare(1, 1).Addresses[:1]
	if err := is("apply with the address of another claim", e.Announcer.Apply(ctx, thief), driver.ErrConflict); err != nil {
		return err
	}
	for n := 1; n <= 2; n++ {
		s, err := e.Announcer.Status(ctx, claim(n))
		if err != nil {
			return err
		}
		if s.Revision != 1 || s.Addresses[0].Address != e.V4[n-1] {
			return fmt.Errorf("after the refusal claim %d is %s", n, describe(s))
		}
	}
	return nil
}

func cancelledContext(ctx context.Context, e *Env) error {
	if err := e.held(ctx, e.bare(1, 1)); err != nil {
		return err
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	calls := map[string]func() error{
		"apply":    func() error { return e.Announcer.Apply(gone, e.bare(2, 1)) },
		"withdraw": func() error { return e.Announcer.Withdraw(gone, claim(1)) },
		"status":   func() error { _, err := e.Announcer.Status(gone, claim(1)); return err },
		"list":     func() error { _, err := e.Announcer.List(gone); return err },
	}
	for name, call := range calls {
		if err := is(name, call(), context.Canceled); err != nil {
			return err
		}
	}
	return e.lists(ctx, claim(1))
}

func argumentCases() []Case {
	const left = "ErrInvalid leaves everything as it was before."
	return []Case{
		{Name: "arguments are not kept", Clause: "a is not retained.", Check: notRetained},
		{Name: "arguments are not changed", Clause: "a is not changed.", Check: notChanged},
		{Name: "results are not shared", Clause: "a is not retained.", Check: notShared},
		{Name: "invalid announcements", Clause: left, Check: invalid},
		{
			Name: "sources without the ability", Lacks: []Ability{Sources}, Check: sourcesUnsupported,
			Clause: "errors.ErrUnsupported (a port has sources and the announcer cannot filter) leaves everything as it was before.",
		},
	}
}

func notRetained(ctx context.Context, e *Env) error {
	a := e.bare(1, 1)
	if err := e.Announcer.Apply(ctx, a); err != nil {
		return err
	}
	a.Addresses[0], a.Ports[0].External = e.V4[3], 9
	s, err := e.Announcer.Status(ctx, claim(1))
	if err != nil {
		return err
	}
	if s.Addresses[0].Address != e.V4[0] || s.Ports[0].Port.External != 80 {
		return fmt.Errorf("the caller's slices were kept: %s", describe(s))
	}
	return nil
}

func notChanged(ctx context.Context, e *Env) error {
	a := e.bare(1, 1)
	a.Ports[0], a.Ports[1] = a.Ports[1], a.Ports[0]
	before := a.Clone()
	if err := e.Announcer.Apply(ctx, a); err != nil {
		return err
	}
	if !reflect.DeepEqual(a, before) {
		return fmt.Errorf("apply has changed %+v to %+v", before, a)
	}
	return nil
}

func notShared(ctx context.Context, e *Env) error {
	if err := e.held(ctx, e.bare(1, 1)); err != nil {
		return err
	}
	s, err := e.Announcer.Status(ctx, claim(1))
	if err != nil {
		return err
	}
	s.Addresses[0].Address, s.Ports[0].Port.External = e.V4[3], 9
	if s, err = e.Announcer.Status(ctx, claim(1)); err != nil {
		return err
	}
	if s.Addresses[0].Address != e.V4[0] || s.Ports[0].Port.External != 80 {
		return fmt.Errorf("a status that was returned is the announcer's own: %s", describe(s))
	}
	return nil
}

func invalid(ctx context.Context, e *Env) error {
	if err := e.held(ctx, e.bare(1, 1)); err != nil {
		return err
	}
	spoilt := map[string]func(*driver.Announcement){
		"no address":   func(a *driver.Announcement) { a.Addresses = nil },
		"multicast":    func(a *driver.Announcement) { a.Addresses = []netip.Addr{netip.MustParseAddr("224.0.0.5")} },
		"a port twice": func(a *driver.Announcement) { a.Ports = append(a.Ports, a.Ports[0]) },
		"port 0":       func(a *driver.Announcement) { a.Ports[0].External = 0 },
	}
	for what, spoil := range spoilt {
		a := e.bare(1, 2)
		spoil(&a)
		if err := is(what, e.Announcer.Apply(ctx, a), driver.ErrInvalid); err != nil {
			return err
		}
	}
	s, err := e.Announcer.Status(ctx, claim(1))
	if err == nil && s.Revision != 1 {
		err = fmt.Errorf("after refusals it is %s", describe(s))
	}
	return err
}

func sourcesUnsupported(ctx context.Context, e *Env) error {
	if err := e.held(ctx, e.bare(1, 1)); err != nil {
		return err
	}
	a := e.bare(1, 2)
	a.Ports[0].Sources = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	if err := is("apply with sources", e.Announcer.Apply(ctx, a), errors.ErrUnsupported); err != nil {
		return err
	}
	s, err := e.Announcer.Status(ctx, claim(1))
	if err == nil && s.Revision != 1 {
		err = fmt.Errorf("after the refusal it is %s", describe(s))
	}
	return err
}
