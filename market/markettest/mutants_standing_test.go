package markettest_test

import (
	"context"
	"errors"
	"slices"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/machine"
)

// bendLeases changes what is stored of leases.
func bendLeases(change func(old, v market.Lease) market.Lease) func(*machine.Machine) {
	return func(m *machine.Machine) {
		m.Leases = bent[market.LeaseID, market.Lease]{Table: m.Leases, set: func(t machine.Table[market.LeaseID, market.Lease], k market.LeaseID, v market.Lease) error {
			old, err := t.Get(k)
			if err != nil && !errors.Is(err, market.ErrNotFound) {
				return err
			}
			return t.Set(k, change(old, v))
		}}
	}
}

// bendOrders changes what is stored of orders.
func bendOrders(change func(*market.GroupSpec)) func(*machine.Machine) {
	return func(m *machine.Machine) {
		m.Orders = bent[market.OrderID, market.Order]{Table: m.Orders, set: func(t machine.Table[market.OrderID, market.Order], k market.OrderID, v market.Order) error {
			change(&v.Spec)
			return t.Set(k, v)
		}}
	}
}

// withoutTimers are hosts that never do some things by themselves.
func withoutTimers(kind machine.TimerKind) func(*machine.Machine) {
	return func(m *machine.Machine) {
		m.Timers = bent[machine.Timer, machine.Timer]{Table: m.Timers, set: func(t machine.Table[machine.Timer, machine.Timer], k, v machine.Timer) error {
			if k.Kind == kind {
				return nil
			}
			return t.Set(k, v)
		}}
	}
}

// brokenStanding are hosts that are wrong about running leases and retainers.
func brokenStanding() []mutant {
	return []mutant{
		{name: "changes the price with the request", caught: "scaling-waits-for-the-provider", machine: bendLeases(func(_, v market.Lease) market.Lease {
			if v.Scale != nil {
				v.Price = v.Scale.Price
			}
			return v
		})},
		{name: "forgets how many requests there were", caught: "scaling-waits-for-the-provider", machine: bendLeases(func(_, v market.Lease) market.Lease {
			if v.Scale == nil {
				v.Scales = 0
			}
			return v
		})},
		{name: "keeps a request that was taken back", caught: "scaling-waits-for-the-provider", machine: bendLeases(func(old, v market.Lease) market.Lease {
			if v.Scale == nil && v.State == market.LeaseActive {
				v.Scale = old.Scale
			}
			return v
		})},
		{name: "charges the old price", caught: "scaling-follows-the-price-per-replica", machine: bendPayments(func(t payments, k market.LeaseID, v market.Payment) error {
			if old, err := t.Get(k); err == nil {
				v.Price = old.Price
			}
			return t.Set(k, v)
		})},
		{name: "forgets what ran last", caught: "what-ran-last-is-ordered-next", machine: func(m *machine.Machine) {
			m.Groups = bent[market.GroupID, market.Group]{Table: m.Groups, set: func(t machine.Table[market.GroupID, market.Group], k market.GroupID, v market.Group) error {
				if old, err := t.Get(k); err == nil {
					v.Spec = old.Spec
				}
				return t.Set(k, v)
			}}
		}},
		{name: "takes bids without prices per replica", caught: "bids-name-prices-per-replica", machine: bendOrders(func(g *market.GroupSpec) {
			g.Units = slices.Clone(g.Units)
			for i := range g.Units {
				g.Units[i].MinCount, g.Units[i].MaxCount = 0, 0
			}
		})},
		{name: "lets requests stand", caught: "a-request-to-scale-lapses", machine: withoutTimers(machine.TimerScale)},
		{name: "knows no notice", caught: "notice-is-kept", machine: bendOrders(func(g *market.GroupSpec) { g.ReclaimBlocks = 0 })},
		{name: "never ends a notice", caught: "notice-is-kept", machine: withoutTimers(machine.TimerNotice)},
		{name: "pauses where it should order again", caught: "the-tenant-need-not-wait-for-the-notice", wrap: func(w *world, c market.Client) market.Client {
			return client{Client: c, submit: func(ctx context.Context, msgs ...market.Msg) (market.Receipt, error) {
				if m, ok := msgs[0].(market.CloseLease); ok {
					msgs = []market.Msg{market.PauseGroup{ID: m.ID.GroupID}}
				}
				return c.Submit(ctx, msgs...)
			}}
		}},
		{name: "takes closing leases for gone", caught: "notice-is-kept", wrap: func(_ *world, c market.Client) market.Client {
			return client{Client: c, leases: func(ctx context.Context, f market.LeaseFilter, p market.Page) ([]market.Lease, string, error) {
				if f.Live {
					f.Live, f.State = false, market.LeaseActive
				}
				return c.Leases(ctx, f, p)
			}}
		}},
		{name: "lets everybody bid", caught: "providers-are-listed", machine: bendOrders(func(g *market.GroupSpec) { g.Requirements.Providers = market.Selection[market.Address]{} })},
		{name: "takes bids from everywhere", caught: "data-centers-are-listed", machine: bendOrders(func(g *market.GroupSpec) { g.Requirements.DataCenters = market.Selection[string]{} })},
		{name: "drops fractions of retainers", caught: "a-retainer-costs-price-times-blocks", machine: bendRetainers(func(v market.Retainer) market.Retainer {
			v.Fraction = market.Decimal{}
			return v
		})},
		{name: "does not say why a retainer ended", caught: "either-side-may-close-a-retainer", machine: bendRetainers(func(v market.Retainer) market.Retainer {
			v.Reason = market.ReasonNone
			return v
		})},
		{name: "lets retainers run on", caught: "retainers-end-by-themselves", machine: withoutTimers(machine.TimerRetainer)},
		{name: "forgets whose retainers they are", caught: "retainers-are-listed", machine: withoutRef(machine.RefProviderRetainer)},
		{name: "does not name the retainer", caught: "news-names-the-retainer", wrap: func(_ *world, c market.Client) market.Client {
			return bendBlocks(c, func(b market.Block) []market.Block {
				for i := range b.Events {
					b.Events[i].Retainer = market.RetainerID{}
				}
				return []market.Block{b}
			})
		}},
	}
}

// bendRetainers changes what is stored of retainers.
func bendRetainers(change func(market.Retainer) market.Retainer) func(*machine.Machine) {
	return func(m *machine.Machine) {
		m.Retainers = bent[market.RetainerID, market.Retainer]{Table: m.Retainers, set: func(t machine.Table[market.RetainerID, market.Retainer], k market.RetainerID, v market.Retainer) error {
			return t.Set(k, change(v))
		}}
	}
}
