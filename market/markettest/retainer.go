package markettest

import (
	"errors"
	"slices"

	"github.com/moorage-dev/moorage/market"
)

func retainerCases() []Case {
	return []Case{
		{"a-retainer-costs-price-times-blocks", "a retainer costs the whole part of price × blocks, however often it is withdrawn from, and gives the rest back", retainerCostsExactly},
		{"retainers-are-checked", "a retainer that breaks a rule is refused by name and costs nothing", retainersAreChecked},
		{"retainers-end-by-themselves", "a retainer ends where it expires and where it runs dry, without anyone touching it", retainersEnd},
		{"either-side-may-close-a-retainer", "owner and provider may close a retainer, nobody else; a new one may take its name", eitherSideCloses},
		{"retainers-are-listed", "lists of retainers hold exactly what matches, names that are prefixes of one another apart", retainersAreListed},
		{"news-names-the-retainer", "events of retainers name owner, provider, kind and name", newsNamesRetainer},
		{"providers-are-listed", "a group's lists of providers decide who may bid", providersAreListed},
		{"data-centers-are-listed", "a group's lists of data centres decide where a bidder may be; who names none may not bid", dataCentersAreListed},
	}
}

func (a *actor) retainerID(provider *actor, name string) market.RetainerID {
	return market.RetainerID{Owner: a.Address(), Provider: provider.Address(), Kind: "address", Name: name}
}

// retain opens a retainer.
func (a *actor) retain(provider *actor, name, perBlock string, expiresAt int64) market.Retainer {
	msg := market.OpenRetainer{ID: a.retainerID(provider, name), Price: a.r.price(perBlock), Deposit: market.NewCoin(Denom, deposit), ExpiresAt: expiresAt}
	at := a.do(msg).Height
	got := a.r.retainerNow(a, msg.ID)
	a.r.want(got.State == market.RetainerOpen && got.Price == msg.Price && got.Funds == msg.Deposit.Amount && got.CreatedAt == at && got.ExpiresAt == expiresAt,
		"opened at %d it is %+v", at, got)
	return got
}

func (r *run) retainerNow(a *actor, id market.RetainerID) market.Retainer {
	got, err := a.Retainer(r.ctx, id)
	r.must(err)
	return got
}

func retainerCostsExactly(r *run) {
	a, p := r.actor(), r.provider()
	kept := a.retain(p, "web", "100.7", 0)
	for i := range 4 {
		r.advance(i)
		p.do(market.WithdrawRetainer{ID: kept.ID}, market.WithdrawRetainer{ID: kept.ID})
	}
	a.do(market.DepositRetainer{ID: kept.ID, Amount: market.NewCoin(Denom, 77)})
	p.refused(market.ErrState, "provider-busy", market.DeleteProvider{Owner: p.Address()})
	r.advance(2)
	end := a.do(market.CloseRetainer{ID: kept.ID, By: a.Address()}).Height
	cost := r.due(kept.Price, end-kept.CreatedAt)
	a.wantOwns(Denom, 0, cost)
	p.wantOwns(Denom, cost-fee(cost), 0)
	closed := r.retainerNow(a, kept.ID)
	r.want(closed.State == market.RetainerClosed && closed.Reason == market.ReasonTenant && closed.ClosedAt == end && closed.Funds.IsZero() &&
		closed.Balance.IsZero() && closed.Withdrawn == market.NewAmount(cost), "closed it is %+v, want %d withdrawn", closed, cost)
	p.do(market.DeleteProvider{Owner: p.Address()})
}

func retainersAreChecked(r *run) {
	a, p := r.actor(), r.provider()
	good := market.OpenRetainer{ID: a.retainerID(p, "web"), Price: r.price("5"), Deposit: market.NewCoin(Denom, deposit)}
	bad := []struct {
		kind error
		rule string
		bend func(*market.OpenRetainer)
	}{
		{market.ErrInvalid, "retainer-id", func(m *market.OpenRetainer) { m.ID.Kind = "" }},
		{market.ErrInvalid, "retainer-id", func(m *market.OpenRetainer) { m.ID.Name = "a/b" }},
		{market.ErrUnauthorized, "retainer-own", func(m *market.OpenRetainer) { m.ID.Provider = a.Address() }},
		{market.ErrInvalid, "deposit-too-low", func(m *market.OpenRetainer) { m.Deposit = market.NewCoin(Denom, 1) }},
		{market.ErrInvalid, "deposit-denom", func(m *market.OpenRetainer) { m.Deposit = market.NewCoin("nothing", deposit) }},
		{market.ErrInvalid, "retainer-denom", func(m *market.OpenRetainer) { m.Price.Denom = OtherDenom }},
		{market.ErrInvalid, "retainer-price-zero", func(m *market.OpenRetainer) { m.Price = r.price("0") }},
		{market.ErrInsufficientFunds, "retainer-not-funded", func(m *market.OpenRetainer) { m.Price = r.price("5000000.1") }},
		{market.ErrInsufficientFunds, "balance-too-low", func(m *market.OpenRetainer) { m.Deposit = market.NewCoin(Denom, Units+1) }},
		{market.ErrState, "retainer-expired", func(m *market.OpenRetainer) { m.ExpiresAt = 1 }},
	}
	for _, b := range bad {
		msg := good
		b.bend(&msg)
		a.refused(b.kind, b.rule, msg)
	}
	nobody := good
	nobody.ID.Provider = r.actor().Address()
	a.refused(market.ErrNotFound, "provider-unknown", nobody)
	a.refused(market.ErrNotFound, "retainer-unknown", market.CloseRetainer{ID: good.ID, By: a.Address()})
	_, err := a.Retainer(r.ctx, good.ID)
	r.wantNotFound(err, "a retainer that was refused")
	a.wantOwns(Denom, 0, 0)
	a.do(good)
	a.refused(market.ErrExists, "retainer-exists", good)
	a.refused(market.ErrInvalid, "retainer-denom", market.DepositRetainer{ID: good.ID, Amount: market.NewCoin(OtherDenom, 5)})
	a.wantOwns(Denom, 0, deposit)
}

func retainersEnd(r *run) {
	a, p := r.actor(), r.provider()
	end := a.head().Height + 12
	expires := a.retain(p, "expires", "1000", end)
	dry := a.retain(p, "dry", "800000", 0) // the deposit pays 6 blocks and a part
	r.want(expires.DueAt == end && dry.DueAt == dry.CreatedAt+7, "they are due at %d and %d", expires.DueAt, dry.DueAt)
	r.reach(a, max(end, dry.DueAt))
	gone := r.retainerNow(a, expires.ID)
	r.want(gone.State == market.RetainerClosed && gone.Reason == market.ReasonExpired && gone.ClosedAt == end, "at %d the one is %+v", end, gone)
	ran := r.retainerNow(a, dry.ID)
	r.want(ran.State == market.RetainerClosed && ran.Reason == market.ReasonInsufficientFunds && ran.ClosedAt == dry.DueAt, "at %d the other is %+v", dry.DueAt, ran)
	a.refused(market.ErrState, "retainer-closed", market.DepositRetainer{ID: dry.ID, Amount: market.NewCoin(Denom, 1)})
	p.refused(market.ErrState, "retainer-closed", market.WithdrawRetainer{ID: dry.ID})
	cost := r.due(expires.Price, end-expires.CreatedAt)
	a.wantOwns(Denom, 0, cost+deposit)
	p.wantOwns(Denom, cost-fee(cost)+deposit-fee(deposit), 0)
}

func eitherSideCloses(r *run) {
	a, p, other := r.actor(), r.provider(), r.actor()
	kept := a.retain(p, "web", "1000", 0)
	other.refused(market.ErrUnauthorized, "retainer-not-yours", market.CloseRetainer{ID: kept.ID, By: other.Address()})
	end := p.do(market.CloseRetainer{ID: kept.ID, By: p.Address()}).Height
	closed := r.retainerNow(a, kept.ID)
	r.want(closed.State == market.RetainerClosed && closed.Reason.Provider(), "closed by the provider it is %+v", closed)
	a.refused(market.ErrState, "retainer-closed", market.CloseRetainer{ID: kept.ID, By: a.Address()})
	again := a.retain(p, "web", "500", 0)
	r.want(again.Withdrawn.IsZero() && again.ClosedAt == 0 && again.Reason == market.ReasonNone, "opened again it is %+v", again)
	last := a.do(market.CloseRetainer{ID: kept.ID, By: a.Address()}).Height
	a.wantOwns(Denom, 0, r.due(kept.Price, end-kept.CreatedAt)+r.due(again.Price, last-again.CreatedAt))
}

func retainersAreListed(r *run) {
	a, p, q := r.actor(), r.provider(), r.provider()
	web, webb := a.retain(p, "web", "10", 0), a.retain(p, "webb", "10", 0)
	far := a.retain(q, "web", "10", 0)
	a.do(market.CloseRetainer{ID: web.ID, By: a.Address()})
	name := func(v market.Retainer) string { return v.ID.String() }
	list := func(f market.RetainerFilter) []string {
		return ids(r, 1, name, func(pg market.Page) ([]market.Retainer, string, error) { return a.Retainers(r.ctx, f, pg) })
	}
	sorted := func(names ...market.Retainer) (out []string) {
		for _, v := range names {
			out = append(out, v.ID.String())
		}
		slices.Sort(out)
		return out
	}
	all := list(market.RetainerFilter{Owner: a.Address()})
	slices.Sort(all)
	r.wantIDs("retainers of the owner", all, sorted(web, webb, far)...)
	r.wantIDs("those with a provider", list(market.RetainerFilter{Owner: a.Address(), Provider: q.Address()}), far.ID.String())
	r.wantIDs("those of a provider", list(market.RetainerFilter{Provider: p.Address()}), sorted(web, webb)...)
	r.wantIDs("open ones of a provider", list(market.RetainerFilter{Provider: p.Address(), State: market.RetainerOpen}), webb.ID.String())
	r.wantIDs("closed ones of a provider", list(market.RetainerFilter{Provider: p.Address(), State: market.RetainerClosed}), web.ID.String())
	r.wantIDs("those of another kind", list(market.RetainerFilter{Owner: a.Address(), Kind: "addresses"}))
	r.wantIDs("those of a name", list(market.RetainerFilter{Owner: a.Address(), Provider: p.Address(), Kind: "address", Name: "web"}), web.ID.String())
	r.wantIDs("those of a name, by provider", list(market.RetainerFilter{Provider: p.Address(), Name: "webb"}), webb.ID.String())
	r.wantIDs("those of the kind", list(market.RetainerFilter{Provider: q.Address(), Kind: "address"}), far.ID.String())
	_, _, err := a.Retainers(r.ctx, market.RetainerFilter{Owner: a.Address()}, market.Page{Token: "!"})
	r.want(errors.Is(err, market.ErrInvalid), "a token that is none: error %v, want ErrInvalid", err)
}

func newsNamesRetainer(r *run) {
	a, p := r.actor(), r.provider()
	from := a.head().Height
	kept := a.retain(p, "web", "1000", 0)
	a.do(market.DepositRetainer{ID: kept.ID, Amount: market.NewCoin(Denom, 1)})
	p.do(market.WithdrawRetainer{ID: kept.ID})
	to := a.do(market.CloseRetainer{ID: kept.ID, By: a.Address()}).Height
	var got []market.EventKind
	for _, b := range r.watched(a, from, to) {
		for _, e := range b.Events {
			if e.Retainer == kept.ID && e.ID.Owner == kept.ID.Owner && e.ID.Provider == kept.ID.Provider {
				got = append(got, e.Kind)
			}
		}
	}
	want := []market.EventKind{market.EventRetainerOpened, market.EventRetainerDeposited, market.EventRetainerWithdrawn, market.EventRetainerClosed}
	r.want(slices.Equal(got, want), "events are %v, want %v", got, want)
}

func providersAreListed(r *run) {
	a, p, q := r.actor(), r.provider(), r.provider()
	allows, excludes := r.spec("allows", "10"), r.spec("excludes", "10")
	allows.Requirements.Providers.Allowed = []market.Address{p.Address(), a.Address()}
	excludes.Requirements.Providers.Excluded = []market.Address{p.Address()}
	id := a.deploy(1, allows, excludes)
	q.refused(market.ErrMismatch, "bid-provider-listed", q.offer(orderOf(id, 1, 1), "5"))
	p.refused(market.ErrMismatch, "bid-provider-listed", p.offer(orderOf(id, 2, 1), "5"))
	p.bid(orderOf(id, 1, 1), "5")
	q.bid(orderOf(id, 2, 1), "5")
	long := r.spec("long", "10")
	for range Params().Limits.MaxListed + 1 {
		long.Requirements.Providers.Excluded = append(long.Requirements.Providers.Excluded, p.Address())
	}
	a.refused(market.ErrLimit, "group-listed", market.CreateDeployment{
		ID: market.DeploymentID{Owner: a.Address(), DSeq: 2}, Hash: market.Hash{1}, Groups: []market.GroupSpec{long}, Deposit: market.NewCoin(Denom, deposit),
	})
}

func dataCentersAreListed(r *run) {
	a, auditor := r.actor(), r.actor()
	here, there, nowhere := market.Attribute{Key: market.AttributeDataCenter, Value: "muc1"}, market.Attribute{Key: market.AttributeDataCenter, Value: "fra2"}, r.provider()
	p, q := r.provider(here), r.provider(there)
	allows, excludes, signed := r.spec("allows", "10"), r.spec("excludes", "10"), r.spec("signed", "10")
	allows.Requirements.DataCenters.Allowed = []string{"muc1", "ham3"}
	excludes.Requirements.DataCenters.Excluded = []string{"muc1"}
	signed.Requirements.DataCenters.Allowed = []string{"muc1"}
	signed.Requirements.SignedBy.AllOf = []market.Address{auditor.Address()}
	id := a.deploy(1, allows, excludes, signed)
	q.refused(market.ErrMismatch, "bid-data-center", q.offer(orderOf(id, 1, 1), "5"))
	p.refused(market.ErrMismatch, "bid-data-center", p.offer(orderOf(id, 2, 1), "5"))
	nowhere.refused(market.ErrMismatch, "bid-data-center", nowhere.offer(orderOf(id, 1, 1), "5"))
	nowhere.refused(market.ErrMismatch, "bid-data-center", nowhere.offer(orderOf(id, 2, 1), "5"))
	p.bid(orderOf(id, 1, 1), "5")
	q.bid(orderOf(id, 2, 1), "5")
	word := market.Audit{ID: market.AuditID{Provider: p.Address(), Auditor: auditor.Address()}}
	auditor.do(market.SignAudit{Audit: word})
	p.refused(market.ErrMismatch, "bid-signed-by-all", p.offer(orderOf(id, 3, 1), "5"))
	word.Attributes = market.Attributes{here}
	auditor.do(market.SignAudit{Audit: word})
	p.bid(orderOf(id, 3, 1), "5")
}
