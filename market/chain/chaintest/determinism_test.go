package chaintest_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	txtypes "github.com/cosmos/cosmos-sdk/types/tx"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/chaintest"
	"github.com/moorage-dev/moorage/market/chain/client"
	"github.com/moorage-dev/moorage/market/chain/x/market/keeper"
	"github.com/moorage-dev/moorage/market/markettest"
)

// recorder remembers the transactions that went over a connection, and at which
// height.
type recorder struct {
	grpc.ClientConnInterface
	chain *chaintest.Chain

	mu  sync.Mutex
	txs []recorded
}

type recorded struct {
	raw   []byte
	after int64
}

func (r *recorder) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if tx, ok := args.(*txtypes.BroadcastTxRequest); ok && strings.HasSuffix(method, "BroadcastTx") {
		r.mu.Lock()
		r.txs = append(r.txs, recorded{tx.TxBytes, r.chain.Height()})
		r.mu.Unlock()
	}
	return r.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
}

// recordedWorld gives clients whose transactions are recorded.
type recordedWorld struct {
	*world
	recorder *recorder
}

func (w recordedWorld) Client(context.Context) (market.Client, error) {
	k := w.free[0]
	w.free = w.free[1:]
	return client.New(w.recorder, client.Config{Signer: k})
}

func TestTheSameTransactionsLeadToTheSameState(t *testing.T) {
	began := time.Unix(1_800_000_000, 0).UTC()
	fixed := func(c *chaintest.Config) { c.Genesis.Time = began }
	first := newWorld(t, suiteAccounts, fixed)
	w := recordedWorld{first, &recorder{ClientConnInterface: first.conn, chain: first.chain}}
	for _, c := range markettest.Cases() {
		if strings.Contains(c.Name, "side-by-side") || strings.Contains(c.Name, "watch") {
			continue // transactions at once, whose order the recording does not know
		}
		_ = c.Run(t.Context(), w) // its verdict is another test's
	}
	second := newWorld(t, suiteAccounts, fixed)
	txs := txtypes.NewServiceClient(second.conn)
	for _, tx := range w.recorder.txs {
		require.NoError(t, second.chain.Advance(int(tx.after-second.chain.Height())))
		_, err := txs.BroadcastTx(t.Context(), &txtypes.BroadcastTxRequest{TxBytes: tx.raw, Mode: txtypes.BroadcastMode_BROADCAST_MODE_SYNC})
		require.NoError(t, err)
	}
	require.NoError(t, second.chain.Advance(int(first.chain.Height()-second.chain.Height())))
	require.Equal(t, first.chain.Height(), second.chain.Height())
	assert.Equal(t, first.chain.AppHash(), second.chain.AppHash())
	t.Logf("%d transactions in %d blocks", len(w.recorder.txs), first.chain.Height())

	// The same state goes through a genesis and comes back.
	before, err := first.chain.App().Export("later-1")
	require.NoError(t, err)
	third := newWorld(t, 0, func(c *chaintest.Config) { c.Export = before })
	require.NoError(t, third.chain.Check())
	ctx, err := first.chain.Context()
	require.NoError(t, err)
	want, err := first.chain.App().Market().ExportGenesis(ctx)
	require.NoError(t, err)
	ctx, err = third.chain.Context()
	require.NoError(t, err)
	got, err := third.chain.App().Market().ExportGenesis(ctx)
	require.NoError(t, err)
	assert.Equal(t, want, got)
	assert.NotEmpty(t, got.Leases, keeper.ModuleName)
}
