package bidengine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
)

// Code says why an order is not bid on. The texts leave the process: do not
// rename. Besides those here, codes of placement are those of package
// inventory, and what the market would refuse has the name of its rule
// ([market.RuleError], for example "bid-attributes").
type Code string

// Codes.
const (
	// OrderNotOpen: somebody else's lease, or closed.
	OrderNotOpen Code = "order-not-open"
	// OwnOrder: a provider may not bid on an order of its own account.
	OwnOrder Code = "own-order"
	// Draining: the operator has stopped bidding, for maintenance for example.
	Draining Code = "draining"
	// DenomNotAccepted: the price is in a denomination the market or this
	// provider does not settle in.
	DenomNotAccepted Code = "denom-not-accepted"
	// AddressesExhausted: the provider has no public addresses to lease, or not
	// enough that are free.
	AddressesExhausted Code = "addresses-exhausted"
	// AddressesUnsuitable: no pool of the provider is as the order asks for.
	AddressesUnsuitable Code = "addresses-unsuitable"
	// NoPrice: the pricing strategy has no price.
	NoPrice Code = "no-price"
	// PriceOverCeiling: the price is more than the tenant pays.
	PriceOverCeiling Code = "price-over-ceiling"
	// TenantDenied: the operator does not serve this tenant.
	TenantDenied Code = "tenant-denied"
	// TenantNotAllowed: the operator serves only the tenants of a list.
	TenantNotAllowed Code = "tenant-not-allowed"
	// DepositShort: the provider's account cannot pay the deposit of a bid.
	DepositShort Code = "deposit-short"
	// OrderFull: the order has as many open bids as the market allows.
	OrderFull Code = "order-full"
	// OrderInvalid: the order's groups break a rule of form.
	OrderInvalid Code = "order-invalid"
	// Internal: the decision itself failed; the operator must look.
	Internal Code = "internal"
)

// Reason is one ground for not bidding.
type Reason struct {
	Code Code `json:"code"`
	// Detail says it with values, for a person.
	Detail string `json:"detail"`
}

// String returns the code and the detail.
func (r Reason) String() string { return string(r.Code) + ": " + r.Detail }

// Capacity reports whether the reason may go away when capacity comes free: the
// same order is then worth another look.
func (r Reason) Capacity() bool {
	switch r.Code {
	case OrderNotOpen, OwnOrder, Draining, DenomNotAccepted, NoPrice, PriceOverCeiling,
		TenantDenied, TenantNotAllowed, AddressesUnsuitable, OrderFull, OrderInvalid, Internal:
		return false
	case AddressesExhausted:
		return true
	case DepositShort:
		return false
	}
	switch inventory.Code(r.Code) {
	case inventory.NoNodes, inventory.NoArchitecture, inventory.NoAttribute, inventory.NoStorageClass,
		inventory.NoGPU, inventory.InsufficientCPU, inventory.InsufficientMemory, inventory.InsufficientEphemeral,
		inventory.InsufficientPersistent, inventory.InsufficientGPU, inventory.Fragmented:
		return true
	case inventory.Invalid:
	}
	return false
}

// Deposit reports whether the reason may go away when a deposit comes back.
func (r Reason) Deposit() bool {
	return r.Code == DepositShort || r.Code == "balance-too-low" // the market's word for it
}

// Decision is a bid to make.
type Decision struct {
	Price market.Price
	// Units are the prices per replica of an order that can be scaled in place; nil
	// for one that cannot.
	Units   []market.UnitPrice
	Deposit market.Coin
	// Placement is where the group would run. Nothing is reserved yet.
	Placement inventory.Placement
}

// Placer finds room for a group without reserving it.
type Placer interface {
	// Place returns where the group fits, or every reason why it does not.
	Place(spec market.GroupSpec) (inventory.Placement, []inventory.Reason)
}

// PlacerFunc makes a function a [Placer].
type PlacerFunc func(spec market.GroupSpec) (inventory.Placement, []inventory.Reason)

// Place implements [Placer].
func (f PlacerFunc) Place(spec market.GroupSpec) (inventory.Placement, []inventory.Reason) {
	return f(spec)
}

// Snapshot is everything a decision depends on.
type Snapshot struct {
	// Provider is who bids, with its attributes.
	Provider market.Provider
	// Audits are what auditors say of the provider.
	Audits []market.Audit
	// Params are the market's rules.
	Params market.Params
	// Inventory is what the cluster has room for.
	Inventory Placer
	// Pricer sets the price.
	Pricer Pricer
	// Now is the time of the newest block, for the expiry of audits.
	Now time.Time
	// Funds are what the provider could pay a deposit with; nil is not asked for.
	Funds market.Coins
	// Draining refuses every order; Notice says why, for a person.
	Draining bool
	Notice   string
	// Addresses reserves the public addresses that the order asks for, or says why
	// there are none; nil leases none. It is asked once the group has a place.
	Addresses func() []Reason
}

// Decide says whether and how to bid on an order. With no reasons the decision
// stands; else it is zero and the reasons are all that the stage that refused
// has found. The context is given to the pricer and used for nothing else.
func Decide(ctx context.Context, order market.Order, s Snapshot) (Decision, []Reason) {
	if reasons := filter(order, s); len(reasons) > 0 {
		return Decision{}, reasons
	}
	ceiling, err := order.Spec.Ceiling()
	if err != nil {
		return Decision{}, []Reason{{OrderInvalid, err.Error()}}
	}
	deposit, reasons := money(ceiling.Denom, s)
	if len(reasons) > 0 {
		return Decision{}, reasons
	}
	placement, refused := s.Inventory.Place(order.Spec)
	if len(refused) > 0 {
		return Decision{}, FromInventory(refused)
	}
	if leasesIP(order.Spec) {
		if reasons := s.Addresses(); len(reasons) > 0 {
			return Decision{}, reasons
		}
	}
	d := Decision{Price: market.Price{Denom: ceiling.Denom}, Deposit: deposit, Placement: placement}
	r := Request{Order: order, Denom: ceiling.Denom, Ceiling: ceiling.AmountPerBlock, Placement: placement}
	if order.Spec.Scalable() {
		d.Units, reasons = priceUnits(ctx, r, s.Pricer)
		if len(reasons) > 0 {
			return Decision{}, reasons
		}
		d.Price, err = order.Spec.PriceOf(ceiling.Denom, d.Units)
	} else {
		d.Price.AmountPerBlock, err = s.Pricer.Price(ctx, r)
	}
	if reasons := judge(d.Price.AmountPerBlock, ceiling, err); len(reasons) > 0 {
		return Decision{}, reasons
	}
	return d, nil
}

// filter holds the checks that need neither inventory nor price.
func filter(order market.Order, s Snapshot) []Reason {
	var out []Reason
	add := func(c Code, format string, args ...any) { out = append(out, Reason{c, fmt.Sprintf(format, args...)}) }
	if order.State != market.OrderOpen {
		add(OrderNotOpen, "the order is %s", order.State)
	}
	if order.ID.Owner == s.Provider.Owner {
		add(OwnOrder, "the order is of this provider's own account")
	}
	if s.Draining {
		add(Draining, "%s", cmp.Or(s.Notice, "the provider takes no new leases at present"))
	}
	if order.State == market.OrderOpen && order.Bids >= s.Params.MaxBids {
		add(OrderFull, "%d bids are open, the market allows %d", order.Bids, s.Params.MaxBids)
	}
	if err := order.Spec.Match(s.Provider, s.Audits, s.Now); err != nil {
		out = append(out, fromMarket(err))
	}
	if s.Addresses == nil && leasesIP(order.Spec) {
		add(AddressesExhausted, "the provider has no public addresses to lease")
	}
	return out
}

// fromMarket makes a reason out of the market's refusal.
func fromMarket(err error) Reason {
	var rule *market.RuleError
	if errors.As(err, &rule) {
		return Reason{Code(rule.Rule), rule.Detail}
	}
	return Reason{OrderInvalid, err.Error()}
}

func leasesIP(spec market.GroupSpec) bool {
	for _, u := range spec.Units {
		for _, e := range u.Endpoints {
			if e.Kind == market.EndpointLeasedIP {
				return true
			}
		}
	}
	return false
}

// money finds the deposit for a bid: in the order's denomination, or in another
// that the market takes and the provider has.
func money(denom string, s Snapshot) (market.Coin, []Reason) {
	if s.Params.MinDeposits.Of(denom).IsZero() {
		return market.Coin{}, []Reason{{DenomNotAccepted, fmt.Sprintf("the market does not settle in %s", denom)}}
	}
	choices := slices.Clone(s.Params.BidDeposits)
	slices.SortStableFunc(choices, func(a, b market.Coin) int { // the order's denomination first
		return cmp.Compare(flag(a.Denom != denom), flag(b.Denom != denom))
	})
	for _, c := range choices {
		if s.Funds == nil || s.Funds.Of(c.Denom).Cmp(c.Amount) >= 0 {
			return c, nil
		}
	}
	return market.Coin{}, []Reason{{DepositShort, fmt.Sprintf("the provider's account holds %v, a bid takes a deposit of %s", s.Funds, choices[0])}}
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// FromInventory makes reasons out of those of a placement.
func FromInventory(refused []inventory.Reason) []Reason {
	out := make([]Reason, len(refused))
	for i, r := range refused {
		out[i] = Reason{Code(r.Code), r.Detail}
		if r.Unit != 0 {
			out[i].Detail = fmt.Sprintf("unit %d: %s", r.Unit, r.Detail)
		}
	}
	return out
}

func judge(amount market.Decimal, ceiling market.Price, err error) []Reason {
	var refusal *RefusalError
	switch {
	case errors.As(err, &refusal):
		return []Reason{refusal.Reason}
	case errors.Is(err, ErrNoPrice):
		return []Reason{{NoPrice, err.Error()}}
	case err != nil:
		return []Reason{{Internal, "pricing failed: " + err.Error()}}
	case amount.IsZero():
		return []Reason{{NoPrice, "the price is zero"}}
	case amount.Cmp(ceiling.AmountPerBlock) > 0:
		return []Reason{{PriceOverCeiling, fmt.Sprintf("asks %s, the tenant pays at most %s %s per block",
			amount, ceiling.AmountPerBlock, ceiling.Denom)}}
	}
	return nil
}
