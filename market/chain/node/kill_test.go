package node_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/client"
	"github.com/moorage-dev/moorage/market/chain/keys"
	"github.com/moorage-dev/moorage/market/chain/node"
)

// childConfig tells the test program to be a node with that configuration.
const childConfig = "MOORAGE_NODE_TEST_CONFIG"

// child runs a node and prints where it listens.
func child(config string) {
	var c node.Config
	err := json.Unmarshal([]byte(config), &c)
	fatal(err)
	n, err := node.New(c)
	fatal(err)
	go func() {
		<-n.Ready()
		fmt.Println("ready", n.Addresses().GRPC)
	}()
	fatal(n.Run(context.Background()))
	os.Exit(0)
}

func fatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// process is a node in a process of its own.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	output *bufio.Scanner
}

func launch(t *testing.T, c node.Config) *process {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	config, err := json.Marshal(c)
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), childConfig+"="+string(config))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	return &process{t, cmd, bufio.NewScanner(out)}
}

// ready waits until the node serves and returns where.
func (p *process) ready() string {
	p.t.Helper()
	for p.output.Scan() {
		if address, ok := strings.CutPrefix(p.output.Text(), "ready "); ok {
			return address
		}
	}
	_ = p.cmd.Wait()
	p.t.Fatal("the node ended before it was ready")
	return ""
}

// kill ends the process as a power cut does.
func (p *process) kill() {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Kill())
	_ = p.cmd.Wait() // it was killed
}

// connected returns a client over TCP.
func connected(t *testing.T, address string, k *keys.Key) *client.Client {
	t.Helper()
	conn, err := client.Dial(address, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	c, err := client.New(conn, client.Config{Signer: k, Poll: 5 * time.Millisecond})
	require.NoError(t, err)
	return c
}

// attempt is what became of one submission.
type attempt struct {
	dseq    uint64
	receipt market.Receipt
	err     error
}

// load submits deployments one after the other from several goroutines until
// the context ends, and closes the channel after the last.
func load(ctx context.Context, c *client.Client, dseq *atomic.Uint64) <-chan attempt {
	const workers = 4
	out := make(chan attempt)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for ctx.Err() == nil {
				n := dseq.Add(1)
				receipt, err := c.Submit(ctx, deployment(c, n))
				out <- attempt{n, receipt, err}
			}
		})
	}
	go func() { // ends with the workers
		all.Wait()
		close(out)
	}()
	return out
}

func TestAKilledNodeGoesOnWithoutLosingOrRepeating(t *testing.T) {
	const rounds, perRound = 6, 15
	home := t.TempDir()
	tenant := account("tenant")
	confirmed := make(map[uint64]int64)
	var dseq atomic.Uint64
	var height int64
	for round := range rounds {
		process := launch(t, node.Config{
			Home: home, Genesis: genesis("killed-1"), BlockInterval: time.Millisecond, GRPCAddress: "127.0.0.1:0", KeepStates: 10,
		})
		conn, err := client.Dial(process.ready(), nil)
		require.NoError(t, err)
		c, err := client.New(conn, client.Config{Signer: tenant, Poll: time.Millisecond})
		require.NoError(t, err)
		head, err := c.Head(t.Context())
		require.NoError(t, err)
		assert.GreaterOrEqual(t, head.Height, height, "round %d: the chain went back", round)
		for dseq, at := range confirmed {
			d, err := c.Deployment(t.Context(), market.DeploymentID{Owner: tenant.Address(), DSeq: dseq})
			require.NoError(t, err, "round %d: deployment %d was confirmed and is lost", round, dseq)
			assert.Equal(t, at, d.CreatedAt)
		}
		ctx, cancel := context.WithCancel(t.Context())
		before := len(confirmed)
		for a := range load(ctx, c, &dseq) {
			if a.err == nil {
				confirmed[a.dseq] = a.receipt.Height
				height = max(height, a.receipt.Height)
			}
			if len(confirmed) == before+perRound && ctx.Err() == nil {
				process.kill() // while the others submit
				cancel()
			}
		}
		cancel()
		require.NoError(t, conn.Close())
	}
	n, stop := start(t, node.Config{Home: home})
	c := dial(t, n, tenant)
	list, _, err := c.Deployments(t.Context(), market.DeploymentFilter{Owner: tenant.Address()}, market.Page{Limit: market.MaxPageLimit})
	require.NoError(t, err)
	assert.GreaterOrEqual(t, len(list), len(confirmed))
	balances, err := c.Balances(t.Context(), tenant.Address())
	require.NoError(t, err)
	assert.Equal(t, market.NewAmount(100_000_000-500_000*uint64(len(list))), balances.Of("uakt"), "each deployment was paid once")
	t.Logf("%d kills, %d deployments submitted, %d confirmed, %d made, height %d", rounds, dseq.Load(), len(confirmed), len(list), n.Height())
	stop()
}
