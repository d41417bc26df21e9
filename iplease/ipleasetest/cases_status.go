package ipleasetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"time"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/iplease/driver"
)

func statusCases() []Case {
	const pending = "A part that is not there yet is pending with a reason, never an error."
	return []Case{
		{Name: "status of absent", Clause: "Status reports what is observed, or ErrNotFound.", Check: statusAbsent},
		{Name: "status right after apply", Clause: pending, Check: statusAtOnce},
		{Name: "status has every port at every address", Clause: "Ports are in the order of the announcement, for each address in turn.", Check: statusParts},
		{Name: "a port without replicas is pending", Clause: pending, Check: statusUnserved},
		{Name: "the node that answers is named", Clause: "Node is the host that answers.", Needs: []Ability{Neighbours}, Check: statusNode},
		{
			Name: "egress without the ability", Lacks: []Ability{Egress}, Check: egressUnsupported,
			Clause: "Others ignore Announcement.Egress, and the status says that they do.",
		},
	}
}

func statusAbsent(ctx context.Context, e *Env) error {
	if err := e.Announcer.Apply(ctx, e.bare(1, 1)); err != nil {
		return err
	}
	_, err := e.Announcer.Status(ctx, claim(2))
	return is("status of a claim that was not applied", err, driver.ErrNotFound)
}

func statusAtOnce(ctx context.Context, e *Env) error {
	if err := e.Announcer.Apply(ctx, e.bare(1, 1)); err != nil {
		return err
	}
	s, err := e.Announcer.Status(ctx, claim(1))
	if err != nil {
		return err
	}
	if s.Claim != claim(1) || s.Revision != 1 {
		return fmt.Errorf("status right after apply is of %s: %s", s.Claim, describe(s))
	}
	for _, a := range s.Addresses {
		if a.State != driver.Announced && a.Reason == "" {
			return fmt.Errorf("%s is %s without a reason", a.Address, a.State)
		}
	}
	return nil
}

func statusParts(ctx context.Context, e *Env) error {
	want := e.bare(1, 1)
	want.Ports = append(want.Ports, port(iplease.TCP, 22))
	if err := e.held(ctx, want); err != nil {
		return err
	}
	s, err := e.Announcer.Status(ctx, claim(1))
	if err != nil {
		return err
	}
	if len(s.Ports) != len(want.Ports)*len(want.Addresses) {
		return fmt.Errorf("%d ports at %d addresses make %d entries: %s", len(want.Ports), len(want.Addresses), len(s.Ports), describe(s))
	}
	for i, p := range s.Ports {
		if p.Address != want.Addresses[i/len(want.Ports)] || !reflect.DeepEqual(p.Port, want.Ports[i%len(want.Ports)]) {
			return fmt.Errorf("entry %d is %d/%s at %s", i, p.Port.External, p.Port.Protocol, p.Address)
		}
	}
	for i, a := range s.Addresses {
		if a.Address != want.Addresses[i] {
			return fmt.Errorf("address %d is %s, want %s", i, a.Address, want.Addresses[i])
		}
	}
	return nil
}

func statusUnserved(ctx context.Context, e *Env) error {
	if err := e.held(ctx, e.bare(1, 1)); err != nil {
		return err
	}
	s, err := e.Announcer.Status(ctx, claim(1))
	if err != nil {
		return err
	}
	for _, p := range s.Ports {
		if p.State != driver.Pending || p.Reason == "" {
			return fmt.Errorf("port %d/%s, which nothing serves, is %s with reason %q", p.Port.External, p.Port.Protocol, p.State, p.Reason)
		}
	}
	if s.State != driver.Pending {
		return fmt.Errorf("with ports pending the claim is %s", s.State)
	}
	return nil
}

func statusNode(ctx context.Context, e *Env) error {
	if err := e.held(ctx, e.bare(1, 1)); err != nil {
		return err
	}
	s, err := e.Announcer.Status(ctx, claim(1))
	if err != nil {
		return err
	}
	for _, a := range s.Addresses {
		if a.Node == "" {
			return fmt.Errorf("%s is announced by nobody", a.Address)
		}
	}
	return nil
}

func egressUnsupported(ctx context.Context, e *Env) error {
	a := e.bare(1, 1)
	a.Egress = true
	if err := e.held(ctx, a); err != nil {
		return err
	}
	s, err := e.Announcer.Status(ctx, claim(1))
	if err == nil && (s.Addresses[0].Egress || s.Addresses[0].EgressReason == "") {
		err = fmt.Errorf("egress was asked for: status says %t, %q", s.Addresses[0].Egress, s.Addresses[0].EgressReason)
	}
	return err
}

func watchCases() []Case {
	need := []Ability{Watch}
	return []Case{
		{Name: "watch begins with all", Clause: "It starts with every claim of List.", Needs: need, Check: watchBegins},
		{Name: "watch tells changes", Clause: "Watch yields the claim whose status may differ from before.", Needs: need, Check: watchChanges},
		{Name: "watch ends with its context", Clause: "until the context ends (then without error)", Needs: need, Check: watchEnds},
		{Name: "watch ends with the announcer", Clause: "After Close every method but Close returns ErrClosed.", Needs: need, Check: watchClosed},
	}
}

// watch starts a watch in the background; next yields what it says.
func (e *Env) watch(ctx context.Context) (next func() (iplease.ClaimID, error, bool), stop func()) {
	return iter.Pull2(e.Announcer.(driver.Watcher).Watch(ctx))
}

func watchBegins(ctx context.Context, e *Env) error {
	for n := 1; n <= 2; n++ {
		if err := e.held(ctx, e.bare(n, 1)); err != nil {
			return err
		}
	}
	next, stop := e.watch(ctx)
	defer stop()
	seen := map[iplease.ClaimID]bool{}
	for len(seen) < 2 {
		id, err, ok := next()
		if err != nil || !ok {
			return fmt.Errorf("watch ended after %v: %w", seen, errors.Join(err, ctx.Err()))
		}
		seen[id] = true
	}
	if !seen[claim(1)] || !seen[claim(2)] {
		return fmt.Errorf("watch began with %v", seen)
	}
	return nil
}

func watchChanges(ctx context.Context, e *Env) error {
	ctx, cancel := context.WithTimeout(ctx, e.Patience)
	defer cancel()
	if err := e.held(ctx, e.bare(1, 1)); err != nil {
		return err
	}
	next, stop := e.watch(ctx)
	defer stop()
	if _, err, ok := next(); err != nil || !ok {
		return fmt.Errorf("watch did not begin with the claim: %w", errors.Join(err, ctx.Err()))
	}
	if err := e.held(ctx, e.bare(2, 1)); err != nil {
		return err
	}
	if err := until(next, claim(2)); err != nil {
		return fmt.Errorf("claim 2 was applied: %w", err)
	}
	if err := e.Announcer.Withdraw(ctx, claim(1)); err != nil {
		return err
	}
	if err := until(next, claim(1)); err != nil {
		return fmt.Errorf("claim 1 was withdrawn: %w", err)
	}
	return nil
}

// until reads a watch until it names a claim.
func until(next func() (iplease.ClaimID, error, bool), want iplease.ClaimID) error {
	for {
		id, err, ok := next()
		if !ok {
			return errors.New("the watch never said so")
		}
		if err != nil || id == want {
			return err
		}
	}
}

func watchEnds(ctx context.Context, e *Env) error {
	ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	for _, err := range e.Announcer.(driver.Watcher).Watch(ctx) {
		if err != nil {
			return fmt.Errorf("a watch whose context ends yields %w", err)
		}
	}
	return nil
}

func watchClosed(ctx context.Context, e *Env) error {
	ctx, cancel := context.WithTimeout(ctx, e.Patience)
	defer cancel()
	if err := e.held(ctx, e.bare(1, 1)); err != nil {
		return err
	}
	next, stop := e.watch(ctx)
	defer stop()
	if _, err, ok := next(); err != nil || !ok {
		return fmt.Errorf("watch did not begin: %w", errors.Join(err, ctx.Err()))
	}
	if err := e.Announcer.Close(); err != nil {
		return err
	}
	for {
		_, err, ok := next()
		if !ok {
			return errors.Join(errors.New("the watch ended without saying why"), ctx.Err())
		}
		if err != nil {
			return is("watch after close", err, driver.ErrClosed)
		}
	}
}

func closeCases() []Case {
	return []Case{
		{Name: "close twice", Clause: "A second call does nothing.", Check: closeTwice},
		{Name: "use after close", Clause: "After Close every method but Close returns ErrClosed.", Check: useAfterClose},
	}
}

func closeTwice(ctx context.Context, e *Env) error {
	if err := e.held(ctx, e.bare(1, 1)); err != nil {
		return err
	}
	return errors.Join(e.Announcer.Close(), e.Announcer.Close())
}

func useAfterClose(ctx context.Context, e *Env) error {
	if err := e.Announcer.Close(); err != nil {
		return err
	}
	calls := map[string]func() error{
		"apply":    func() error { return e.Announcer.Apply(ctx, e.bare(1, 1)) },
		"withdraw": func() error { return e.Announcer.Withdraw(ctx, claim(1)) },
		"status":   func() error { _, err := e.Announcer.Status(ctx, claim(1)); return err },
		"list":     func() error { _, err := e.Announcer.List(ctx); return err },
	}
	for name, call := range calls {
		if err := is(name, call(), driver.ErrClosed); err != nil {
			return err
		}
	}
	return nil
}
