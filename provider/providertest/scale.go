package providertest

import (
	"context"
	"fmt"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway/api"
)

func scaleCases() []Case {
	return []Case{
		{
			Name: "scaling in place", Clause: "A request within the ordered bounds is confirmed when there is room; the replicas and the price follow.",
			Check: func(ctx context.Context, e *Env) error {
				if _, err := e.Start(ctx, 0, false, nil); err != nil {
					return err
				}
				return e.scales(ctx)
			},
		},
		{
			Name: "scaling without room", Clause: "A request that has no room is declined with the reason, and the lease goes on as it was.",
			Check: checkScaleWithoutRoom,
		},
		{
			Name: "scaling and crashing", Clause: "Wherever the provider dies while it scales, what was confirmed runs.",
			Check: func(ctx context.Context, e *Env) error { return e.everyStep(ctx, e.scales) },
		},
	}
}

// scales makes a lease with one replica, scales it to three and to two, and ends
// it.
func (e *Env) scales(ctx context.Context) error {
	r, err := e.Tenant.Deploy(ctx, e.plan("1", 1, 3))
	if err != nil {
		return err
	}
	id := r.Leases[0]
	for _, want := range []uint32{3, 2} {
		if err := e.ask(ctx, id, want); err != nil {
			return err
		}
		if err := e.runs(ctx, id, want); err != nil {
			return err
		}
	}
	return e.gone(ctx, r.Deployment)
}

func (e *Env) ask(ctx context.Context, id market.LeaseID, count uint32) error {
	_, err := e.market.Tenant.Submit(ctx, market.ScaleLease{ID: id, Counts: []market.UnitCount{{Unit: 1, Count: count}}})
	return err
}

// runs waits until a lease has a number of replicas and costs what they cost.
func (e *Env) runs(ctx context.Context, id market.LeaseID, want uint32) error {
	bid, err := e.market.Tenant.Bid(ctx, id.Bid())
	if err != nil {
		return err
	}
	price, err := bid.Units[0].AmountPerBlock.Times(uint64(want))
	if err != nil {
		return err
	}
	err = e.Await(ctx, fmt.Sprintf("%d replicas run", want), func() (bool, error) {
		status, err := e.LeaseStatus(ctx, id)
		if err != nil || status.Phase != api.PhaseActive || len(status.Services) != 1 || status.Services[0].Ready != want {
			return false, fmt.Errorf("phase %s, services %+v: %w", status.Phase, status.Services, err)
		}
		lease, err := e.market.Tenant.Lease(ctx, id)
		return lease.Price.AmountPerBlock.Cmp(price) == 0, err
	})
	if err != nil {
		return err
	}
	p, err := e.Provider()
	if err != nil {
		return nil //nolint:nilerr // it has just died: the next one is asked
	}
	for _, r := range p.Reservations() {
		if r.Key == id.OrderID.String() && len(r.Placement.Assignments) < int(want) {
			return fmt.Errorf("%d replicas run, %d are promised", want, len(r.Placement.Assignments))
		}
	}
	return nil
}

func checkScaleWithoutRoom(ctx context.Context, e *Env) error {
	if _, err := e.Start(ctx, 0, false, nil); err != nil {
		return err
	}
	plan := e.plan("1", 1, 40)
	unit := &plan.Groups[0].Units[0]
	unit.CPU.MilliCores = 8000
	plan.Manifest[0].Services[0].Resources.CPU.MilliCores = 8000
	var err error
	if plan.Hash, err = plan.Manifest.Version(); err != nil {
		return err
	}
	r, err := e.Tenant.Deploy(ctx, plan)
	if err != nil {
		return err
	}
	if err := e.ask(ctx, r.Leases[0], 40); err != nil {
		return err
	}
	err = e.Await(ctx, "the request is declined with a reason", func() (bool, error) {
		status, err := e.LeaseStatus(ctx, r.Leases[0])
		return status.Scale != nil && !status.Scale.Confirmed && len(status.Scale.Reasons) > 0, err
	})
	if err != nil {
		return err
	}
	lease, err := e.market.Tenant.Lease(ctx, r.Leases[0])
	if err != nil || lease.Scale != nil {
		return fmt.Errorf("the request %+v waits still: %w", lease.Scale, err)
	}
	if err := e.runs(ctx, r.Leases[0], 1); err != nil {
		return err
	}
	return e.gone(ctx, r.Deployment)
}
