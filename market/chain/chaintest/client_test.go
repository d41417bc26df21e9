package chaintest_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/app"
	"github.com/moorage-dev/moorage/market/chain/chaintest"
	"github.com/moorage-dev/moorage/market/chain/client"
	"github.com/moorage-dev/moorage/market/chain/keys"
	"github.com/moorage-dev/moorage/market/markettest"
)

// lossy is a connection that drops calls, some before they arrive and some on
// the way back.
type lossy struct {
	grpc.ClientConnInterface
	// methods are parts of the names of those that fail.
	methods []string

	mu  sync.Mutex
	rng *rand.Rand
	// lost counts what was dropped.
	lost int
}

func (l *lossy) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	before, after := l.fate(method)
	if before {
		return status.Error(codes.Unavailable, "the connection broke")
	}
	err := l.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
	if after {
		return status.Error(codes.Unavailable, "the connection broke on the way back")
	}
	return err
}

func (l *lossy) fate(method string) (before, after bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.methods {
		if strings.Contains(method, m) {
			n := l.rng.IntN(8)
			before, after = n == 0, n == 1
		}
	}
	if before || after {
		l.lost++
	}
	return before, after
}

func newLossy(conn grpc.ClientConnInterface, seed uint64, methods ...string) *lossy {
	return &lossy{ClientConnInterface: conn, methods: methods, rng: rand.New(rand.NewPCG(seed, seed))}
}

// lossyWorld gives clients whose connections drop calls.
type lossyWorld struct {
	*world
	conn *lossy
}

func (w lossyWorld) Client(context.Context) (market.Client, error) {
	k := w.free[0]
	w.free = w.free[1:]
	return client.New(w.conn, client.Config{Signer: k, Poll: 5 * time.Millisecond})
}

func TestTheChainConformsOverALossyConnection(t *testing.T) {
	var w lossyWorld
	markettest.Run(t, markettest.Harness{Shared: true, New: func(t *testing.T) markettest.World {
		t.Helper()
		inner := newWorld(t, suiteAccounts, nil)
		w = lossyWorld{inner, newLossy(inner.conn, 7, "BroadcastTx", "GetBlock")}
		return w
	}})
	require.NoError(t, w.chain.Check())
	t.Logf("%d calls lost", w.conn.lost)
	assert.Greater(t, w.conn.lost, 50)
}

func tenant(t *testing.T, w *world, c client.Config) *client.Client {
	t.Helper()
	if c.Signer == nil {
		c.Signer = w.free[0]
		w.free = w.free[1:]
	}
	if c.Poll == 0 {
		c.Poll = 2 * time.Millisecond
	}
	out, err := client.New(w.conn, c)
	require.NoError(t, err)
	return out
}

func deployment(c market.Client, dseq uint64) market.CreateDeployment {
	price, _ := market.ParseDecimal("1.5")
	return market.CreateDeployment{
		ID: market.DeploymentID{Owner: c.Address(), DSeq: dseq}, Hash: market.Hash{1}, Deposit: market.NewCoin("uakt", 500_000),
		Groups: []market.GroupSpec{{Name: "web", Units: []market.ResourceUnit{{
			Resources: market.Resources{ID: 1, CPU: market.CPU{MilliCores: 100}, Memory: market.Memory{Bytes: 1 << 26}},
			Count:     1, Price: market.Price{Denom: "uakt", AmountPerBlock: price},
		}}}},
	}
}

func TestManySubmissionsOfOneAccountShareABlock(t *testing.T) {
	w := newWorld(t, 1, func(c *chaintest.Config) { c.Manual = true })
	c := tenant(t, w, client.Config{})
	const n = 50
	type outcome struct {
		receipt market.Receipt
		err     error
	}
	outcomes := make(chan outcome, n)
	for i := range n {
		go func() { // ends with its submission
			receipt, err := c.Submit(t.Context(), deployment(c, uint64(i+1)))
			outcomes <- outcome{receipt, err}
		}()
	}
	require.Eventually(t, func() bool { return w.chain.Pooled() == n }, 20*time.Second, time.Millisecond)
	require.NoError(t, w.chain.Advance(1))
	seen := make(map[string]bool)
	for range n {
		o := <-outcomes
		require.NoError(t, o.err)
		assert.Equal(t, w.chain.Height(), o.receipt.Height)
		assert.False(t, seen[o.receipt.TxID], "one transaction for two submissions")
		seen[o.receipt.TxID] = true
	}
	require.NoError(t, w.chain.Check())
}

func TestATransactionThatThePoolLostIsSentAgain(t *testing.T) {
	w := newWorld(t, 1, func(c *chaintest.Config) { c.Manual = true })
	c := tenant(t, w, client.Config{Poll: time.Millisecond})
	done := make(chan error, 1)
	go func() {
		_, err := c.Submit(t.Context(), deployment(c, 1))
		done <- err
	}()
	require.Eventually(t, func() bool { return w.chain.Pooled() == 1 }, 20*time.Second, time.Millisecond)
	w.chain.Forget()
	require.NoError(t, w.chain.Advance(1)) // clears what CheckTx remembers, as a new block does
	require.Eventually(t, func() bool { return w.chain.Pooled() == 1 }, 20*time.Second, time.Millisecond)
	require.NoError(t, w.chain.Advance(1))
	require.NoError(t, <-done)
	_, err := c.Deployment(t.Context(), market.DeploymentID{Owner: c.Address(), DSeq: 1})
	require.NoError(t, err)
}

// refusing is a connection on which some calls fail with a status for a while.
type refusing struct {
	grpc.ClientConnInterface
	method string
	code   codes.Code
	left   atomic.Int32
	// last is called with the last failure.
	last func()
}

func (c *refusing) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if strings.Contains(method, c.method) {
		switch n := c.left.Add(-1); {
		case n == 0 && c.last != nil:
			c.last()
			fallthrough
		case n >= 0:
			return status.Error(c.code, "requested block height is bigger than the chain length")
		}
	}
	return c.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
}

func TestOnlyItsResultDecidesOverATransactionThatWasSent(t *testing.T) {
	w := newWorld(t, 1, nil)
	conn := &refusing{ClientConnInterface: w.conn}
	c, err := client.New(conn, client.Config{Signer: w.free[0], Poll: time.Millisecond})
	require.NoError(t, err)
	_, err = c.Submit(t.Context(), deployment(c, 1))
	require.NoError(t, err)
	top := market.DepositDeployment{ID: market.DeploymentID{Owner: c.Address(), DSeq: 1}, Depositor: c.Address(), Amount: market.NewCoin("uakt", 1)}
	done := uint64(500_000)
	for _, conn.method = range []string{"GetBlockByHeight", "GetBlockResults"} {
		for conn.code = codes.Canceled; conn.code <= codes.Unauthenticated; conn.code++ { // all there are
			conn.left.Store(2)
			_, err := c.Submit(t.Context(), top)
			require.NoError(t, err, "%s: %s", conn.method, conn.code)
			done++
			account, err := c.Account(t.Context(), top.ID)
			require.NoError(t, err)
			funds, err := account.Funds()
			require.NoError(t, err)
			require.Equal(t, market.NewAmount(done), funds.Of("uakt"), "carried out once: %s: %s", conn.method, conn.code)
		}
	}
}

func TestAChainThatCannotBeReadLeavesTheOutcomeOpen(t *testing.T) {
	for _, code := range []codes.Code{codes.InvalidArgument, codes.NotFound, codes.Canceled, codes.PermissionDenied, codes.Unavailable} {
		w := newWorld(t, 1, nil)
		ctx, cancel := context.WithCancel(t.Context())
		conn := &refusing{ClientConnInterface: w.conn, method: "GetBlockByHeight", code: code, last: cancel}
		conn.left.Store(3)
		c, err := client.New(conn, client.Config{Signer: w.free[0], Poll: time.Millisecond})
		require.NoError(t, err)
		_, err = c.Submit(ctx, deployment(c, 1))
		require.ErrorIs(t, err, client.ErrOutcomeUnknown, code)
		require.NotErrorIs(t, err, market.ErrUnavailable, code)
		_, err = c.Deployment(t.Context(), market.DeploymentID{Owner: c.Address(), DSeq: 1})
		require.NoError(t, err, "it was carried out")
	}
}

func TestATransactionWhoseTimeIsOverIsCertainNotToHappen(t *testing.T) {
	w := newWorld(t, 1, func(c *chaintest.Config) { c.Manual = true })
	c := tenant(t, w, client.Config{Timeout: 30 * time.Second})
	done := make(chan error, 1)
	go func() {
		_, err := c.Submit(t.Context(), deployment(c, 1))
		done <- err
	}()
	for ended := false; !ended; {
		w.chain.Forget()
		require.NoError(t, w.chain.AdvanceTime(time.Minute))
		select {
		case err := <-done:
			require.ErrorIs(t, err, market.ErrUnavailable)
			ended = true
		case <-time.After(5 * time.Millisecond):
		}
	}
	require.NoError(t, w.chain.Advance(1))
	_, err := c.Deployment(t.Context(), market.DeploymentID{Owner: c.Address(), DSeq: 1})
	require.ErrorIs(t, err, market.ErrNotFound)
}

func TestATransactionOutlivesALongSleepOfTheChain(t *testing.T) {
	w := newWorld(t, 1, func(c *chaintest.Config) { c.Manual = true })
	c := tenant(t, w, client.Config{})
	done := make(chan error, 1)
	go func() {
		_, err := c.Submit(t.Context(), deployment(c, 1))
		done <- err
	}()
	require.Eventually(t, func() bool { return w.chain.Pooled() == 1 }, 20*time.Second, time.Millisecond)
	require.NoError(t, w.chain.AdvanceTime(24*time.Hour)) // as after a day's pause, when the first block has the old time
	require.Eventually(t, func() bool { return w.chain.Pooled() == 1 }, 20*time.Second, time.Millisecond)
	require.NoError(t, w.chain.Advance(1))
	require.NoError(t, <-done)
}

func TestAnEndedWaitLeavesTheOutcomeOpen(t *testing.T) {
	w := newWorld(t, 1, func(c *chaintest.Config) { c.Manual = true })
	c := tenant(t, w, client.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := c.Submit(ctx, deployment(c, 1))
		done <- err
	}()
	require.Eventually(t, func() bool { return w.chain.Pooled() == 1 }, 20*time.Second, time.Millisecond)
	cancel()
	err := <-done
	require.ErrorIs(t, err, client.ErrOutcomeUnknown)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, market.ErrUnavailable)
	require.NoError(t, w.chain.Advance(1))
	_, err = c.Deployment(t.Context(), market.DeploymentID{Owner: c.Address(), DSeq: 1})
	require.NoError(t, err, "it was carried out after all")
}

func TestFeesArePaidAndNamed(t *testing.T) {
	w := newWorld(t, 2, func(c *chaintest.Config) { c.App.MinGasPrices = "0.01uakt" })
	payer := tenant(t, w, client.Config{GasPrice: "0.025uakt"})
	receipt, err := payer.Submit(t.Context(), deployment(payer, 1))
	require.NoError(t, err)
	fee, _ := receipt.Fee.Of("uakt").Uint64()
	assert.Positive(t, fee)
	left, err := payer.Balances(t.Context(), payer.Address())
	require.NoError(t, err)
	assert.Equal(t, market.NewAmount(markettest.Units-500_000-fee), left.Of("uakt"))

	miser := tenant(t, w, client.Config{})
	_, err = miser.Submit(t.Context(), deployment(miser, 1))
	require.ErrorIs(t, err, market.ErrInvalid)
	require.ErrorContains(t, err, "higher gas price")
}

func TestWhatCannotBeSubmittedIsRefusedAtOnce(t *testing.T) {
	w := newWorld(t, 1, nil)
	c := tenant(t, w, client.Config{})
	_, err := c.Submit(t.Context())
	require.ErrorIs(t, err, market.ErrInvalid, "nothing")
	_, err = c.Submit(t.Context(), make([]market.Msg, client.MaxBatch+1)...)
	require.ErrorIs(t, err, market.ErrLimit, "too much")
	stranger := tenant(t, w, client.Config{Signer: keys.New("stranger")})
	_, err = stranger.Submit(t.Context(), deployment(stranger, 1))
	require.ErrorIs(t, err, market.ErrInsufficientFunds, "an account the chain does not know")
	reader, err := client.New(w.conn, client.Config{})
	require.NoError(t, err)
	_, err = reader.Submit(t.Context(), deployment(c, 1))
	require.ErrorIs(t, err, market.ErrUnauthorized, "without a key")
	assert.Empty(t, reader.Address())
	before := w.chain.Height()
	_, err = c.Submit(t.Context(), market.CloseDeployment{ID: market.DeploymentID{Owner: c.Address(), DSeq: 9}})
	require.ErrorIs(t, err, market.ErrNotFound)
	assert.Equal(t, before, w.chain.Height(), "what the market refuses costs no block")
}

func TestWrongConfigurationsAreReportedTogether(t *testing.T) {
	_, err := client.New(nil, client.Config{GasPrice: "cheap", GasPercent: 5, Timeout: time.Hour, Poll: -1})
	for _, part := range []string{"gas price", "gas percent", "timeout", "poll"} {
		require.ErrorContains(t, err, part)
	}
	for _, price := range []string{"0.025", "uakt", "1.2.3uakt", "-1uakt"} {
		_, err := client.New(nil, client.Config{GasPrice: price})
		require.ErrorIs(t, err, market.ErrInvalid, price)
	}
}

func TestAWatchOverALossyConnectionMissesNothing(t *testing.T) {
	w := newWorld(t, 2, nil)
	c := tenant(t, w, client.Config{})
	for dseq := range uint64(20) {
		_, err := c.Submit(t.Context(), deployment(c, dseq+1))
		require.NoError(t, err)
		require.NoError(t, w.chain.Advance(1))
	}
	conn := newLossy(w.conn, 3, "GetBlock", "Status")
	watcher, err := client.New(conn, client.Config{Poll: time.Millisecond})
	require.NoError(t, err)
	next, created := int64(1), 0
	for b, err := range watcher.Watch(t.Context(), 1) {
		require.NoError(t, err)
		require.Equal(t, next, b.Height)
		next++
		for _, e := range b.Events {
			if e.Kind == market.EventDeploymentCreated {
				created++
				assert.Equal(t, uint64(created), e.ID.DSeq)
			}
		}
		if created == 20 {
			break
		}
	}
	assert.Positive(t, conn.lost)
}

func TestAWatchOfDiscardedBlocksEnds(t *testing.T) {
	first := newWorld(t, 1, nil)
	c := tenant(t, first, client.Config{})
	_, err := c.Submit(t.Context(), deployment(c, 1))
	require.NoError(t, err)
	g, err := first.chain.App().Export("later-1")
	require.NoError(t, err)
	later := newWorld(t, 1, func(c *chaintest.Config) { c.Export = g })
	c = tenant(t, later, client.Config{})
	for _, err := range c.Watch(t.Context(), 1) {
		require.ErrorIs(t, err, market.ErrNotFound)
		return
	}
	t.Fatal("the watch ended in silence")
}

func TestAStoppedNodeIsUnavailable(t *testing.T) {
	ks, accounts := funded(1)
	chain, err := chaintest.New(chaintest.Config{Genesis: app.Genesis{Accounts: accounts, Market: markettest.Params()}})
	require.NoError(t, err)
	conn, err := chain.Dial()
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	c, err := client.New(conn, client.Config{Signer: ks[0]})
	require.NoError(t, err)
	require.NoError(t, chain.Close())
	_, err = c.Submit(t.Context(), deployment(c, 1))
	require.ErrorIs(t, err, market.ErrUnavailable)
	_, err = c.Params(t.Context())
	require.ErrorIs(t, err, market.ErrUnavailable)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("over"))
	for _, err := range c.Watch(ctx, 1) {
		t.Fatal("a watch with an ended context yields nothing", err)
	}
}

func ExampleNew() {
	alice := keys.FromSeed("alice", "example")
	chain, err := chaintest.New(chaintest.Config{Genesis: app.Genesis{
		Market:   market.DefaultParams("uakt"),
		Accounts: []app.Account{{Address: alice.Address(), Coins: market.Coins{market.NewCoin("uakt", 1_000_000)}}},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = chain.Close() }()
	conn, _ := chain.Dial()
	defer func() { _ = conn.Close() }()
	c, _ := client.New(conn, client.Config{Signer: alice})
	receipt, err := c.Submit(context.Background(), deployment(c, 1))
	fmt.Println(receipt.Height, err)
	balances, _ := c.Balances(context.Background(), alice.Address())
	fmt.Println(balances.Of("uakt"))
	// Output:
	// 2 <nil>
	// 500000
}
