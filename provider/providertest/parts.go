package providertest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider"
	"github.com/moorage-dev/moorage/provider/bidengine"
)

// request is a plain order as a strategy sees it.
func (e *Env) request() bidengine.Request {
	spec := e.Plan("1").Groups[0]
	order := market.Order{State: market.OrderOpen, Spec: spec}
	order.ID.Owner, order.ID.DSeq, order.ID.GSeq, order.ID.OSeq = e.market.Tenant.Address(), 1, 1, 1
	return bidengine.Request{
		Order: order, Denom: e.denom, Ceiling: market.NewDecimal(1_000_000),
		Placement: inventory.Placement{Assignments: []inventory.Assignment{{
			Unit: 1, Node: "n", Resources: inventory.Quantities{MilliCores: 500, MemoryBytes: 128 << 20, EphemeralBytes: 256 << 20},
		}}},
	}
}

func pricerCases() []Case {
	return []Case{
		{
			Name: "price of a plain order", Clause: "A strategy asks more than nothing for a plain order, and changes nothing of the request.",
			Check: func(ctx context.Context, e *Env) error {
				r, same := e.request(), e.request()
				amount, err := e.pricer.Price(ctx, r)
				switch {
				case err != nil:
					return err
				case amount.IsZero():
					return errors.New("the price is zero")
				case !reflect.DeepEqual(r, same):
					return errors.New("the request was changed")
				}
				return nil
			},
		},
		{
			Name: "price in a strange denomination", Clause: "A strategy asks a price in the denomination of the order, or says that it has none.",
			Check: func(ctx context.Context, e *Env) error {
				r := e.request()
				r.Denom = "nobodyhasthis"
				amount, err := e.pricer.Price(ctx, r)
				var refusal *bidengine.RefusalError
				if err != nil && !errors.Is(err, bidengine.ErrNoPrice) && !errors.As(err, &refusal) {
					return fmt.Errorf("neither a price nor ErrNoPrice: %w", err)
				}
				if err == nil && amount.IsZero() {
					return errors.New("the price is zero")
				}
				return nil
			},
		},
		{
			Name: "price and the context", Clause: "A strategy returns soon after its context ends.",
			Check: func(ctx context.Context, e *Env) error {
				ctx, cancel := context.WithCancel(ctx)
				cancel()
				done := make(chan struct{})
				go func() {
					defer close(done)
					_, _ = e.pricer.Price(ctx, e.request())
				}()
				select {
				case <-done:
					return nil
				case <-time.After(e.Patience):
					return fmt.Errorf("it has not returned for %s", e.Patience)
				}
			},
		},
		{
			Name: "prices at the same time", Clause: "A strategy may be asked by several goroutines at a time.",
			Check: func(ctx context.Context, e *Env) error {
				var wg sync.WaitGroup
				faults := make([]error, 16)
				for i := range faults {
					wg.Go(func() { _, faults[i] = e.pricer.Price(ctx, e.request()) })
				}
				wg.Wait()
				return errors.Join(faults...)
			},
		},
	}
}

// record is a record with something in every field.
func (e *Env) record(dseq uint64) provider.Record {
	r := e.request()
	r.Order.ID.DSeq = dseq
	plan := e.Plan("1")
	now := time.Now().UTC().Truncate(time.Second)
	return provider.Record{
		Lease: market.LeaseID{OrderID: r.Order.ID, Provider: e.market.Provider.Address()},
		BidAt: now, WonAt: now, GroupName: "g", Revision: 3, Hash: plan.Hash, Placement: r.Placement, Manifest: plan.Manifest,
		Units: plan.Groups[0].Units, Trouble: provider.Trouble{Kind: provider.TroubleFailing, Since: now},
		Scaled: &provider.ScaleAnswer{Number: 2, Reasons: []bidengine.Reason{{Code: "x", Detail: "y"}}},
	}
}

func storeCases() []Case {
	return []Case{{
		Name: "store", Clause: "What is saved is there for the next process, whole; what is removed is not; removing twice is no error.",
		Check: func(_ context.Context, e *Env) error {
			one, two, three := e.record(1), e.record(2), e.record(3)
			steps := []struct {
				do   func(provider.Store) error
				want []provider.Record
			}{
				{func(s provider.Store) error { return s.Save(one, two) }, []provider.Record{one, two}},
				{func(s provider.Store) error { one.Revision++; one.Withheld = []string{"a.test"}; return s.Save(one) }, []provider.Record{one, two}},
				{func(s provider.Store) error { return s.Save(three) }, []provider.Record{one, two, three}},
				{func(s provider.Store) error { return s.Remove(two.Lease) }, []provider.Record{one, three}},
				{func(s provider.Store) error { return s.Remove(two.Lease) }, []provider.Record{one, three}},
			}
			for i, step := range steps {
				if err := e.withStore(step.do); err != nil {
					return err
				}
				step.want[0].Revision = one.Revision
				step.want[0].Withheld = one.Withheld
				if err := e.withStore(func(s provider.Store) error { return holds(s, step.want) }); err != nil {
					return fmt.Errorf("step %d: %w", i+1, err)
				}
			}
			return nil
		},
	}}
}

// withStore opens the store as a new process and does something.
func (e *Env) withStore(do func(provider.Store) error) error {
	s, err := e.store()
	if err != nil {
		return err
	}
	return errors.Join(do(s), s.Close())
}

func holds(s provider.Store, want []provider.Record) error {
	have, err := s.Load()
	if err != nil {
		return err
	}
	byLease := map[market.LeaseID]provider.Record{}
	for _, r := range have {
		byLease[r.Lease] = r
	}
	if len(have) != len(want) || len(byLease) != len(want) {
		return fmt.Errorf("%d records, want %d", len(have), len(want))
	}
	for _, w := range want {
		got := byLease[w.Lease]
		got.Manifest, w.Manifest = nil, nil // compared by their version below
		if !reflect.DeepEqual(got, w) {
			return fmt.Errorf("record %s is %+v, want %+v", w.Lease, got, w)
		}
	}
	for _, w := range want {
		got, err := byLease[w.Lease].Manifest.Version()
		if err != nil || got != w.Hash {
			return fmt.Errorf("the manifest of %s is %s, want %s: %w", w.Lease, got, w.Hash, err)
		}
	}
	return nil
}
