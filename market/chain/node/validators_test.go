package node_test

import (
	"net"
	"testing"
	"time"

	cmtv1beta1 "cosmossdk.io/api/cosmos/base/tendermint/v1beta1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/moorage-dev/moorage/market/chain/client"
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

// appHash returns the hash of the state that a block of a height led to.
func appHash(t *testing.T, n *node.Node, height int64) []byte {
	t.Helper()
	conn, err := n.Dial()
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	return hashOver(t, conn, height)
}

// hashOver is [appHash] over a connection. It waits for the block after.
func hashOver(t *testing.T, conn *grpc.ClientConn, height int64) (hash []byte) {
	t.Helper()
	blocks := cmtv1beta1.NewServiceClient(conn)
	require.Eventually(t, func() bool {
		b, err := blocks.GetBlockByHeight(t.Context(), &cmtv1beta1.GetBlockByHeightRequest{Height: height + 1})
		hash = b.GetSdkBlock().GetHeader().GetAppHash()
		return err == nil
	}, patience, 20*time.Millisecond)
	return hash
}

// TestFourValidatorsAgreeWhenOneIsKilled runs each in a process of its own.
func TestFourValidatorsAgreeWhenOneIsKilled(t *testing.T) {
	configs, err := node.Validators(t.TempDir(), 4, node.Config{
		Genesis: genesis("four-1"), BlockInterval: 50 * time.Millisecond, GRPCAddress: "127.0.0.1:0",
	})
	require.NoError(t, err)
	processes := make([]*process, len(configs))
	for i := range configs {
		configs[i].GRPCAddress = "127.0.0.1:0" // of the others too
		processes[i] = launch(t, configs[i])
	}
	at := make([]string, len(configs))
	for i, p := range processes {
		at[i] = p.ready()
	}
	c := connected(t, at[0], account("tenant"))
	_, err = c.Submit(t.Context(), deployment(c, 1))
	require.NoError(t, err)
	processes[3].kill()
	var last int64
	for dseq := range uint64(3) {
		receipt, err := c.Submit(t.Context(), deployment(c, dseq+2))
		require.NoError(t, err, "three of four make blocks")
		last = receipt.Height
	}
	at[3] = launch(t, configs[3]).ready()
	elsewhere := connected(t, at[3], account("provider"))
	require.Eventually(t, func() bool {
		head, err := elsewhere.Head(t.Context())
		return err == nil && head.Height > last
	}, patience, 10*time.Millisecond)
	_, err = elsewhere.Deployment(t.Context(), deployment(c, 4).ID)
	require.NoError(t, err)
	receipt, err := elsewhere.Submit(t.Context(), deployment(elsewhere, 1))
	require.NoError(t, err)
	hashes := make(map[string]bool)
	for _, address := range at {
		conn, err := client.Dial(address, nil)
		require.NoError(t, err)
		hashes[string(hashOver(t, conn, receipt.Height))] = true
		require.NoError(t, conn.Close())
	}
	assert.Len(t, hashes, 1, "one state, whoever is asked")
}

func TestValidatorsOfAFolderStayAsMany(t *testing.T) {
	dir := t.TempDir()
	c := node.Config{Genesis: genesis("many-1"), GRPCAddress: "127.0.0.1:0"}
	first, err := node.Validators(dir, 3, c)
	require.NoError(t, err)
	require.Len(t, first, 3)
	assert.Empty(t, first[1].GRPCAddress, "the servers are the first's")
	assert.Len(t, first[2].Peers, 2)
	_, err = node.Validators(dir, 2, c)
	require.ErrorContains(t, err, "more than 2")
	again, err := node.Validators(dir, 3, c)
	require.NoError(t, err)
	assert.Equal(t, first[0].Home, again[0].Home)
	_, err = node.Validators(dir, 0, c)
	require.ErrorContains(t, err, "want 1 to")
}
