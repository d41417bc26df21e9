package node_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/app"
	"github.com/moorage-dev/moorage/market/chain/client"
	"github.com/moorage-dev/moorage/market/chain/keys"
	"github.com/moorage-dev/moorage/market/chain/node"
)

func TestMain(m *testing.M) {
	if err := app.ConfigureAddresses(app.DefaultAddressPrefix); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if config := os.Getenv(childConfig); config != "" {
		child(config)
	}
	os.Exit(m.Run())
}

// patience bounds the waiting for something that takes a moment.
const patience = time.Minute

func account(name string) *keys.Key { return keys.FromSeed(name, "node test "+name) }

func genesis(chainID string) app.Genesis {
	g := app.Genesis{ChainID: chainID, Market: market.DefaultParams("uakt")}
	for _, name := range []string{"tenant", "provider"} {
		g.Accounts = append(g.Accounts, app.Account{
			Address: account(name).Address(), Coins: market.Coins{market.NewCoin("uakt", 100_000_000)},
		})
	}
	return g
}

// begin runs a node until the test or the returned function ends it.
func begin(t *testing.T, c node.Config) (*node.Node, func()) {
	t.Helper()
	if c.BlockInterval == 0 {
		c.BlockInterval = 20 * time.Millisecond
	}
	n, err := node.New(c)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
	t.Cleanup(stop)
	return n, stop
}

// start runs a node and waits until it makes blocks.
func start(t *testing.T, c node.Config) (*node.Node, func()) {
	t.Helper()
	n, stop := begin(t, c)
	select {
	case <-n.Ready():
	case <-time.After(patience):
		t.Fatal("the node is not ready in time")
	}
	return n, stop
}

func dial(t *testing.T, n *node.Node, k *keys.Key) *client.Client {
	t.Helper()
	conn, err := n.Dial()
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	c, err := client.New(conn, client.Config{Signer: k, Poll: 5 * time.Millisecond})
	require.NoError(t, err)
	return c
}

func deployment(c *client.Client, dseq uint64) market.CreateDeployment {
	price, _ := market.ParseDecimal("1.5")
	return market.CreateDeployment{
		ID: market.DeploymentID{Owner: c.Address(), DSeq: dseq}, Hash: market.Hash{1}, Deposit: market.NewCoin("uakt", 500_000),
		Groups: []market.GroupSpec{{Name: "web", Units: []market.ResourceUnit{{
			Resources: market.Resources{ID: 1, CPU: market.CPU{MilliCores: 100}, Memory: market.Memory{Bytes: 1 << 26}},
			Count:     1, Price: market.Price{Denom: "uakt", AmountPerBlock: price},
		}}}},
	}
}

func TestANodeInMemoryServesAClient(t *testing.T) {
	n, stop := start(t, node.Config{Genesis: genesis("memory-1")})
	tenant := dial(t, n, account("tenant"))
	began := time.Now()
	receipt, err := tenant.Submit(t.Context(), deployment(tenant, 7))
	require.NoError(t, err)
	t.Logf("submitted and found after %s, block %d", time.Since(began), receipt.Height)
	head, err := tenant.Head(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "memory-1", head.ChainID)
	assert.GreaterOrEqual(t, head.Height, receipt.Height)
	assert.Equal(t, "memory-1", n.ChainID())
	orders, _, err := tenant.Orders(t.Context(), market.OrderFilter{State: market.OrderOpen}, market.Page{})
	require.NoError(t, err)
	require.Len(t, orders, 1)
	for b, err := range tenant.Watch(t.Context(), 1) {
		require.NoError(t, err)
		if b.Height == receipt.Height {
			assert.Len(t, b.Events, 2)
			break
		}
		assert.Empty(t, b.Events)
	}
	stop()
}

func TestAHomeGoesOnAfterAStop(t *testing.T) {
	home := t.TempDir()
	n, stop := start(t, node.Config{Home: home, Genesis: genesis("kept-1")})
	tenant := dial(t, n, account("tenant"))
	receipt, err := tenant.Submit(t.Context(), deployment(tenant, 1))
	require.NoError(t, err)
	stop()
	for round := range 3 {
		n, stop := start(t, node.Config{Home: home})
		assert.Equal(t, "kept-1", n.ChainID())
		tenant := dial(t, n, account("tenant"))
		head, err := tenant.Head(t.Context())
		require.NoError(t, err)
		assert.Greater(t, head.Height, receipt.Height)
		list, _, err := tenant.Deployments(t.Context(), market.DeploymentFilter{}, market.Page{})
		require.NoError(t, err)
		assert.Len(t, list, round+1)
		receipt, err = tenant.Submit(t.Context(), deployment(tenant, uint64(round+2)))
		require.NoError(t, err)
		stop()
	}
}

func TestTwoChainsRunInOneProcess(t *testing.T) {
	a, _ := start(t, node.Config{Genesis: genesis("left-1")})
	b, _ := start(t, node.Config{Genesis: genesis("right-1")})
	left, right := dial(t, a, account("tenant")), dial(t, b, account("tenant"))
	_, err := left.Submit(t.Context(), deployment(left, 1))
	require.NoError(t, err)
	_, err = right.Deployment(t.Context(), market.DeploymentID{Owner: right.Address(), DSeq: 1})
	require.ErrorIs(t, err, market.ErrNotFound)
}

func TestASecondNodeOnAHomeIsRefused(t *testing.T) {
	home := t.TempDir()
	start(t, node.Config{Home: home, Genesis: genesis("locked-1")})
	second, err := node.New(node.Config{Home: home})
	require.NoError(t, err)
	err = second.Run(t.Context())
	require.ErrorIs(t, err, node.ErrHomeInUse)
	assert.ErrorContains(t, err, fmt.Sprintf("process %d", os.Getpid()))
	_, err = node.Export(node.Config{Home: home}, "other-1")
	require.ErrorIs(t, err, node.ErrHomeInUse)
}

func TestAnOccupiedAddressIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	taken := l.Addr().String()
	for field, c := range map[string]node.Config{
		"GRPCAddress": {GRPCAddress: taken}, "RESTAddress": {RESTAddress: taken},
		"RPCAddress": {RPCAddress: taken}, "P2PAddress": {P2PAddress: taken},
	} {
		c.Genesis = genesis("taken-1")
		n, err := node.New(c)
		require.NoError(t, err)
		err = n.Run(t.Context())
		require.ErrorIs(t, err, node.ErrAddressInUse)
		assert.ErrorContains(t, err, field)
		assert.ErrorContains(t, err, taken)
	}
}

func TestWrongConfigurationsAreReportedTogether(t *testing.T) {
	_, err := node.New(node.Config{BlockInterval: -1, GRPCAddress: "nowhere"})
	require.ErrorContains(t, err, "block interval")
	require.ErrorContains(t, err, "GRPCAddress")
	n, err := node.New(node.Config{Genesis: app.Genesis{Accounts: []app.Account{{Address: "nobody"}}}})
	require.NoError(t, err)
	err = n.Run(t.Context())
	require.ErrorContains(t, err, "chain id")
	require.ErrorContains(t, err, "nobody")
	require.ErrorContains(t, n.Run(t.Context()), "only once")
}

func TestAHomeOfAnotherChainIsRefused(t *testing.T) {
	home := t.TempDir()
	id, err := node.Init(node.Config{Home: home, Genesis: genesis("mine-1")})
	require.NoError(t, err)
	assert.Equal(t, "mine-1", id.ChainID)
	assert.FileExists(t, id.Genesis)
	again, err := node.Init(node.Config{Home: home})
	require.NoError(t, err)
	assert.Equal(t, id, again, "a home keeps what it has")
	n, err := node.New(node.Config{Home: home, Genesis: genesis("yours-1")})
	require.NoError(t, err)
	require.ErrorContains(t, n.Run(t.Context()), `holds chain "mine-1"`)
}

func TestBrokenKeyFilesAreErrors(t *testing.T) {
	home := t.TempDir()
	_, err := node.Init(node.Config{Home: home, Genesis: genesis("broken-1")})
	require.NoError(t, err)
	state := filepath.Join(home, "data", "priv_validator_state.json")
	require.NoError(t, os.Rename(state, state+".gone"))
	n, err := node.New(node.Config{Home: home})
	require.NoError(t, err)
	require.ErrorContains(t, n.Run(t.Context()), "might sign twice")
	require.NoError(t, os.Rename(state+".gone", state))
	require.NoError(t, os.WriteFile(filepath.Join(home, "config", "priv_validator_key.json"), []byte("{"), 0o600))
	n, err = node.New(node.Config{Home: home})
	require.NoError(t, err)
	require.ErrorContains(t, n.Run(t.Context()), "validator key")
}

func TestServersListenOnTCP(t *testing.T) {
	n, _ := start(t, node.Config{
		Genesis:     genesis("open-1"),
		GRPCAddress: "127.0.0.1:0", RESTAddress: "127.0.0.1:0", RPCAddress: "127.0.0.1:0",
	})
	a := n.Addresses()
	conn, err := client.Dial(a.GRPC, nil)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	c, err := client.New(conn, client.Config{Signer: account("tenant")})
	require.NoError(t, err)
	_, err = c.Submit(t.Context(), deployment(c, 1))
	require.NoError(t, err)

	var rest struct {
		Deployments []struct {
			ID    struct{ Owner, Dseq string }
			State string
		}
	}
	get(t, "http://"+a.REST+"/moorage/market/v1/deployments?state=1", &rest)
	require.Len(t, rest.Deployments, 1)
	assert.Equal(t, string(c.Address()), rest.Deployments[0].ID.Owner)
	assert.Equal(t, "DEPLOYMENT_STATE_ACTIVE", rest.Deployments[0].State)

	var status struct {
		Result struct {
			NodeInfo struct{ Network string } `json:"node_info"`
		}
	}
	get(t, "http://"+a.RPC+"/status", &status)
	assert.Equal(t, "open-1", status.Result.NodeInfo.Network)
}

func get(t *testing.T, url string, into any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, res.StatusCode, string(body))
	require.NoError(t, json.Unmarshal(body, into), string(body))
}

func TestAStoppedHomeCanBeExported(t *testing.T) {
	home := t.TempDir()
	n, stop := start(t, node.Config{Home: home, Genesis: genesis("old-1")})
	tenant := dial(t, n, account("tenant"))
	_, err := tenant.Submit(t.Context(), deployment(tenant, 1))
	require.NoError(t, err)
	before, err := tenant.Balances(t.Context(), tenant.Address())
	require.NoError(t, err)
	stop()
	g, err := node.Export(node.Config{Home: home}, "new-1")
	require.NoError(t, err)

	next := t.TempDir()
	key, err := os.ReadFile(filepath.Join(home, "config", "priv_validator_key.json"))
	require.NoError(t, err)
	_, err = node.InitKeys(next)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(next, "config", "priv_validator_key.json"), key, 0o600))
	require.NoError(t, node.Join(next, g))
	n, _ = start(t, node.Config{Home: next})
	assert.GreaterOrEqual(t, n.Height(), g.InitialHeight)
	tenant = dial(t, n, account("tenant"))
	d, err := tenant.Deployment(t.Context(), market.DeploymentID{Owner: tenant.Address(), DSeq: 1})
	require.NoError(t, err)
	assert.Equal(t, market.DeploymentActive, d.State)
	after, err := tenant.Balances(t.Context(), tenant.Address())
	require.NoError(t, err)
	assert.Equal(t, before, after)
}
