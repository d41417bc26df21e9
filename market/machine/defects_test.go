package machine_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/machine"
)

// These tests are the defects that were found in the reference chain, seen from
// messages; package lease has those of its arithmetic. A test named here is named
// in docs/state-machines.md too.

// leasedHost has deployments of one tenant with a lease of 10 per block each,
// from height 1 on.
func leasedHost(t *testing.T, dseqs ...uint64) *host {
	t.Helper()
	h := newHost(market.DefaultParams("uakt"))
	h.must(t, 1, market.CreateProvider{Provider: market.Provider{Owner: "provider", HostURI: "https://p.example"}})
	for _, dseq := range dseqs {
		bid := benchBid(dseq)
		bid.Price.AmountPerBlock = market.NewDecimal(10)
		h.must(t, 1, benchDeployment(dseq), bid, market.CreateLease{ID: bid.ID})
	}
	return h
}

func (h *host) payment(t *testing.T, dseq uint64) market.Payment {
	t.Helper()
	p, err := h.Payments.Get(benchBid(dseq).ID.Lease())
	require.NoError(t, err)
	return p
}

// The reference finds payments by a text prefix: settling deployment 12 charges
// it for the payments of 123, closing 12 closes the payment of 123.
func TestDeployment12DoesNotPayFor123(t *testing.T) {
	h := leasedHost(t, 12, 123)
	h.must(t, 101, market.WithdrawLease{ID: benchBid(12).ID.Lease()})
	assert.Equal(t, "1000", h.payment(t, 12).Withdrawn.String())
	assert.Equal(t, "0", h.payment(t, 123).Balance.String())
	h.must(t, 101, market.CloseDeployment{ID: benchDeployment(12).ID})
	assert.Equal(t, market.AccountOpen, h.payment(t, 123).State)
	h.must(t, 201, market.CloseDeployment{ID: benchDeployment(123).ID})
	assert.Equal(t, "1000", h.payment(t, 12).Withdrawn.String())
	assert.Equal(t, "2000", h.payment(t, 123).Withdrawn.String())
	require.Empty(t, h.purse.pot)
}

// In the reference, after one lease of a deployment was closed, a second closed
// in the same block went on charging.
func TestTwoGroupsClosedInABlockBothStopCharging(t *testing.T) {
	h := newHost(market.DefaultParams("uakt"))
	d := benchDeployment(1)
	second := d.Groups[0].Clone()
	second.Name = "second"
	d.Groups = append(d.Groups, second)
	bid, other := benchBid(1), benchBid(1)
	other.ID.GSeq = 2
	h.must(t, 1, market.CreateProvider{Provider: market.Provider{Owner: "provider", HostURI: "https://p.example"}},
		d, bid, other, market.CreateLease{ID: bid.ID}, market.CreateLease{ID: other.ID})
	h.must(t, 101, market.CloseGroup{ID: bid.ID.GroupID}, market.CloseGroup{ID: other.ID.GroupID})
	for _, id := range []market.LeaseID{bid.ID.Lease(), other.ID.Lease()} {
		_, err := h.step(1101, market.WithdrawLease{ID: id}, 0)
		require.ErrorIs(t, err, market.ErrState)
		p, err := h.Payments.Get(id)
		require.NoError(t, err)
		assert.Equal(t, market.AccountClosed, p.State)
		assert.Equal(t, "300", p.Withdrawn.String())
	}
	require.NoError(t, machine.Check(h.State, h.purse.pot))
}

// In the reference, withdrawing twice in a block panics.
func TestASecondWithdrawalInABlockIsHarmless(t *testing.T) {
	h := leasedHost(t, 1)
	w := market.WithdrawLease{ID: benchBid(1).ID.Lease()}
	h.must(t, 51, w, w, w)
	assert.Equal(t, "500", h.payment(t, 1).Withdrawn.String())
	require.NoError(t, machine.Check(h.State, h.purse.pot))
}

// In the reference, the limit of bids lets one more in, and bids that were
// withdrawn count.
func TestTheLimitOfBidsIsTheLimit(t *testing.T) {
	h := newHost(market.DefaultParams("uakt"))
	h.must(t, 1, benchDeployment(1))
	offer := func(i int) market.CreateBid {
		bid := benchBid(1)
		bid.ID.Provider = market.Address(fmt.Sprintf("provider%d", i))
		return bid
	}
	for i := range 22 {
		h.must(t, 1, market.CreateProvider{Provider: market.Provider{Owner: offer(i).ID.Provider, HostURI: "https://p.example"}})
	}
	for i := range 20 {
		h.must(t, 1, offer(i))
	}
	_, err := h.step(1, offer(20), 0)
	require.ErrorIs(t, err, market.ErrLimit)
	h.must(t, 1, market.CloseBid{ID: offer(0).ID}, offer(20))
	_, err = h.step(1, offer(21), 0)
	require.ErrorIs(t, err, market.ErrLimit)
}

// Whoever ends an overdrawn lease and takes another has no second grace.
func TestADebtIsNotShedByEndingItsLease(t *testing.T) {
	group := benchBid(1).ID.GroupID
	id := group.DeploymentID
	for name, end := range map[string][]market.Msg{
		"close lease": {market.CloseLease{ID: benchBid(1).ID.Lease()}},
		"pause group": {market.PauseGroup{ID: group}, market.StartGroup{ID: group}},
		"close bid":   {market.CloseBid{ID: benchBid(1).ID, Reason: market.ReasonUnstable}, market.StartGroup{ID: group}},
	} {
		h := leasedHost(t, 1)
		h.Params.GraceBlocks = 1000
		height := int64(50_002 + 999) // 10 per block of 500,000, and all but the last block of grace
		h.must(t, height, end...)
		a, err := h.Accounts.Get(id)
		require.NoError(t, err)
		assert.Equal(t, market.AccountOverdrawn, a.State, name)
		assert.Zero(t, a.DueAt, "the market does nothing by itself")
		require.NoError(t, machine.Check(h.State, h.purse.pot))

		again := benchBid(1)
		again.ID.OSeq = 2
		h.must(t, height+1, again, market.DepositDeployment{ID: id, Depositor: "tenant", Amount: market.NewCoin("uakt", 9_999)})
		assert.Equal(t, "509999", h.payment(t, 1).Withdrawn.String(), name)
		_, err = h.step(height+1, market.CreateLease{ID: again.ID}, 0)
		require.ErrorIs(t, err, market.ErrState, name)
		h.must(t, height+1, market.DepositDeployment{ID: id, Depositor: "tenant", Amount: market.NewCoin("uakt", 4)}, market.CreateLease{ID: again.ID})
		assert.Equal(t, "510000", h.payment(t, 1).Withdrawn.String(), name)
		require.NoError(t, machine.Check(h.State, h.purse.pot))
	}
}

// In the reference, an overdrawn deployment cannot be saved: a deposit pays the
// debt and closes the account.
func TestADepositSavesAnOverdrawnDeployment(t *testing.T) {
	h := leasedHost(t, 1)
	h.Params.GraceBlocks = 10
	id := benchDeployment(1).ID
	ranOut := int64(1 + 50_000 + 1)
	h.must(t, ranOut, nil)
	a, err := h.Accounts.Get(id)
	require.NoError(t, err)
	require.Equal(t, market.AccountOverdrawn, a.State)
	require.Equal(t, ranOut+10, a.DueAt)
	h.must(t, ranOut+9, market.DepositDeployment{ID: id, Depositor: "tenant", Amount: market.NewCoin("uakt", 1000)}, nil)
	h.must(t, ranOut+10, nil)
	l, err := h.Leases.Get(benchBid(1).ID.Lease())
	require.NoError(t, err)
	assert.Equal(t, market.LeaseActive, l.State)
	h.must(t, ranOut+10, market.WithdrawLease{ID: l.ID})
	assert.Equal(t, fmt.Sprint(10*(ranOut+10-1)), h.payment(t, 1).Withdrawn.String(), "every block is paid, those of the grace too")
}

// In the reference, a rate below one unit settled in every block earns nothing.
func TestFractionsAreNotLostHoweverOftenOneSettles(t *testing.T) {
	earned := func(every int64) string {
		h := newHost(market.DefaultParams("uakt"))
		bid := benchBid(1)
		bid.Price.AmountPerBlock, _ = market.ParseDecimal("0.9")
		h.must(t, 1, market.CreateProvider{Provider: market.Provider{Owner: "provider", HostURI: "https://p.example"}},
			benchDeployment(1), bid, market.CreateLease{ID: bid.ID})
		for height := 1 + every; height <= 1001; height += every {
			h.must(t, height, market.WithdrawLease{ID: bid.ID.Lease()})
		}
		h.must(t, 1001, market.CloseDeployment{ID: bid.ID.DeploymentID})
		return h.payment(t, 1).Withdrawn.String()
	}
	for _, every := range []int64{1, 2, 3, 10, 1000} {
		assert.Equal(t, "900", earned(every), "settled every %d blocks", every)
	}
}

// In the reference, short funds go to payments in the order of their keys: the
// first takes all, the last nothing.
func TestShortFundsAreSharedInProportion(t *testing.T) {
	h := newHost(market.DefaultParams("uakt"))
	h.Params.GraceBlocks = 10
	d, bid, other := benchDeployment(1), benchBid(1), benchBid(1)
	d.Groups[0].Units[0].Price.AmountPerBlock = market.NewDecimal(300_000)
	second := d.Groups[0].Clone()
	second.Name = "second"
	d.Groups = append(d.Groups, second)
	other.ID.GSeq = 2
	bid.Price.AmountPerBlock, other.Price.AmountPerBlock = market.NewDecimal(300_000), market.NewDecimal(300_000)
	h.must(t, 1, market.CreateProvider{Provider: market.Provider{Owner: "provider", HostURI: "https://p.example"}},
		d, bid, other, market.CreateLease{ID: bid.ID}, market.CreateLease{ID: other.ID})
	h.must(t, 2, nil)
	for _, id := range []market.BidID{bid.ID, other.ID} {
		p, err := h.Payments.Get(id.Lease())
		require.NoError(t, err)
		assert.Equal(t, "250000", p.Balance.String())
		assert.Equal(t, "50000", p.Unpaid.String())
	}
}

// In the reference, a group of a closed deployment can be started.
func TestAGroupOfAClosedDeploymentCannotBeStarted(t *testing.T) {
	h := leasedHost(t, 1)
	id := benchDeployment(1).ID
	group := market.GroupID{DeploymentID: id, GSeq: 1}
	h.must(t, 5, market.PauseGroup{ID: group}, market.CloseDeployment{ID: id})
	_, err := h.step(6, market.StartGroup{ID: group}, 0)
	require.ErrorIs(t, err, market.ErrState)
}

// In the reference, a bid that was withdrawn bars its provider from the order
// for ever.
func TestAProviderMayBidAgainAfterAWithdrawal(t *testing.T) {
	h := newHost(market.DefaultParams("uakt"))
	h.must(t, 1, market.CreateProvider{Provider: market.Provider{Owner: "provider", HostURI: "https://p.example"}},
		benchDeployment(1), benchBid(1), market.CloseBid{ID: benchBid(1).ID}, benchBid(1), market.CreateLease{ID: benchBid(1).ID})
	require.NoError(t, machine.Check(h.State, h.purse.pot))
}

// In the reference, an offer that names a unit twice is a nil dereference.
func TestAnOfferThatNamesAUnitTwiceIsRefused(t *testing.T) {
	h := newHost(market.DefaultParams("uakt"))
	h.must(t, 1, market.CreateProvider{Provider: market.Provider{Owner: "provider", HostURI: "https://p.example"}}, benchDeployment(1))
	bid := benchBid(1)
	one := market.UnitPrice{Unit: 1, AmountPerBlock: market.NewDecimal(3)}
	for _, units := range [][]market.UnitPrice{{one, one}, {{Unit: 2, AmountPerBlock: one.AmountPerBlock}}} {
		bid.Units = units
		_, err := h.step(1, bid, 0)
		require.ErrorIs(t, err, market.ErrInvalid)
	}
}

// In the reference, deleting a provider is not implemented.
func TestAProviderWithoutLeasesCanBeDeleted(t *testing.T) {
	h := leasedHost(t, 1)
	_, err := h.step(2, market.DeleteProvider{Owner: "provider"}, 0)
	require.ErrorIs(t, err, market.ErrState)
	h.must(t, 2, market.CloseDeployment{ID: benchDeployment(1).ID}, market.DeleteProvider{Owner: "provider"})
	_, err = h.Providers.Get("provider")
	require.ErrorIs(t, err, market.ErrNotFound)
}

// In the reference, who listens to the results of transactions misses leases
// that end because the funds do.
func TestALeaseThatEndsByItselfIsAnEvent(t *testing.T) {
	h := leasedHost(t, 1)
	ranOut := int64(1 + 50_000 + 1)
	events, err := h.EndBlock(machine.Moment{Height: ranOut})
	require.NoError(t, err)
	assert.Contains(t, events, market.Event{Kind: market.EventLeaseClosed, ID: benchBid(1).ID.Lease()})
}

// In the reference, the counts of a running deployment are there for life.
func TestARunningLeaseIsScaledInPlace(t *testing.T) {
	h := newHost(market.DefaultParams("uakt"))
	d, bid := benchDeployment(1), benchBid(1)
	d.Groups[0].Units[0].MinCount, d.Groups[0].Units[0].MaxCount = 1, 10
	bid.Units = []market.UnitPrice{{Unit: 1, AmountPerBlock: bid.Price.AmountPerBlock}}
	id := bid.ID.Lease()
	h.must(t, 1, market.CreateProvider{Provider: market.Provider{Owner: "provider", HostURI: "https://p.example"}}, d, bid, market.CreateLease{ID: bid.ID})
	h.must(t, 11, market.ScaleLease{ID: id, Counts: []market.UnitCount{{Unit: 1, Count: 10}}})
	h.must(t, 21, market.ConfirmScale{ID: id, Number: 1})
	h.must(t, 31, market.CloseDeployment{ID: d.ID})
	assert.Equal(t, fmt.Sprint(20*3+10*30), h.payment(t, 1).Withdrawn.String(), "the new price holds from the confirmation on")
}
