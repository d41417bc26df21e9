package node_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	cmtv1beta1 "cosmossdk.io/api/cosmos/base/tendermint/v1beta1"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market/chain/app"
	"github.com/moorage-dev/moorage/market/chain/node"
)

// free returns an address that nothing listens on.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

// validatorInterval is the pause between blocks of several validators.
const validatorInterval = 50 * time.Millisecond

// validators prepares the homes of validators of one chain, each with all
// others as peers.
func validators(t *testing.T, n int) []node.Config {
	t.Helper()
	configs := make([]node.Config, n)
	peers := make([]string, n)
	g := genesis("four-1")
	for i := range configs {
		home := t.TempDir()
		id, err := node.InitKeys(home)
		require.NoError(t, err)
		g.Validators = append(g.Validators, app.Validator{Moniker: fmt.Sprintf("validator %d", i), Key: id.ValidatorKey})
		configs[i] = node.Config{Home: home, P2PAddress: free(t), BlockInterval: validatorInterval}
		peers[i] = id.PeerID + "@" + configs[i].P2PAddress
	}
	maker, err := app.New(dbm.NewMemDB(), app.Config{})
	require.NoError(t, err)
	doc, err := maker.NewGenesis(g)
	require.NoError(t, err)
	for i := range configs {
		require.NoError(t, node.Join(configs[i].Home, doc))
		for j, p := range peers {
			if j != i {
				configs[i].Peers = append(configs[i].Peers, p)
			}
		}
	}
	return configs
}

// appHash returns the hash of the state that a block of a height led to.
func appHash(t *testing.T, n *node.Node, height int64) []byte {
	t.Helper()
	conn, err := n.Dial()
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.Eventually(t, func() bool { return n.Height() > height }, patience, 10*time.Millisecond)
	b, err := cmtv1beta1.NewServiceClient(conn).GetBlockByHeight(t.Context(), &cmtv1beta1.GetBlockByHeightRequest{Height: height + 1})
	require.NoError(t, err)
	return b.GetSdkBlock().GetHeader().GetAppHash()
}

// startAll starts nodes together: none is ready before most are there.
func startAll(t *testing.T, configs []node.Config) []*node.Node {
	t.Helper()
	nodes := make([]*node.Node, len(configs))
	for i, c := range configs {
		nodes[i], _ = begin(t, c)
	}
	for i, n := range nodes {
		select {
		case <-n.Ready():
		case <-time.After(patience):
			t.Fatalf("validator %d is not ready in time", i)
		}
	}
	return nodes
}

func TestFourValidatorsAgreeWhenOneIsKilledAndComesBack(t *testing.T) {
	configs := validators(t, 4)
	nodes := startAll(t, configs[:3])
	fourth, _ := spawn(t, configs[3].Home, childP2P+"="+configs[3].P2PAddress, childPeers+"="+strings.Join(configs[3].Peers, ","))
	c := dial(t, nodes[0], account("tenant"))
	_, err := c.Submit(t.Context(), deployment(c, 1))
	require.NoError(t, err)
	require.NoError(t, fourth.Process.Kill())
	_ = fourth.Wait()
	var last int64
	for dseq := range uint64(3) {
		receipt, err := c.Submit(t.Context(), deployment(c, dseq+2))
		require.NoError(t, err, "three of four make blocks")
		last = receipt.Height
	}
	back, _ := start(t, configs[3])
	elsewhere := dial(t, back, account("provider"))
	require.Eventually(t, func() bool { return back.Height() > last }, patience, 10*time.Millisecond)
	_, err = elsewhere.Deployment(t.Context(), deployment(c, 4).ID)
	require.NoError(t, err)
	receipt, err := elsewhere.Submit(t.Context(), deployment(elsewhere, 1))
	require.NoError(t, err)
	want := appHash(t, nodes[0], receipt.Height)
	for _, n := range []*node.Node{nodes[1], nodes[2], back} {
		assert.Equal(t, want, appHash(t, n, receipt.Height))
	}
}
