package keeper_test

import (
	"fmt"
	"os"
	goruntime "runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cosmossdk.io/log/v2"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/cosmos/cosmos-sdk/codec/address"
	"github.com/cosmos/cosmos-sdk/runtime"
	pruningtypes "github.com/cosmos/cosmos-sdk/store/v2/pruning/types"
	"github.com/cosmos/cosmos-sdk/store/v2/rootmulti"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/x/market/keeper"
	"github.com/moorage-dev/moorage/market/machine"
)

// committed is a keeper on a committed store: pebble on disk and IAVL above, as
// in a node.
type committed struct {
	*keeper.Keeper
	bank   *bank
	store  *rootmulti.Store
	height int64
}

func newCommitted(b *testing.B) *committed {
	b.Helper()
	db, err := dbm.NewDB("bench", dbm.PebbleDBBackend, b.TempDir())
	require.NoError(b, err)
	b.Cleanup(func() { _ = db.Close() })
	key := storetypes.NewKVStoreKey(keeper.StoreKey)
	c := &committed{bank: &bank{balances: make(map[string]sdk.Coins)}, store: rootmulti.NewStore(db, log.NewNopLogger())}
	c.store.SetPruning(pruningtypes.NewPruningOptions(pruningtypes.PruningNothing))
	c.store.SetIAVLSyncPruning(true)
	c.store.MountStoreWithDB(key, storetypes.StoreTypeIAVL, nil)
	require.NoError(b, c.store.LoadLatestVersion())
	c.Keeper, err = keeper.New(keeper.Config{
		Store: runtime.NewKVStoreService(key), Bank: c.bank, Accounts: c.bank, Addresses: address.NewBech32Codec(prefix()),
		FeeCollector: "fees", Authority: authority,
	})
	require.NoError(b, err)
	ctx, write := c.block()
	params := market.DefaultParams("uakt")
	params.OrderLifetimeBlocks = 1_000_000
	require.NoError(b, c.SetParams(ctx, params))
	write()
	return c
}

// block returns a context for the messages of one block, and what commits it.
func (c *committed) block() (sdk.Context, func()) {
	cache := c.store.CacheMultiStore()
	c.height++
	ctx := sdk.NewContext(cache, cmtproto.Header{}, false, log.NewNopLogger()).WithBlockHeight(c.height).WithBlockTime(time.Unix(1_800_000_000+c.height, 0))
	return ctx, func() {
		cache.Write()
		c.store.Commit()
	}
}

// load writes n deployments of many owners straight into the tables, as a
// genesis does, with a commit for each part.
func (c *committed) load(b *testing.B, n int) {
	b.Helper()
	const part = 20_000
	template := newFixture(b)
	owner := template.fund("template")
	require.NoError(b, template.do(order(owner, 1)))
	one, err := machine.Export(template.State(template.ctx))
	require.NoError(b, err)
	for from := 0; from < n; from += part {
		var g machine.Genesis
		for i := from; i < min(n, from+part); i++ {
			text, _ := addressOf(fmt.Sprintf("o%d", i/100))
			appendAs(&g, one, market.DeploymentID{Owner: text, DSeq: uint64(i%100 + 1)})
		}
		ctx, commit := c.block()
		require.NoError(b, machine.Import(c.State(ctx), g))
		commit()
	}
}

// appendAs appends the rows of one deployment under another ID.
func appendAs(to *machine.Genesis, one machine.Genesis, id market.DeploymentID) {
	d, g, o, a := one.Deployments[0], one.Groups[0], one.Orders[0], one.Accounts[0]
	d.ID, a.ID = id, id
	g.ID.DeploymentID, o.ID.DeploymentID = id, id
	o.ExpiresAt = 1_000_000
	to.Deployments, to.Groups = append(to.Deployments, d), append(to.Groups, g)
	to.Orders, to.Accounts = append(to.Orders, o), append(to.Accounts, a)
}

// existing are the numbers of deployments that are there before; the variable
// MOORAGE_BENCH_EXISTING names others, as "0,10000,1000000".
func existing(b *testing.B) []int {
	b.Helper()
	text := os.Getenv("MOORAGE_BENCH_EXISTING")
	if text == "" {
		return []int{0, 10_000}
	}
	var out []int
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(part)
		require.NoError(b, err)
		out = append(out, n)
	}
	return out
}

// BenchmarkMessagesOnACommittedStore carries out lives of deployments, four
// messages each (create, bid, lease, close), a thousand messages a block. The
// metrics tell the messages apart from the commit of the block, whose cost is
// that of IAVL's tree and grows with its depth.
func BenchmarkMessagesOnACommittedStore(b *testing.B) {
	for _, n := range existing(b) {
		b.Run(fmt.Sprintf("existing=%d", n), func(b *testing.B) {
			c := newCommitted(b)
			c.load(b, n)
			c.measure(b)
		})
	}
}

const (
	livesPerBlock   = 250
	messagesPerLife = 4
)

func (c *committed) measure(b *testing.B) {
	b.Helper()
	rich := func(name string) market.Address {
		text, raw := addressOf(name)
		c.bank.balances[string(raw)] = sdk.NewCoins(sdk.NewInt64Coin("uakt", 1<<60))
		return text
	}
	owner, seller := rich("bench"), rich("seller")
	ctx, commit := c.block()
	require.NoError(b, c.Execute(ctx, market.CreateProvider{Provider: market.Provider{Owner: seller, HostURI: "https://p.example"}}))
	commit()
	goruntime.LockOSThread() // whose processor time is measured
	defer goruntime.UnlockOSThread()
	var executing, committing time.Duration
	dseq, done := uint64(0), 0
	b.ReportAllocs()
	for b.Loop() {
		ctx, commit := c.block()
		began := threadTime(b)
		for range livesPerBlock {
			dseq++
			for _, m := range life(owner, seller, dseq) {
				inner, write := ctx.CacheContext()
				if err := c.Execute(inner, m); err != nil {
					b.Fatal(err)
				}
				write()
				done++
			}
		}
		if err := c.EndBlock(ctx); err != nil {
			b.Fatal(err)
		}
		executing += threadTime(b) - began
		began = threadTime(b)
		commit()
		committing += threadTime(b) - began
	}
	b.ReportMetric(float64(done)/executing.Seconds(), "messages/cpu-s")
	b.ReportMetric(float64(done)/(executing+committing).Seconds(), "committed/cpu-s")
	b.ReportMetric(float64(executing.Microseconds())/float64(done), "cpu-µs/message")
}

// threadTime returns the processor time that this thread has used: on a shared
// machine it says more than the clock.
func threadTime(b *testing.B) time.Duration {
	b.Helper()
	const thisThread = 1 // RUSAGE_THREAD
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(thisThread, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// life is a deployment from its opening to its end.
func life(owner, seller market.Address, dseq uint64) []market.Msg {
	create := order(owner, dseq)
	bid := market.BidID{OrderID: market.OrderID{GroupID: market.GroupID{DeploymentID: create.ID, GSeq: 1}, OSeq: 1}, Provider: seller}
	return []market.Msg{
		create,
		market.CreateBid{ID: bid, Price: create.Groups[0].Units[0].Price, Deposit: market.NewCoin("uakt", 500_000)},
		market.CreateLease{ID: bid},
		market.CloseDeployment{ID: create.ID},
	}
}
