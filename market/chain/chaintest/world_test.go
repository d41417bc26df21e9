package chaintest_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/app"
	"github.com/moorage-dev/moorage/market/chain/chaintest"
	"github.com/moorage-dev/moorage/market/chain/client"
	"github.com/moorage-dev/moorage/market/chain/keys"
	"github.com/moorage-dev/moorage/market/markettest"
)

func TestMain(m *testing.M) {
	if err := app.ConfigureAddresses(app.DefaultAddressPrefix); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// world is a chain that makes a block with each submission.
type world struct {
	chain *chaintest.Chain
	conn  *grpc.ClientConn
	free  []*keys.Key
	gas   string
}

// funded returns keys and the accounts they have money on.
func funded(n int) ([]*keys.Key, []app.Account) {
	ks := make([]*keys.Key, n)
	accounts := make([]app.Account, n)
	for i := range n {
		ks[i] = keys.FromSeed(fmt.Sprintf("account %d", i), fmt.Sprintf("chaintest account %d", i))
		accounts[i] = app.Account{Address: ks[i].Address(), Coins: markettest.Funds()}
	}
	return ks, accounts
}

func newWorld(t *testing.T, accounts int, change func(*chaintest.Config)) *world {
	t.Helper()
	ks, funds := funded(accounts)
	cfg := chaintest.Config{Genesis: app.Genesis{Accounts: funds, Market: markettest.Params()}}
	if change != nil {
		change(&cfg)
	}
	c, err := chaintest.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	conn, err := c.Dial()
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return &world{chain: c, conn: conn, free: ks}
}

func (w *world) Client(context.Context) (market.Client, error) {
	if len(w.free) == 0 {
		return nil, fmt.Errorf("the world has no more accounts")
	}
	k := w.free[0]
	w.free = w.free[1:]
	return client.New(w.conn, client.Config{Signer: k, GasPrice: w.gas})
}

func (w *world) Advance(_ context.Context, n int) error { return w.chain.Advance(n) }

// suiteAccounts is more than the cases of the suite use together.
const suiteAccounts = 400

func TestTheChainConforms(t *testing.T) {
	var w *world
	markettest.Run(t, markettest.Harness{Shared: true, New: func(t *testing.T) markettest.World {
		t.Helper()
		w = newWorld(t, suiteAccounts, nil)
		return w
	}})
	require.NoError(t, w.chain.Check())
	t.Logf("%d blocks, %d accounts used", w.chain.Height(), suiteAccounts-len(w.free))
}
