package marketpb

import (
	"slices"

	"github.com/moorage-dev/moorage/market"
)

// checkScale checks the bounds of a grant of role scale.
func (g DeploymentGrant) checkScale() error {
	bad := func(format string, args ...any) error {
		return market.Refuse(market.ErrInvalid, "grant-bounds", "deployment %s: "+format, append([]any{g.id()}, args...)...)
	}
	if len(g.Counts) == 0 || len(g.Counts) > market.MaxCount {
		return bad("want the ranges of 1 to %d units", market.MaxCount)
	}
	for i, r := range g.Counts {
		if r.Gseq == 0 || r.Min > r.Max {
			return bad("group %d unit %d: want a group and a range, not %d to %d", r.Gseq, r.Unit, r.Min, r.Max)
		}
		if slices.ContainsFunc(g.Counts[:i], func(o CountRange) bool { return o.Gseq == r.Gseq && o.Unit == r.Unit }) {
			return bad("group %d unit %d is there twice", r.Gseq, r.Unit)
		}
	}
	if g.MaxPrice == nil {
		return bad("want the most that a lease may cost")
	}
	price, err := ToPrice(*g.MaxPrice)
	if err != nil {
		return err
	}
	return market.ValidateDenom(price.Denom)
}

// allowScale refuses a message that leaves the ranges, costs more, or brings
// another manifest. It must name counts, each of a group and a unit that is
// granted: without any it would take back what the granter has asked for. What the new counts cost only the market knows, which holds
// the message to the price that it names.
func (g DeploymentGrant) allowScale(m *MsgScaleLease) error {
	if len(m.Hash) > 0 {
		return market.Refuse(market.ErrUnauthorized, "grant-hash", "scaling with a new manifest is not granted")
	}
	if len(m.Counts) == 0 {
		return market.Refuse(market.ErrUnauthorized, "grant-count", "taking back a request without naming a count is not granted")
	}
	for _, c := range m.Counts {
		i := slices.IndexFunc(g.Counts, func(r CountRange) bool { return r.Gseq == m.Gseq && r.Unit == c.Unit })
		if i < 0 {
			return market.Refuse(market.ErrUnauthorized, "grant-count", "group %d unit %d is not granted", m.Gseq, c.Unit)
		}
		if r := g.Counts[i]; c.Count < r.Min || c.Count > r.Max {
			return market.Refuse(market.ErrLimit, "grant-count", "group %d unit %d: %d is not within %d to %d", m.Gseq, c.Unit, c.Count, r.Min, r.Max)
		}
	}
	return g.allowPrice(m.MaxPrice)
}

func (g DeploymentGrant) allowPrice(asked *Price) error {
	if asked == nil {
		return market.Refuse(market.ErrLimit, "grant-price", "want a price, at most %s%s per block", g.MaxPrice.AmountPerBlock, g.MaxPrice.Denom)
	}
	most, err1 := ToPrice(*g.MaxPrice)
	price, err2 := ToPrice(*asked)
	if err := first(err1, err2); err != nil {
		return err
	}
	if price.AmountPerBlock.IsZero() || price.Denom != most.Denom || price.AmountPerBlock.Cmp(most.AmountPerBlock) > 0 {
		return market.Refuse(market.ErrLimit, "grant-price", "%s is not a price up to %s", price, most)
	}
	return nil
}
