package provider

import (
	"errors"
	"time"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/bidengine"
)

// request is what an order asks for.
func request(order market.Order, until time.Time) (iplease.Request, error) {
	r := iplease.Request{Order: order.ID, Numbers: iplease.Numbers(order.Spec), Until: until}
	var err error
	r.Selection, err = iplease.SelectionOf(order.Spec.Requirements.Attributes)
	return r, err
}

// reserveAddresses holds what an order asks for until a time, or says why not. It
// is idempotent.
func (p *Provider) reserveAddresses(order market.Order, until time.Time) []bidengine.Reason {
	return p.tryAddresses(order, until, func(r iplease.Request) (refused error, err error) {
		err = p.addresses.change(func(t *iplease.Table) { refused = t.Reserve(r) })
		return refused, err
	})
}

// screenAddresses says what reserveAddresses would say.
func (p *Provider) screenAddresses(order market.Order) []bidengine.Reason {
	return p.tryAddresses(order, time.Time{}, func(r iplease.Request) (refused error, err error) {
		p.addresses.look(func(t *iplease.Table) { refused = t.CanReserve(r) })
		return refused, nil
	})
}

func (p *Provider) tryAddresses(order market.Order, until time.Time, try func(iplease.Request) (refused, err error)) []bidengine.Reason {
	r, err := request(order, until)
	switch {
	case len(r.Numbers) == 0:
		return nil
	case p.addresses == nil:
		return []bidengine.Reason{{Code: bidengine.AddressesExhausted, Detail: "the provider has no public addresses to lease"}}
	case err != nil:
		return []bidengine.Reason{{Code: bidengine.AddressesUnsuitable, Detail: err.Error()}}
	}
	refused, err := try(r)
	if err != nil {
		return []bidengine.Reason{{Code: bidengine.Internal, Detail: "the reservation of addresses could not be stored"}}
	}
	var none *iplease.ExhaustedError
	switch {
	case refused == nil:
		return nil
	case errors.As(refused, &none) && none.Matching > 0:
		return []bidengine.Reason{{Code: bidengine.AddressesExhausted, Detail: refused.Error()}}
	default:
		return []bidengine.Reason{{Code: bidengine.AddressesUnsuitable, Detail: refused.Error()}}
	}
}

// bidReservation is when the reservation of a bid ends by itself, if it is not
// kept up.
func (p *Provider) bidReservation() time.Time {
	return time.Now().Add(p.cfg.BidTimeout + p.cfg.ManifestTimeout)
}

// dropAddresses frees what is reserved for an order.
func (p *Provider) dropAddresses(id market.OrderID) error {
	if p.addresses == nil {
		return nil
	}
	some := false
	err := p.addresses.change(func(t *iplease.Table) { some = t.Unreserve(id) })
	if some {
		p.retryDeclined(addressesExhausted)
	}
	return err
}

func addressesExhausted(r bidengine.Reason) bool { return r.Code == bidengine.AddressesExhausted }
