package memmarket_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/memmarket"
)

func newMarket(t *testing.T, cfg memmarket.Config) *memmarket.Market {
	t.Helper()
	cfg.Balances = map[market.Address]market.Coins{"tenant": {market.NewCoin("uakt", 10_000_000)}}
	m, err := memmarket.New(cfg)
	require.NoError(t, err)
	return m
}

func create(dseq uint64) market.CreateDeployment {
	return market.CreateDeployment{
		ID: market.DeploymentID{Owner: "tenant", DSeq: dseq}, Hash: market.Hash{1}, Deposit: market.NewCoin("uakt", 500_000),
		Groups: []market.GroupSpec{{Name: "web", Units: []market.ResourceUnit{{
			Resources: market.Resources{ID: 1, CPU: market.CPU{MilliCores: 100}, Memory: market.Memory{Bytes: 1 << 20}},
			Count:     1, Price: market.Price{Denom: "uakt", AmountPerBlock: market.NewDecimal(100)},
		}}}},
	}
}

func exists(t *testing.T, m *memmarket.Market, dseq uint64) bool {
	t.Helper()
	_, err := m.Client("observer").Deployment(t.Context(), create(dseq).ID)
	if err != nil {
		require.ErrorIs(t, err, market.ErrNotFound)
	}
	return err == nil
}

func TestASubmissionWaitsForTheNextBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMarket(t, memmarket.Config{})
		done := make(chan market.Receipt)
		go func() {
			receipt, err := m.Client("tenant").Submit(t.Context(), create(1))
			assert.NoError(t, err)
			done <- receipt
		}()
		synctest.Wait()
		assert.False(t, exists(t, m, 1))
		require.NoError(t, m.Advance(1))
		assert.Equal(t, market.Receipt{TxID: "2-0", Height: 2}, <-done)
		assert.True(t, exists(t, m, 1))
	})
}

func TestASubmissionWhoseContextEndsIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMarket(t, memmarket.Config{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := m.Client("tenant").Submit(ctx, create(1))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, market.ErrUnavailable, "certainly not carried out")
		require.NoError(t, m.Advance(2))
		assert.False(t, exists(t, m, 1))
	})
}

func TestRunMakesABlockEveryInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMarket(t, memmarket.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- m.Run(ctx, 6*time.Second) }()
		for b, err := range m.Client("observer").Watch(t.Context(), 0) {
			require.NoError(t, err)
			if b.Height == 601 {
				break
			}
		}
		cancel()
		require.NoError(t, <-ended)
		head, err := m.Client("observer").Head(t.Context())
		require.NoError(t, err)
		assert.EqualValues(t, 601, head.Height)
	})
}

func TestBlocksCarryVirtualTime(t *testing.T) {
	start := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	m := newMarket(t, memmarket.Config{Start: start, BlockTime: 6 * time.Second, ChainID: "here"})
	require.NoError(t, m.Advance(10))
	head, err := m.Client("observer").Head(t.Context())
	require.NoError(t, err)
	assert.Equal(t, market.Head{ChainID: "here", Height: 11, Time: start.Add(time.Minute)}, head)
}

func TestAWatchOfDiscardedBlocksEndsWithNotFound(t *testing.T) {
	m := newMarket(t, memmarket.Config{History: 5})
	require.NoError(t, m.Advance(20))
	for _, err := range m.Client("observer").Watch(t.Context(), 3) {
		require.ErrorIs(t, err, market.ErrNotFound)
	}
	var heights []int64
	for b, err := range m.Client("observer").Watch(t.Context(), 17) {
		require.NoError(t, err)
		heights = append(heights, b.Height)
		if b.Height == 21 {
			break
		}
	}
	assert.Equal(t, []int64{17, 18, 19, 20, 21}, heights)
}

func TestFaults(t *testing.T) {
	lost := errors.New("the answer was lost")
	t.Run("a submission that is dropped is not carried out", func(t *testing.T) {
		m := newMarket(t, memmarket.Config{BlockPerSubmit: true})
		c := m.FaultyClient("tenant", memmarket.Faults{Submit: func([]market.Msg) memmarket.Fate { return memmarket.Fate{Err: market.ErrUnavailable} }})
		_, err := c.Submit(t.Context(), create(1))
		require.ErrorIs(t, err, market.ErrUnavailable)
		assert.False(t, exists(t, m, 1))
	})
	t.Run("a submission that is held back goes into a later block", func(t *testing.T) {
		m := newMarket(t, memmarket.Config{BlockPerSubmit: true})
		c := m.FaultyClient("tenant", memmarket.Faults{Submit: func([]market.Msg) memmarket.Fate { return memmarket.Fate{Delay: 3} }})
		receipt, err := c.Submit(t.Context(), create(1))
		require.NoError(t, err)
		assert.EqualValues(t, 5, receipt.Height)
	})
	t.Run("a lost answer does not undo what was done", func(t *testing.T) {
		m := newMarket(t, memmarket.Config{BlockPerSubmit: true})
		c := m.FaultyClient("tenant", memmarket.Faults{Receipt: func(market.Receipt) error { return lost }})
		_, err := c.Submit(t.Context(), create(1))
		require.ErrorIs(t, err, lost)
		assert.True(t, exists(t, m, 1))
	})
	t.Run("a watch that is cut can be taken up where it ended", func(t *testing.T) {
		m := newMarket(t, memmarket.Config{})
		require.NoError(t, m.Advance(5))
		c := m.FaultyClient("tenant", memmarket.Faults{Watch: func(b market.Block) error {
			if b.Height == 4 {
				return lost
			}
			return nil
		}})
		var last int64
		for b, err := range c.Watch(t.Context(), 2) {
			if err != nil {
				require.ErrorIs(t, err, lost)
				break
			}
			last = b.Height
		}
		assert.EqualValues(t, 3, last)
	})
	t.Run("a read can fail", func(t *testing.T) {
		m := newMarket(t, memmarket.Config{})
		c := m.FaultyClient("tenant", memmarket.Faults{Read: func() error { return market.ErrUnavailable }})
		_, err := c.Head(t.Context())
		require.ErrorIs(t, err, market.ErrUnavailable)
		_, _, err = c.Orders(t.Context(), market.OrderFilter{}, market.Page{})
		require.ErrorIs(t, err, market.ErrUnavailable)
	})
}

func TestNewRefusesWhatIsWrong(t *testing.T) {
	p := market.DefaultParams("uakt")
	p.MaxBids = 0
	_, err := memmarket.New(memmarket.Config{Params: p})
	require.ErrorIs(t, err, market.ErrInvalid)

	m := newMarket(t, memmarket.Config{BlockPerSubmit: true})
	_, err = m.Client("tenant").Submit(t.Context(), create(1))
	require.NoError(t, err)
	g, err := m.Export()
	require.NoError(t, err)
	g.Orders[0].State = market.OrderMatched // without a lease
	_, err = memmarket.New(memmarket.Config{Genesis: g})
	require.ErrorIs(t, err, market.ErrInvalid)
	g.Orders = append(g.Orders, g.Orders[0])
	_, err = memmarket.New(memmarket.Config{Genesis: g})
	require.ErrorIs(t, err, market.ErrExists)
}

func TestAnEmptySubmissionIsRefused(t *testing.T) {
	m := newMarket(t, memmarket.Config{BlockPerSubmit: true})
	_, err := m.Client("tenant").Submit(t.Context())
	require.ErrorIs(t, err, market.ErrInvalid)
}

func TestRulesChangeUnderway(t *testing.T) {
	p := market.DefaultParams("uakt")
	p.GraceBlocks = 5
	m := newMarket(t, memmarket.Config{Params: p, BlockPerSubmit: true})
	require.NoError(t, m.Fund("provider", market.NewCoin("uakt", 1_000_000)))
	tenant, provider := m.Client("tenant"), m.Client("provider")
	msg := create(1)
	msg.Groups[0].Units[0].Price.AmountPerBlock = market.NewDecimal(500_000)
	bid := market.BidID{OrderID: market.OrderID{GroupID: market.GroupID{DeploymentID: msg.ID, GSeq: 1}, OSeq: 1}, Provider: "provider"}
	submit := func(c *memmarket.Client, msg market.Msg) {
		_, err := c.Submit(t.Context(), msg)
		require.NoError(t, err)
	}
	submit(provider, market.CreateProvider{Provider: market.Provider{Owner: "provider", HostURI: "https://p.example"}})
	submit(tenant, msg)
	submit(provider, market.CreateBid{ID: bid, Price: msg.Groups[0].Units[0].Price, Deposit: market.NewCoin("uakt", 500_000)})
	submit(tenant, market.CreateLease{ID: bid}) // pays one block
	require.NoError(t, m.Advance(2))
	account, err := tenant.Account(t.Context(), msg.ID)
	require.NoError(t, err)
	require.Equal(t, market.AccountOverdrawn, account.State)

	// The grace grows while the account is overdrawn: the old end comes, and
	// nothing ends.
	p.GraceBlocks = 9
	require.NoError(t, m.SetParams(p))
	require.NoError(t, m.Advance(5))
	lease, err := tenant.Lease(t.Context(), bid.Lease())
	require.NoError(t, err)
	require.Equal(t, market.LeaseActive, lease.State)
	require.NoError(t, m.Advance(4))
	lease, err = tenant.Lease(t.Context(), bid.Lease())
	require.NoError(t, err)
	assert.Equal(t, market.LeaseClosed, lease.State)
	assert.Equal(t, account.OverdrawnAt+9, lease.ClosedAt)
	require.NoError(t, m.Check())

	p.MaxBids = 0
	require.ErrorIs(t, m.SetParams(p), market.ErrInvalid)
}
