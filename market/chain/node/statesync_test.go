package node_test

import (
	"path/filepath"
	"testing"
	"time"

	cmtv1beta1 "cosmossdk.io/api/cosmos/base/tendermint/v1beta1"
	genutiltypes "github.com/cosmos/cosmos-sdk/x/genutil/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market/chain/node"
)

// joined gives a home the genesis of another.
func joined(t *testing.T, from string) string {
	t.Helper()
	home := t.TempDir()
	g, err := genutiltypes.AppGenesisFromFile(filepath.Join(from, "config", "genesis.json"))
	require.NoError(t, err)
	require.NoError(t, node.Join(home, g))
	return home
}

func TestANewNodeStartsFromACopyOfTheState(t *testing.T) {
	home := t.TempDir()
	old, _ := start(t, node.Config{
		Home: home, Genesis: genesis("copied-1"), BlockInterval: 100 * time.Millisecond,
		SnapshotEvery: 10, SnapshotKeep: 100, RPCAddress: "127.0.0.1:0",
	})
	tenant := dial(t, old, account("tenant"))
	_, err := tenant.Submit(t.Context(), deployment(tenant, 1))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return old.Height() > 25 }, patience, 10*time.Millisecond)

	height, hash, err := node.TrustedBlock(t.Context(), old.Addresses().RPC)
	require.NoError(t, err)
	c := node.Config{Home: joined(t, home), Peers: []string{old.PeerID()}, StateSync: &node.StateSync{
		Servers: []string{old.Addresses().RPC}, TrustHeight: height, TrustHash: hash,
	}}
	fresh, stop := start(t, c)
	reads := dial(t, fresh, account("provider"))
	d, err := reads.Deployment(t.Context(), deployment(tenant, 1).ID)
	require.NoError(t, err, "what happened before the copy is in it")
	assert.Equal(t, deployment(tenant, 1).Hash, d.Hash)
	requireNoBlock(t, fresh, 5)

	receipt, err := tenant.Submit(t.Context(), deployment(tenant, 2))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return fresh.Height() > receipt.Height }, patience, 10*time.Millisecond)
	_, err = reads.Deployment(t.Context(), deployment(tenant, 2).ID)
	require.NoError(t, err, "it follows the chain")
	assert.Equal(t, appHash(t, old, receipt.Height), appHash(t, fresh, receipt.Height))

	stop()
	_, err = node.Check(node.Config{Home: c.Home})
	require.NoError(t, err)
	c.StateSync = nil
	again, _ := start(t, c)
	assert.Greater(t, again.Height(), receipt.Height, "it goes on with its own blocks")
}

// requireNoBlock makes sure that a node has not carried out a block itself.
func requireNoBlock(t *testing.T, n *node.Node, height int64) {
	t.Helper()
	conn, err := n.Dial()
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = cmtv1beta1.NewServiceClient(conn).GetBlockByHeight(t.Context(), &cmtv1beta1.GetBlockByHeightRequest{Height: height})
	require.ErrorContains(t, err, "lowest height")
}

func TestAStateSyncWithoutTrustIsRefused(t *testing.T) {
	_, err := node.New(node.Config{StateSync: &node.StateSync{TrustPeriod: -1}})
	for _, part := range []string{"RPC address", "one peer", "that you trust", "trust period"} {
		require.ErrorContains(t, err, part)
	}
	_, _, err = node.TrustedBlock(t.Context(), free(t))
	require.ErrorContains(t, err, "newest block")
}
