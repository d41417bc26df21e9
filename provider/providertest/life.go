package providertest

import (
	"context"
	"errors"
	"fmt"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/tenant"
	"github.com/moorage-dev/moorage/provider"
	"github.com/moorage-dev/moorage/provider/gateway/api"
)

// gone closes a deployment and waits until nothing of it is left.
func (e *Env) gone(ctx context.Context, id market.DeploymentID) error {
	if err := e.Tenant.Close(ctx, id); err != nil {
		return err
	}
	return e.Await(ctx, "everything is gone", func() (bool, error) { return e.Empty(ctx) })
}

// live takes one deployment from order to close, with an update between.
func (e *Env) live(ctx context.Context) error {
	first := e.Plan("1")
	r, err := e.Tenant.Deploy(ctx, first)
	if err != nil {
		return err
	}
	r, err = e.Tenant.Update(ctx, r.Deployment, e.Plan("2"))
	if err != nil {
		return err
	}
	if got, want := r.Status[0].Hash, e.Plan("2").Hash.String(); got != want {
		return fmt.Errorf("manifest %s runs after the update to %s", got, want)
	}
	if err := e.earned(ctx, r.Leases[0]); err != nil {
		return err
	}
	return e.gone(ctx, r.Deployment)
}

// earned checks that the lease costs what was bid.
func (e *Env) earned(ctx context.Context, id market.LeaseID) error {
	lease, err := e.market.Tenant.Lease(ctx, id)
	if err != nil {
		return err
	}
	bid, err := e.market.Tenant.Bid(ctx, id.Bid())
	if err != nil {
		return err
	}
	if bid.Price != lease.Price || lease.Price.AmountPerBlock.IsZero() {
		return fmt.Errorf("the lease costs %s, the bid asked %s", lease.Price, bid.Price)
	}
	return nil
}

func lifeCases() []Case {
	return []Case{
		{
			Name: "from order to close", Clause: "A lease is bid on, won, deployed, updated and closed; nothing is left of it.",
			Check: func(ctx context.Context, e *Env) error {
				if _, err := e.Start(ctx, 0, false, nil); err != nil {
					return err
				}
				return e.live(ctx)
			},
		},
		{
			Name: "refusals have reasons", Clause: "An order that is not bid on has a typed reason, in the screening and in the events.",
			Check: checkRefusal,
		},
		{
			Name: "draining", Clause: "A provider that drains keeps its leases and makes no new bids.",
			Check: checkDraining,
		},
		{
			Name: "no manifest", Clause: "A lease whose manifest does not come is closed for that reason, also when the provider was restarted meanwhile.",
			Check: checkNoManifest,
		},
		{
			Name: "wrong manifest", Clause: "A manifest that is not the deployment's is refused and changes nothing.",
			Check: checkWrongManifest,
		},
		{
			Name: "two leases", Clause: "The end of one lease changes nothing for another.",
			Check: checkTwoLeases,
		},
	}
}

func checkRefusal(ctx context.Context, e *Env) error {
	if _, err := e.Start(ctx, 0, false, nil); err != nil {
		return err
	}
	large := e.Plan("1")
	large.Groups[0].Units[0].CPU.MilliCores = 300_000
	large.Manifest[0].Services[0].Resources.CPU.MilliCores = 300_000
	var err error
	if large.Hash, err = large.Manifest.Version(); err != nil {
		return err
	}
	_, err = e.Tenant.Deploy(ctx, large)
	var none *tenant.NoBidsError
	if !errors.As(err, &none) {
		return fmt.Errorf("an order for 300 cores: %w", err)
	}
	if len(none.Refusals) == 0 || len(none.Refusals[0].Reasons) == 0 || none.Refusals[0].Reasons[0].Rule == "" {
		return fmt.Errorf("the screening gives no reason: %+v", none.Refusals)
	}
	return e.Await(ctx, "an event with the reasons", func() (bool, error) {
		told := e.Saw(provider.EventDeclined)
		return len(told) > 0 && len(told[0].Reasons) > 0, nil
	})
}

func checkDraining(ctx context.Context, e *Env) error {
	if _, err := e.Start(ctx, 0, false, nil); err != nil {
		return err
	}
	r, err := e.Tenant.Deploy(ctx, e.Plan("1"))
	if err != nil {
		return err
	}
	p, err := e.Provider()
	if err != nil {
		return err
	}
	p.Drain(true, "maintenance")
	var none *tenant.NoBidsError
	if _, err := e.Tenant.Deploy(ctx, e.Plan("2")); !errors.As(err, &none) {
		return fmt.Errorf("an order while draining: %w", err)
	}
	status, err := p.LeaseStatus(ctx, r.Leases[0])
	if err != nil || status.Phase != api.PhaseActive {
		return fmt.Errorf("the lease of before is %s: %w", status.Phase, err)
	}
	p.Drain(false, "")
	return e.gone(ctx, r.Deployment)
}

// lease makes a lease and does not send its manifest.
func (e *Env) lease(ctx context.Context, p tenant.Plan) (market.DeploymentID, []market.LeaseID, error) {
	id, orders, err := e.Tenant.Create(ctx, p)
	if err != nil {
		return id, nil, err
	}
	bids, err := e.Tenant.AwaitBids(ctx, orders)
	if err != nil {
		return id, nil, err
	}
	leases, err := e.Tenant.Accept(ctx, bids)
	return id, leases, err
}

func checkNoManifest(ctx context.Context, e *Env) error {
	if _, err := e.Start(ctx, 0, false, nil); err != nil {
		return err
	}
	_, leases, err := e.lease(ctx, e.Plan("1"))
	if err != nil {
		return err
	}
	err = e.Await(ctx, "the lease is seen", func() (bool, error) { return len(e.Saw(provider.EventLeaseWon)) > 0, nil })
	if err != nil {
		return err
	}
	if err := e.Restart(ctx); err != nil {
		return err
	}
	err = e.Await(ctx, "the lease is closed", func() (bool, error) {
		l, err := e.market.Tenant.Lease(ctx, leases[0])
		return l.State.Terminal(), err
	})
	if err != nil {
		return err
	}
	l, err := e.market.Tenant.Lease(ctx, leases[0])
	if err != nil || l.Reason != market.ReasonManifestTimeout {
		return fmt.Errorf("it closed because of %s: %w", l.Reason, err)
	}
	return e.Await(ctx, "everything is gone", func() (bool, error) { return e.Empty(ctx) })
}

func checkWrongManifest(ctx context.Context, e *Env) error {
	if _, err := e.Start(ctx, 0, false, nil); err != nil {
		return err
	}
	r, err := e.Tenant.Deploy(ctx, e.Plan("1"))
	if err != nil {
		return err
	}
	if err := e.PutManifest(ctx, r.Deployment, e.Plan("2").Manifest); !errors.Is(err, market.ErrMismatch) {
		return fmt.Errorf("another manifest than the deployment's: %w", err)
	}
	status, err := e.LeaseStatus(ctx, r.Leases[0])
	if err != nil || status.Hash != e.Plan("1").Hash.String() || status.Phase != api.PhaseActive {
		return fmt.Errorf("now %s runs %s: %w", status.Hash, status.Phase, err)
	}
	return e.gone(ctx, r.Deployment)
}

func checkTwoLeases(ctx context.Context, e *Env) error {
	if _, err := e.Start(ctx, 0, false, nil); err != nil {
		return err
	}
	one, err := e.Tenant.Deploy(ctx, e.Plan("1"))
	if err != nil {
		return err
	}
	two, err := e.Tenant.Deploy(ctx, e.Plan("2"))
	if err != nil {
		return err
	}
	if err := e.Tenant.Close(ctx, one.Deployment); err != nil {
		return err
	}
	err = e.Await(ctx, "the first is closed", func() (bool, error) { return len(e.Saw(provider.EventLeaseClosed)) == 1, nil })
	if err != nil {
		return err
	}
	after, err := e.LeaseStatus(ctx, two.Leases[0])
	if err != nil || after.Phase != api.PhaseActive || after.Revision != two.Status[0].Revision {
		return fmt.Errorf("the second lease is %s at revision %d: %w", after.Phase, after.Revision, err)
	}
	return e.gone(ctx, two.Deployment)
}
