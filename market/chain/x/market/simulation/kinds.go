package simulation

import (
	"math/big"

	"github.com/moorage-dev/moorage/market"
)

// kind makes messages of one type. nil means that there is nothing to say now.
type kind struct {
	name   string
	weight int
	make   func(*world) market.Msg
}

func kinds() []kind {
	return []kind{
		{"CreateProvider", 20, func(w *world) market.Msg { return market.CreateProvider{Provider: w.provider()} }},
		{"UpdateProvider", 5, (*world).update},
		{"DeleteProvider", 4, func(w *world) market.Msg { return market.DeleteProvider{Owner: w.seller()} }},
		{"CreateDeployment", 60, createDeployment},
		{"UpdateDeployment", 5, updateDeployment},
		{"DepositDeployment", 15, depositDeployment},
		{"CloseDeployment", 8, closeDeployment},
		{"CloseGroup", 3, onGroup(func(id market.GroupID) market.Msg { return market.CloseGroup{ID: id} })},
		{"PauseGroup", 5, onGroup(func(id market.GroupID) market.Msg { return market.PauseGroup{ID: id} })},
		{"StartGroup", 10, onGroup(func(id market.GroupID) market.Msg { return market.StartGroup{ID: id} })},
		{"CreateBid", 120, createBid},
		{"CloseBid", 12, closeBid},
		{"CreateLease", 80, createLease},
		{"CloseLease", 10, onLease(func(l market.Lease) market.Msg { return market.CloseLease{ID: l.ID} })},
		{"WithdrawLease", 30, onLease(func(l market.Lease) market.Msg { return market.WithdrawLease{ID: l.ID} })},
		{"ScaleLease", 40, scaleLease},
		{"ConfirmScale", 40, onScale(func(l market.Lease) market.Msg { return market.ConfirmScale{ID: l.ID, Number: l.Scale.Number} })},
		{"DeclineScale", 5, onScale(func(l market.Lease) market.Msg { return market.DeclineScale{ID: l.ID, Number: l.Scale.Number} })},
		{"OpenRetainer", 15, openRetainer},
		{"DepositRetainer", 10, onRetainer(func(w *world, r market.Retainer) market.Msg {
			return market.DepositRetainer{ID: r.ID, Amount: w.money()}
		})},
		{"WithdrawRetainer", 10, onRetainer(func(_ *world, r market.Retainer) market.Msg { return market.WithdrawRetainer{ID: r.ID} })},
		{"CloseRetainer", 5, onRetainer(func(w *world, r market.Retainer) market.Msg {
			return market.CloseRetainer{ID: r.ID, By: pick(w, r.ID.Owner, r.ID.Provider)}
		})},
		{"SignAudit", 5, func(w *world) market.Msg {
			id := market.AuditID{Provider: w.seller(), Auditor: w.someone()}
			return market.SignAudit{Audit: market.Audit{ID: id, Attributes: attributes(w)}}
		}},
		{"RevokeAudit", 5, revokeAudit},
	}
}

func pick[T any](w *world, from ...T) T { return from[w.Intn(len(from))] }

func onGroup(f func(market.GroupID) market.Msg) func(*world) market.Msg {
	return func(w *world) market.Msg {
		if id, ok := w.group(); ok {
			return f(id)
		}
		return nil
	}
}

func onLease(f func(market.Lease) market.Msg) func(*world) market.Msg {
	return func(w *world) market.Msg {
		if l, ok := w.lease(); ok {
			return f(l)
		}
		return nil
	}
}

// onScale speaks about a lease whose tenant waits for an answer.
func onScale(f func(market.Lease) market.Msg) func(*world) market.Msg {
	return func(w *world) market.Msg {
		const tries = 10
		for range tries {
			if l, ok := w.lease(); ok && l.Scale != nil {
				return f(l)
			}
		}
		return nil
	}
}

func onRetainer(f func(*world, market.Retainer) market.Msg) func(*world) market.Msg {
	return func(w *world) market.Msg {
		if r, ok := w.retainer(); ok {
			return f(w, r)
		}
		return nil
	}
}

func attributes(w *world) market.Attributes {
	return market.Attributes{{Key: "region", Value: pick(w, "north", "south")}}
}

func (w *world) provider() market.Provider {
	return market.Provider{Owner: w.someone(), HostURI: "https://provider.example", Attributes: attributes(w)}
}

func (w *world) update() market.Msg {
	p := w.provider()
	p.Owner = w.seller()
	return market.UpdateProvider{Provider: p}
}

func createDeployment(w *world) market.Msg {
	// Numbers of which some are prefixes of others.
	m := market.CreateDeployment{
		ID:   market.DeploymentID{Owner: w.someone(), DSeq: uint64(1 + w.Intn(1<<(4+w.Intn(12))))},
		Hash: market.Hash{1}, Deposit: w.money(),
	}
	for i := range 1 + w.Intn(3) {
		g := market.GroupSpec{Name: string(rune('a' + i)), ReclaimBlocks: int64(max(0, w.Intn(2*maxReclaim)-maxReclaim))}
		if w.Intn(4) == 0 {
			g.Requirements.Attributes = attributes(w)
		}
		for id := range uint32(1 + w.Intn(2)) {
			u := market.ResourceUnit{
				Resources: market.Resources{ID: id + 1, CPU: market.CPU{MilliCores: 100}, Memory: market.Memory{Bytes: 1 << 26}},
				Count:     1 + uint32(w.Intn(3)), Price: w.price(),
			}
			if w.Intn(2) == 0 {
				u.MinCount, u.MaxCount = 1, u.Count+uint32(w.Intn(5))
			}
			g.Units = append(g.Units, u)
		}
		m.Groups = append(m.Groups, g)
	}
	return m
}

func updateDeployment(w *world) market.Msg {
	if d, ok := w.deployment(); ok {
		return market.UpdateDeployment{ID: d.ID, Hash: market.Hash{byte(w.Intn(256)), 1}}
	}
	return nil
}

func depositDeployment(w *world) market.Msg {
	if d, ok := w.deployment(); ok {
		return market.DepositDeployment{ID: d.ID, Depositor: pick(w, d.ID.Owner, w.someone()), Amount: w.money()}
	}
	return nil
}

func closeDeployment(w *world) market.Msg {
	if d, ok := w.deployment(); ok {
		return market.CloseDeployment{ID: d.ID}
	}
	return nil
}

// createBid asks for a part of the ceiling of every unit.
func createBid(w *world) market.Msg {
	o, ok := w.order()
	if !ok {
		return nil
	}
	m := market.CreateBid{
		ID:      market.BidID{OrderID: o.ID, Provider: w.seller()},
		Deposit: market.NewCoin(w.denom(), 1+uint64(w.Intn(50))),
	}
	for _, u := range o.Spec.Units {
		raw := u.Price.AmountPerBlock.Raw()
		raw.Mul(raw, big.NewInt(int64(w.Intn(101)))).Quo(raw, big.NewInt(100))
		each, _ := market.DecimalFromRaw(raw) // not above the ceiling
		m.Units = append(m.Units, market.UnitPrice{Unit: u.ID, AmountPerBlock: each})
	}
	m.Price, w.err = o.Spec.PriceOf(w.denom(), m.Units)
	return m
}

func closeBid(w *world) market.Msg {
	if b, ok := w.bid(pick(w, market.BidOpen, market.BidWon)); ok {
		return market.CloseBid{ID: b.ID, Reason: market.ReasonUnstable}
	}
	return nil
}

func createLease(w *world) market.Msg {
	if b, ok := w.bid(market.BidOpen); ok {
		return market.CreateLease{ID: b.ID}
	}
	return nil
}

func scaleLease(w *world) market.Msg {
	l, ok := w.lease()
	if !ok {
		return nil
	}
	o, err := w.Orders.Get(l.ID.OrderID)
	if err != nil {
		w.err = err
		return nil
	}
	m := market.ScaleLease{ID: l.ID}
	for _, u := range o.Spec.Units {
		low, high := u.Bounds()
		m.Counts = append(m.Counts, market.UnitCount{Unit: u.ID, Count: low + uint32(w.Intn(int(high-low)+1))})
	}
	if w.Intn(3) == 0 {
		m.MaxPrice = w.price()
	}
	return m
}

func openRetainer(w *world) market.Msg {
	m := market.OpenRetainer{
		ID:    market.RetainerID{Owner: w.someone(), Provider: w.seller(), Kind: "address", Name: pick(w, "a", "ab", "b")},
		Price: w.price(), Deposit: w.money(),
	}
	if w.Intn(2) == 0 {
		m.ExpiresAt = w.height + 1 + int64(w.Intn(40))
	}
	return m
}

func revokeAudit(w *world) market.Msg {
	provider := w.seller()
	if a, ok := one(w, func(p market.Page) ([]market.Audit, string, error) {
		return w.ListAudits(market.AuditFilter{Provider: provider}, p)
	}); ok {
		return market.RevokeAudit{ID: a.ID}
	}
	return nil
}
