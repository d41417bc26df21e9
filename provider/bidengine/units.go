package bidengine

import (
	"context"
	"fmt"
	"slices"

	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
)

// priceUnits prices one replica of each unit of an order that can be scaled in
// place. Each unit is priced as if it were the whole group, in the number that
// was ordered, and the price is shared among its replicas, rounded up to 18
// decimals: what is asked for once (endpoints, addresses) becomes part of the
// price per replica. An address that several units use is asked for with the
// first of them.
func priceUnits(ctx context.Context, r Request, p Pricer) ([]market.UnitPrice, []Reason) {
	charged := map[uint32]bool{}
	var out []market.UnitPrice
	for _, u := range r.Order.Spec.Units {
		one, ceiling, err := alone(r, u, charged)
		if err != nil {
			return nil, []Reason{{OrderInvalid, err.Error()}}
		}
		amount, err := p.Price(ctx, one)
		if err == nil {
			amount, err = portion(amount, 1, uint64(max(u.Count, 1)))
		}
		if reasons := judge(amount, ceiling, err); len(reasons) > 0 {
			for i := range reasons {
				reasons[i].Detail = fmt.Sprintf("a replica of unit %d: %s", u.ID, reasons[i].Detail)
			}
			return nil, reasons
		}
		out = append(out, market.UnitPrice{Unit: u.ID, AmountPerBlock: amount})
	}
	return out, nil
}

// alone is the request for one unit, and the ceiling for one replica of it.
// Ports of addresses that are charged already are left out, and the addresses of
// the unit noted.
func alone(r Request, u market.ResourceUnit, charged map[uint32]bool) (Request, market.Price, error) {
	u.Endpoints = withoutCharged(u.Endpoints, charged)
	for _, e := range u.Endpoints {
		if e.Kind == market.EndpointLeasedIP {
			charged[e.SequenceNumber] = true
		}
	}
	u.Count = max(u.Count, 1)
	ceiling, err := u.Price.AmountPerBlock.Times(uint64(u.Count))
	r.Ceiling = ceiling
	r.Order.Spec.Units = []market.ResourceUnit{u}
	r.Placement = inventory.Placement{Assignments: slices.DeleteFunc(
		slices.Clone(r.Placement.Assignments), func(a inventory.Assignment) bool { return a.Unit != u.ID },
	)}
	return r, market.Price{Denom: r.Denom, AmountPerBlock: u.Price.AmountPerBlock}, err
}

// withoutCharged leaves out the ports of charged addresses, with the endpoint that
// stands beside each of them.
func withoutCharged(list []market.Endpoint, charged map[uint32]bool) []market.Endpoint {
	gone := 0
	out := slices.DeleteFunc(slices.Clone(list), func(e market.Endpoint) bool {
		leased := e.Kind == market.EndpointLeasedIP && charged[e.SequenceNumber]
		if leased {
			gone++
		}
		return leased
	})
	return slices.DeleteFunc(out, func(e market.Endpoint) bool {
		beside := e.Kind != market.EndpointLeasedIP && gone > 0
		if beside {
			gone--
		}
		return beside
	})
}
