package simulation

import (
	"math/big"
	"math/rand" //nolint:depguard // the simulator's source of randomness

	simtypes "github.com/cosmos/cosmos-sdk/types/simulation"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/machine"
)

// world is what a message is made from. A failing read is kept in err.
type world struct {
	*rand.Rand
	machine.State
	params   market.Params
	accounts []simtypes.Account
	height   int64
	err      error
}

func (w *world) someone() market.Address {
	return market.Address(w.accounts[w.Intn(len(w.accounts))].Address.String())
}

// seller is usually one who is registered as a provider.
func (w *world) seller() market.Address {
	if p, ok := one(w, w.ListProviders); ok && w.Intn(20) > 0 {
		return p.Owner
	}
	return w.someone()
}

// account returns the account of an address; the zero account when it is not
// one of the simulation.
func (w *world) account(a market.Address) simtypes.Account {
	for _, acc := range w.accounts {
		if acc.Address.String() == string(a) {
			return acc
		}
	}
	return simtypes.Account{}
}

func (w *world) denom() string { return w.params.MinDeposits[0].Denom }

// one reads some of a list and picks one, often near the beginning or the end
// of what was read.
func one[T any](w *world, list func(market.Page) ([]T, string, error)) (v T, ok bool) {
	const most = 60
	items, _, err := list(market.Page{Limit: 1 + w.Intn(most)})
	if err != nil {
		w.err = err
	}
	if len(items) == 0 {
		return v, false
	}
	return items[w.Intn(len(items))], true
}

func (w *world) order() (market.Order, bool) {
	f := market.OrderFilter{State: market.OrderOpen}
	if w.Intn(2) == 0 {
		f.Owner = w.someone()
	}
	return one(w, func(p market.Page) ([]market.Order, string, error) { return w.ListOrders(f, p) })
}

func (w *world) deployment() (market.Deployment, bool) {
	f := market.DeploymentFilter{Owner: w.someone()}
	if w.Intn(10) > 0 {
		f.State = market.DeploymentActive
	}
	return one(w, func(p market.Page) ([]market.Deployment, string, error) { return w.ListDeployments(f, p) })
}

func (w *world) group() (market.GroupID, bool) {
	d, ok := w.deployment()
	if !ok {
		return market.GroupID{}, false
	}
	groups, err := w.ListGroups(d.ID)
	if err != nil || len(groups) == 0 {
		w.err = err
		return market.GroupID{}, false
	}
	return groups[w.Intn(len(groups))].ID, true
}

func (w *world) bid(s market.BidState) (market.Bid, bool) {
	return one(w, func(p market.Page) ([]market.Bid, string, error) {
		return w.ListBids(market.BidFilter{Provider: w.seller(), State: s}, p)
	})
}

func (w *world) lease() (market.Lease, bool) {
	f := market.LeaseFilter{Provider: w.seller(), Live: w.Intn(10) > 0}
	return one(w, func(p market.Page) ([]market.Lease, string, error) { return w.ListLeases(f, p) })
}

func (w *world) retainer() (market.Retainer, bool) {
	f := market.RetainerFilter{Owner: w.someone()}
	return one(w, func(p market.Page) ([]market.Retainer, string, error) { return w.ListRetainers(f, p) })
}

// money is an amount that lasts for some blocks.
func (w *world) money() market.Coin {
	return market.NewCoin(w.denom(), minDeposit+uint64(w.Intn(2000)))
}

// price is up to 20 per block, with up to 18 decimals.
func (w *world) price() market.Price {
	raw := new(big.Int).SetInt64(w.Int63n(2_000_000_000_000_000_000))
	d, _ := market.DecimalFromRaw(raw.Mul(raw, big.NewInt(int64(1+w.Intn(10))))) // fits
	return market.Price{Denom: w.denom(), AmountPerBlock: d}
}
