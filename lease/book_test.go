package lease_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/lease"
	"github.com/moorage-dev/moorage/market"
)

func deployment(dseq uint64) market.DeploymentID {
	return market.DeploymentID{Owner: "tenant", DSeq: dseq}
}

// leaseID returns the lease of a group's first order.
func leaseID(gseq uint32) market.LeaseID {
	group := market.GroupID{DeploymentID: deployment(12), GSeq: gseq}
	return market.LeaseID{OrderID: market.OrderID{GroupID: group, OSeq: 1}, Provider: market.Address(fmt.Sprintf("provider%d", gseq))}
}

func price(tb testing.TB, perBlock string) market.Price {
	tb.Helper()
	d, err := market.ParseDecimal(perBlock)
	require.NoError(tb, err)
	return market.Price{Denom: "uact", AmountPerBlock: d}
}

func uact(n uint64) market.Coin { return market.NewCoin("uact", n) }

// funded returns the book of an account with a deposit by the tenant at height
// 0, and payments for groups 1, 2, and so on.
func funded(tb testing.TB, deposit uint64, prices ...string) *lease.Book {
	tb.Helper()
	b := lease.Open(deployment(12), 0)
	require.NoError(tb, b.Deposit(0, "tenant", uact(deposit)))
	for i, p := range prices {
		require.NoError(tb, b.Start(0, leaseID(uint32(i+1)), price(tb, p)))
	}
	return b
}

func withdraw(tb testing.TB, b *lease.Book, height int64, gseq uint32) string {
	tb.Helper()
	out, err := b.Withdraw(height, leaseID(gseq), 0)
	require.NoError(tb, err)
	return out.Net.Amount.String()
}

func stop(tb testing.TB, b *lease.Book, height int64, gseq uint32) string {
	tb.Helper()
	p, out, err := b.Stop(height, leaseID(gseq), 0)
	require.NoError(tb, err)
	require.Equal(tb, market.AccountClosed, p.State)
	return out.Net.Amount.String()
}

func funds(tb testing.TB, b *lease.Book) string {
	tb.Helper()
	sum, err := b.Account.Funds()
	require.NoError(tb, err)
	return sum.Of("uact").String()
}

// Defect 1 of the reference: with no block between two closings, the second
// payment stayed open and went on charging.
func TestASecondLeaseClosedInTheSameBlockStopsCharging(t *testing.T) {
	b := funded(t, 100_000, "10", "10")
	assert.Equal(t, "1000", stop(t, b, 100, 1))
	assert.Equal(t, "1000", stop(t, b, 100, 2))
	assert.Empty(t, b.Payments)
	require.NoError(t, b.Settle(1100))
	assert.Equal(t, "98000", funds(t, b))
	_, err := b.Withdraw(1100, leaseID(2), 0)
	assert.ErrorIs(t, err, market.ErrNotFound, "a closed payment must not pay again")
}

// Defect 3: withdrawing twice in a block panicked.
func TestWithdrawingTwiceInABlockPaysOnce(t *testing.T) {
	b := funded(t, 100_000, "10")
	assert.Equal(t, "500", withdraw(t, b, 50, 1))
	assert.Equal(t, "0", withdraw(t, b, 50, 1))
	assert.Equal(t, "10", withdraw(t, b, 51, 1))
}

// Defect 4: rates below a unit were cut off at each settlement, so that 0.9 per
// block settled in every block for 1000 blocks earned nothing.
func TestAPriceBelowOneUnitEarnsTheSameHoweverOftenItIsSettled(t *testing.T) {
	for _, every := range []int64{1, 2, 3, 10, 999, 1000} {
		b := funded(t, 100_000, "0.9")
		for h := every; h < 1000; h += every {
			require.NoError(t, b.Settle(h))
		}
		assert.Equal(t, "900", stop(t, b, 1000, 1), "settled every %d blocks", every)
		assert.Equal(t, "99100", funds(t, b))
	}
}

// Defect 5: short funds went to the payment whose key came first.
func TestShortFundsAreSharedInProportion(t *testing.T) {
	b := funded(t, 1500, "1000", "1000")
	require.NoError(t, b.Settle(1))
	assert.Equal(t, market.AccountOverdrawn, b.Account.State)
	assert.EqualValues(t, 1, b.Account.OverdrawnAt)
	assert.Equal(t, "750", withdraw(t, b, 1, 1))
	assert.Equal(t, "750", withdraw(t, b, 1, 2))
	assert.Equal(t, "250", b.Payments[0].Unpaid.String())

	b = funded(t, 10, "1", "2", "30")
	require.NoError(t, b.Settle(1))
	assert.Equal(t, "0", withdraw(t, b, 1, 1), "10·1/33 = 0.30")
	assert.Equal(t, "1", withdraw(t, b, 1, 2), "10·2/33 = 0.61, the largest remainder")
	assert.Equal(t, "9", withdraw(t, b, 1, 3), "10·30/33 = 9.09")
}

// Defect 6: a deposit into an overdrawn account paid the debt, then closed it.
func TestADepositRevivesAnOverdrawnAccount(t *testing.T) {
	b := funded(t, 1000, "100")
	require.NoError(t, b.Settle(15))
	require.Equal(t, market.AccountOverdrawn, b.Account.State)
	require.EqualValues(t, 11, b.Account.OverdrawnAt, "the block that could not be paid")
	require.Equal(t, "500", b.Payments[0].Unpaid.String())

	require.NoError(t, b.Deposit(16, "tenant", uact(599)))
	assert.Equal(t, market.AccountOverdrawn, b.Account.State, "600 are due")
	assert.EqualValues(t, 11, b.Account.OverdrawnAt, "part of the debt buys no new grace")
	require.NoError(t, b.Deposit(16, "tenant", uact(401)))
	assert.Equal(t, market.AccountOpen, b.Account.State)
	assert.EqualValues(t, 0, b.Account.OverdrawnAt)
	assert.Equal(t, "400", funds(t, b))
	assert.Equal(t, "2000", stop(t, b, 20, 1), "all 20 blocks are paid")
}

// Ending a lease does not end what it is owed.
func TestADebtStaysWhenItsPaymentIsStopped(t *testing.T) {
	b := funded(t, 1000, "100", "300")
	require.NoError(t, b.Settle(5)) // 2 blocks of both, 200 in the third
	stop(t, b, 5, 2)
	assert.Equal(t, market.AccountOverdrawn, b.Account.State)
	require.NoError(t, b.Settle(10))
	assert.Equal(t, "750", b.Payments[0].Unpaid.String(), "50 + 7 blocks")
	assert.Equal(t, "750", b.Payments[1].Unpaid.String(), "150 + 2 blocks")
	stop(t, b, 10, 1)
	assert.Zero(t, b.GraceFrom(), "no lease waits for a deposit")
	assert.EqualValues(t, 3, b.Account.OverdrawnAt)
	assert.ErrorIs(t, b.Start(10, leaseID(3), price(t, "1")), market.ErrState)
	_, err := b.Withdraw(10, leaseID(1), 0)
	assert.ErrorIs(t, err, market.ErrNotFound, "it is closed")
	assert.ErrorIs(t, b.Reprice(10, leaseID(1), price(t, "1")), market.ErrNotFound)

	require.NoError(t, b.Deposit(500, "tenant", uact(1001)))
	paid, err := b.Redeem(100)
	require.NoError(t, err)
	require.Len(t, paid, 2)
	assert.Equal(t, "249", paid[0].Payment.Unpaid.String(), "501 of 750: nothing fell due since")
	assert.Equal(t, lease.Payout{Provider: "provider2", Net: uact(495), Fee: uact(5)}, paid[1].Payout)
	assert.Equal(t, "0", funds(t, b))
	require.NoError(t, b.Deposit(501, "friend", uact(600)))
	paid, err = b.Redeem(0)
	require.NoError(t, err)
	assert.Equal(t, "0", paid[0].Payment.Unpaid.String())
	assert.Empty(t, b.Payments)
	assert.Equal(t, market.AccountOpen, b.Account.State)
	assert.Equal(t, "101", funds(t, b))
	require.NoError(t, b.Start(501, leaseID(3), price(t, "1")))
}

func TestADebtEndsWithTheAccount(t *testing.T) {
	b := funded(t, 10, "10")
	require.NoError(t, b.Deposit(0, "friend", market.NewCoin("uakt", 7)))
	stop(t, b, 5, 1)
	refunds, err := b.Close(5)
	require.NoError(t, err)
	assert.Equal(t, []market.Deposit{{Depositor: "friend", Balance: market.NewCoin("uakt", 7)}}, refunds)
	assert.Zero(t, b.Account.OverdrawnAt)
}

func TestWhatIsLeftGoesBackToEachDepositor(t *testing.T) {
	b := lease.Open(deployment(12), 0)
	require.NoError(t, b.Deposit(0, "tenant", uact(100)))
	require.NoError(t, b.Deposit(0, "friend", uact(50)))
	require.NoError(t, b.Deposit(0, "friend", market.NewCoin("uakt", 7)))
	require.NoError(t, b.Deposit(1, "tenant", uact(5)))
	require.NoError(t, b.Start(1, leaseID(1), price(t, "11")))
	assert.Equal(t, "110", stop(t, b, 11, 1))
	b.Account.DueAt = 99
	refunds, err := b.Close(11)
	require.NoError(t, err)
	assert.Equal(t, []market.Deposit{
		{Depositor: "friend", Balance: uact(40)},
		{Depositor: "friend", Balance: market.NewCoin("uakt", 7)},
		{Depositor: "tenant", Height: 1, Balance: uact(5)},
	}, refunds, "the tenant's first 100 are spent, then 10 of the friend's, not what the tenant added later")
	assert.Zero(t, b.Account.DueAt, "nothing is due any more")
	assert.ErrorIs(t, b.Deposit(12, "tenant", uact(1)), market.ErrState)
	_, err = b.Close(12)
	assert.ErrorIs(t, err, market.ErrState)
}

func TestAnAccountWithOpenPaymentsDoesNotClose(t *testing.T) {
	b := funded(t, 1000, "1")
	_, err := b.Close(5)
	assert.ErrorIs(t, err, market.ErrState)
}

func TestAPaymentTouchesOnlyItsOwnDenomination(t *testing.T) {
	b := funded(t, 100, "10")
	require.NoError(t, b.Deposit(0, "tenant", market.NewCoin("uakt", 1000)))
	other := leaseID(2)
	require.NoError(t, b.Start(0, other, market.Price{Denom: "uakt", AmountPerBlock: market.NewDecimal(1)}))
	require.NoError(t, b.Settle(20))
	assert.Equal(t, market.AccountOverdrawn, b.Payments[0].State)
	assert.Equal(t, market.AccountOpen, b.Payments[1].State, "its funds last")
	assert.Equal(t, market.AccountOverdrawn, b.Account.State)
	sum, err := b.Account.Funds()
	require.NoError(t, err)
	assert.Equal(t, market.Coins{market.NewCoin("uakt", 980)}, sum)
	assert.EqualValues(t, 1001, b.RunsOutAt(), "of uakt")
}

func TestTheFeeOfManySmallWithdrawalsIsThatOfOne(t *testing.T) {
	take := func(every int64) (fee, net uint64) {
		b := funded(t, 100_000, "3")
		for h := every; h <= 1000; h += every {
			out, err := b.Withdraw(h, leaseID(1), 250) // 2.5 %
			require.NoError(t, err)
			f, _ := out.Fee.Amount.Uint64()
			n, _ := out.Net.Amount.Uint64()
			fee, net = fee+f, net+n
		}
		return fee, net
	}
	for _, every := range []int64{1, 5, 1000} {
		fee, net := take(every)
		assert.EqualValues(t, 75, fee, "withdrawn every %d blocks", every)
		assert.EqualValues(t, 2925, net)
	}
}

func TestRefusalsOfABook(t *testing.T) {
	b := funded(t, 1000, "100")
	assert.ErrorIs(t, b.Deposit(0, "tenant", uact(0)), market.ErrInvalid)
	assert.ErrorIs(t, b.Start(0, leaseID(1), price(t, "1")), market.ErrExists)
	assert.ErrorIs(t, b.Start(0, leaseID(2), price(t, "0")), market.ErrInvalid)
	require.NoError(t, b.Settle(12))
	assert.ErrorIs(t, b.Settle(11), market.ErrInvalid, "heights do not go back")
	assert.ErrorIs(t, b.Start(12, leaseID(2), price(t, "1")), market.ErrState, "overdrawn")
	_, _, err := b.Stop(12, leaseID(9), 0)
	assert.ErrorIs(t, err, market.ErrNotFound)
}

func TestStrangersCannotFillAllPlacesOfAnAccount(t *testing.T) {
	b := lease.Open(deployment(12), 0)
	for i := range market.MaxDepositors {
		require.NoError(t, b.Deposit(0, market.Address(fmt.Sprintf("stranger%d", i)), uact(1)))
	}
	assert.ErrorIs(t, b.Deposit(0, "onemore", uact(1)), market.ErrLimit)
	assert.NoError(t, b.Deposit(0, "stranger15", uact(1)), "is the last already")
	err := b.Deposit(0, "stranger3", uact(1))
	assert.ErrorIs(t, err, market.ErrLimit, "would be one more, at the back")
	assert.ErrorContains(t, err, "16 deposits of others than its tenant")
	assert.NoError(t, b.Deposit(0, "tenant", uact(1)))
	assert.NoError(t, b.Deposit(0, "tenant", market.NewCoin("uakt", 1)))
}

func TestWhoeverDepositsInTurnsTheNumberIsBounded(t *testing.T) {
	b := lease.Open(deployment(12), 0)
	for i := range 100 {
		for _, denom := range []string{"uact", "uakt"} {
			require.NoError(t, b.Deposit(int64(i), "tenant", market.NewCoin(denom, 1)))
			_ = b.Deposit(int64(i), "friend", market.NewCoin(denom, 1)) // refused in the end
		}
	}
	assert.LessOrEqual(t, len(b.Account.Deposits), 2*market.MaxDepositors+2)
}

func TestABookDoesNotWriteToWhatItWasLoadedFrom(t *testing.T) {
	b := funded(t, 1000, "100", "7")
	account, payments := b.Account.Clone(), append([]market.Payment(nil), b.Payments...)
	loaded := lease.Load(b.Account, b.Payments)
	require.NoError(t, loaded.Deposit(3, "tenant", uact(5)))
	stop(t, loaded, 5, 1)
	require.NoError(t, loaded.Settle(5000))
	assert.Equal(t, account, b.Account)
	assert.Equal(t, payments, b.Payments)
}

func TestAPaymentEndsWhereItsNoticeDoes(t *testing.T) {
	b := funded(t, 1000, "10", "7")
	require.NoError(t, b.EndAt(leaseID(1), 20))
	assert.EqualValues(t, 59, b.RunsOutAt(), "with both going on")
	require.NoError(t, b.Settle(30))
	assert.EqualValues(t, 115, b.RunsOutAt(), "590 for the second alone")
	assert.Equal(t, "200", stop(t, b, 30, 1))
	assert.Equal(t, "210", stop(t, b, 30, 2))
	assert.ErrorIs(t, b.EndAt(leaseID(1), 40), market.ErrNotFound)

	b = funded(t, 95, "10", "1")
	require.NoError(t, b.EndAt(leaseID(1), 12))
	require.NoError(t, b.Settle(100))
	assert.Equal(t, "34", b.Payments[0].Unpaid.String(), "of 120, 8 × 10 and 6 are paid")
	assert.Equal(t, "91", b.Payments[1].Unpaid.String(), "of 100, 8 and 1")
	assert.ErrorIs(t, b.EndAt(leaseID(2), 100), market.ErrInvalid)
}

func TestPricesAtTheEdgeOfTheRange(t *testing.T) {
	b := funded(t, 3, "0.000000000000000001")
	assert.EqualValues(t, 4_000_000_000_000_000_000, b.RunsOutAt())
	require.NoError(t, b.Settle(1_000_000_000_000_000_000))
	assert.Equal(t, "1", withdraw(t, b, 1_000_000_000_000_000_000, 1))

	b = funded(t, 5, "340282366920938463463.374607431768211455")
	assert.EqualValues(t, 1, b.RunsOutAt())
	require.NoError(t, b.Settle(1_000_000_000))
	assert.Equal(t, "5", withdraw(t, b, 1_000_000_000, 1))
}

func TestALeaseEndsOnce(t *testing.T) {
	bid := market.Bid{ID: leaseID(1).Bid(), State: market.BidOpen, Price: price(t, "2")}
	l, err := lease.Begin(bid, 7)
	require.NoError(t, err)
	assert.Equal(t, market.Lease{ID: leaseID(1), State: market.LeaseActive, Price: bid.Price, CreatedAt: 7}, l)
	l, err = lease.End(l, 9, market.ReasonUnstable)
	require.NoError(t, err)
	assert.Equal(t, market.LeaseClosed, l.State)
	assert.EqualValues(t, 9, l.ClosedAt)
	_, err = lease.End(l, 10, market.ReasonTenant)
	assert.ErrorIs(t, err, market.ErrState)

	bid.State = market.BidLost
	_, err = lease.Begin(bid, 7)
	assert.ErrorIs(t, err, market.ErrState)
}

// A lease that is scaled costs each price for the blocks it held, and the
// fraction goes over from one to the next.
func TestAPriceHoldsForItsBlocks(t *testing.T) {
	b := funded(t, 10_000, "0.9")
	require.NoError(t, b.Reprice(103, leaseID(1), price(t, "1.8"))) // 92.7
	require.NoError(t, b.Reprice(103, leaseID(1), price(t, "1.4"))) // holds for no block
	require.NoError(t, b.Reprice(108, leaseID(1), price(t, "0.1"))) // 92.7 + 7
	assert.Equal(t, "99", b.Payments[0].Balance.String())
	assert.Equal(t, "100", stop(t, b, 111, 1)) // + 0.3
	assert.Equal(t, "9900", funds(t, b))
}

func TestAPriceMovesTheHeightAtWhichFundsRunOut(t *testing.T) {
	b := funded(t, 1000, "10")
	assert.EqualValues(t, 101, b.RunsOutAt())
	require.NoError(t, b.Reprice(50, leaseID(1), price(t, "20")))
	assert.EqualValues(t, 50+25+1, b.RunsOutAt())
	require.NoError(t, b.Reprice(50, leaseID(1), price(t, "1")))
	assert.EqualValues(t, 50+500+1, b.RunsOutAt())
}

func TestAPriceMustBeOne(t *testing.T) {
	b := funded(t, 1000, "10")
	require.ErrorIs(t, b.Reprice(5, leaseID(2), price(t, "20")), market.ErrNotFound)
	require.ErrorIs(t, b.Reprice(5, leaseID(1), price(t, "0")), market.ErrInvalid)
	other := price(t, "1")
	other.Denom = "uakt"
	require.ErrorIs(t, b.Reprice(5, leaseID(1), other), market.ErrInvalid)
	require.ErrorIs(t, b.Reprice(4, leaseID(1), price(t, "1")), market.ErrInvalid, "the height went back")
}

func TestNoticeIsGivenOnce(t *testing.T) {
	l := market.Lease{ID: leaseID(1), State: market.LeaseActive, Scale: &market.Scale{Number: 1}}
	closing, err := lease.GiveNotice(l, 100, 20, market.ReasonDecommission)
	require.NoError(t, err)
	assert.Equal(t, market.Lease{ID: leaseID(1), State: market.LeaseClosing, EndsAt: 120, Reason: market.ReasonDecommission}, closing)
	_, err = lease.GiveNotice(closing, 101, 20, market.ReasonDecommission)
	require.ErrorIs(t, err, market.ErrState)
	closed, err := lease.End(closing, 120, market.ReasonDecommission)
	require.NoError(t, err)
	assert.Equal(t, market.Lease{ID: leaseID(1), State: market.LeaseClosed, ClosedAt: 120, Reason: market.ReasonDecommission}, closed)
}
