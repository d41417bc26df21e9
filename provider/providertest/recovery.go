package providertest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/moorage-dev/moorage/provider"
	"github.com/moorage-dev/moorage/provider/gateway/api"
)

func recoveryCases() []Case {
	return []Case{
		{
			Name: "won while down", Clause: "A lease that is won while the provider is down is served.",
			Check: checkWonWhileDown,
		},
		{
			Name: "closed while down", Clause: "A lease that is closed while the provider is down is torn down.",
			Check: checkClosedWhileDown,
		},
		{
			Name: "accepted and crashed", Clause: "A manifest that was accepted is deployed, whatever happens to the provider.",
			Check: checkAcceptedAndCrashed,
		},
		{
			Name: "running and restarted", Clause: "What runs is found again and left alone.",
			Check: checkRunningAndRestarted,
		},
		{
			Name: "open bid and restarted", Clause: "What an open bid promises is promised still after a restart.",
			Check: checkOpenBid,
		},
		{
			Name:   "crash at any step",
			Clause: "Wherever the provider dies, before a step or after it, the lease lives from order to close and nothing is left.",
			Check:  func(ctx context.Context, e *Env) error { return e.everyStep(ctx, e.live) },
		},
	}
}

func checkWonWhileDown(ctx context.Context, e *Env) error {
	if _, err := e.Start(ctx, 0, false, nil); err != nil {
		return err
	}
	plan := e.Plan("1")
	id, orders, err := e.Tenant.Create(ctx, plan)
	if err != nil {
		return err
	}
	bids, err := e.Tenant.AwaitBids(ctx, orders)
	if err != nil {
		return err
	}
	if err := e.Stop(); err != nil {
		return err
	}
	leases, err := e.Tenant.Accept(ctx, bids)
	if err != nil {
		return err
	}
	if err := e.Restart(ctx); err != nil {
		return err
	}
	if err := e.Tenant.SendManifest(ctx, leases, plan.Manifest); err != nil {
		return err
	}
	if _, err := e.Tenant.AwaitReady(ctx, leases, plan.Hash); err != nil {
		return err
	}
	return e.gone(ctx, id)
}

func checkClosedWhileDown(ctx context.Context, e *Env) error {
	if _, err := e.Start(ctx, 0, false, nil); err != nil {
		return err
	}
	r, err := e.Tenant.Deploy(ctx, e.Plan("1"))
	if err != nil {
		return err
	}
	if err := e.Stop(); err != nil {
		return err
	}
	if err := e.Tenant.Close(ctx, r.Deployment); err != nil {
		return err
	}
	if err := e.Restart(ctx); err != nil {
		return err
	}
	return e.Await(ctx, "everything is gone", func() (bool, error) { return e.Empty(ctx) })
}

// checkAcceptedAndCrashed lets the provider die before the cluster takes the
// manifest that has just been accepted.
func checkAcceptedAndCrashed(ctx context.Context, e *Env) error {
	steps, err := e.stepsUntil(ctx, "apply")
	if err != nil {
		return err
	}
	if _, err := e.Start(ctx, steps, false, nil); err != nil {
		return err
	}
	plan := e.Plan("1")
	id, leases, err := e.lease(ctx, plan)
	if err != nil {
		return err
	}
	err = e.PutManifest(ctx, id, plan.Manifest)
	if err := e.Restart(ctx); err != nil {
		return err
	}
	if err != nil { // it was not accepted: the tenant tries again
		if err := e.Tenant.SendManifest(ctx, leases, plan.Manifest); err != nil {
			return err
		}
	}
	if _, err := e.Tenant.AwaitReady(ctx, leases, plan.Hash); err != nil {
		return err
	}
	return e.gone(ctx, id)
}

// stepsUntil lives a life and says which step was the first of a name.
func (e *Env) stepsUntil(ctx context.Context, name string) (int, error) {
	for at := 1; ; at++ {
		crash, err := e.crashAt(ctx, at, false, e.live)
		if err != nil {
			return 0, err
		}
		if !crash.Crashed() {
			return 0, fmt.Errorf("a provider lived and died without %q", name)
		}
		if crash.Last() == name {
			return at, nil
		}
	}
}

func checkRunningAndRestarted(ctx context.Context, e *Env) error {
	if _, err := e.Start(ctx, 0, false, nil); err != nil {
		return err
	}
	r, err := e.Tenant.Deploy(ctx, e.Plan("1"))
	if err != nil {
		return err
	}
	if err := e.Restart(ctx); err != nil {
		return err
	}
	err = e.Await(ctx, "the lease is known again", func() (bool, error) { return len(e.Saw(provider.EventRecovered)) > 0, nil })
	if err != nil {
		return err
	}
	select { // long enough for everything to have been looked at again
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(e.Patience / 6):
	}
	after, err := e.LeaseStatus(ctx, r.Leases[0])
	if err != nil {
		return err
	}
	before := r.Status[0]
	if after.Phase != api.PhaseActive || after.Revision != before.Revision || len(after.Services) != len(before.Services) {
		return fmt.Errorf("before the restart %+v, after it %+v", before, after)
	}
	for i, s := range after.Services {
		if len(s.Replicas) > 0 && len(before.Services[i].Replicas) > 0 &&
			!s.Replicas[0].StartedAt.Equal(before.Services[i].Replicas[0].StartedAt) {
			return fmt.Errorf("service %s was started again", s.Name)
		}
	}
	return e.gone(ctx, r.Deployment)
}

func checkOpenBid(ctx context.Context, e *Env) error {
	if _, err := e.Start(ctx, 0, false, nil); err != nil {
		return err
	}
	id, orders, err := e.Tenant.Create(ctx, e.Plan("1"))
	if err != nil {
		return err
	}
	if _, err := e.Tenant.AwaitBids(ctx, orders); err != nil {
		return err
	}
	p, err := e.Provider()
	if err != nil {
		return err
	}
	before := p.Reservations()
	if err := e.Restart(ctx); err != nil {
		return err
	}
	if p, err = e.Provider(); err != nil {
		return err
	}
	if after := p.Reservations(); len(before) != 1 || len(after) != 1 || after[0].Key != before[0].Key {
		return fmt.Errorf("promised before the restart: %v, after it: %v", before, after)
	}
	return e.gone(ctx, id)
}

// maxSteps bounds the steps of one life: a provider that never stops changing
// the world is at fault.
const maxSteps = 200

// everyStep lives the same life again and again, and lets the provider die at
// another step each time.
func (e *Env) everyStep(ctx context.Context, life func(context.Context) error) error {
	for _, after := range []bool{false, true} {
		for at := 1; ; at++ {
			if at > maxSteps {
				return fmt.Errorf("more than %d steps in one life", maxSteps)
			}
			crash, err := e.crashAt(ctx, at, after, life)
			if err != nil {
				return fmt.Errorf("crash at step %d (%s, carried out: %t): %w", at, crash.Last(), after, err)
			}
			if !crash.Crashed() {
				break
			}
		}
	}
	return nil
}

// crashAt lives a life with a provider that dies at a step and is started again.
func (e *Env) crashAt(ctx context.Context, at int, after bool, life func(context.Context) error) (*Crasher, error) {
	crash, err := e.Start(ctx, at, after, nil)
	if err != nil {
		return NewCrasher(0, false, nil), err
	}
	watched, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var restarted error
	wg.Go(func() {
		err := e.Await(watched, "a crash", func() (bool, error) { return crash.Crashed(), nil })
		for err != nil && watched.Err() == nil {
			err = e.Await(watched, "a crash", func() (bool, error) { return crash.Crashed(), nil })
		}
		if err == nil {
			restarted = e.Restart(ctx)
		}
	})
	err = life(ctx)
	cancel()
	wg.Wait()
	return crash, errors.Join(err, restarted, e.Stop())
}
