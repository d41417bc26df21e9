package node_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/client"
	"github.com/moorage-dev/moorage/market/chain/node"
)

// wire is a TCP relay between a client and a node. It can be cut, and led to
// another address.
type wire struct {
	listener net.Listener

	mu     sync.Mutex
	target string
	open   map[net.Conn]bool
	cuts   int
}

func newWire(t *testing.T, target string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w := &wire{listener: l, target: target, open: make(map[net.Conn]bool)}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { w.relay(in) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		w.cut()
		all.Wait()
	})
	return w
}

// relay copies both ways until either side ends.
func (w *wire) relay(in net.Conn) {
	defer w.drop(in)
	w.keep(in)
	w.mu.Lock()
	target := w.target
	w.mu.Unlock()
	out, err := net.Dial("tcp", target)
	if err != nil {
		return // the node is away: the client's connection breaks
	}
	defer w.drop(out)
	w.keep(out)
	go func() { // ends when either connection is closed
		_, _ = io.Copy(out, in)
		w.drop(out)
	}()
	_, _ = io.Copy(in, out)
}

func (w *wire) keep(c net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open[c] = true
}

func (w *wire) drop(c net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, c)
	_ = c.Close()
}

// cut breaks every connection.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.open {
		_ = c.Close()
	}
	w.cuts += len(w.open)
	clear(w.open)
}

func (w *wire) lead(target string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.target = target
}

// follow watches from the first block and checks that blocks come in order and
// once, until it has seen so many deployments. It returns how often each was
// created.
func follow(ctx context.Context, c *client.Client, until int) (map[uint64]int, error) {
	seen := make(map[uint64]int)
	next := int64(1)
	for b, err := range c.Watch(ctx, 1) {
		if err != nil {
			return seen, err
		}
		if b.Height != next {
			return seen, errors.New("a block is missing or came twice")
		}
		next++
		for _, e := range b.Events {
			if e.Kind == market.EventDeploymentCreated {
				seen[e.ID.DSeq]++
			}
		}
		if len(seen) >= until {
			return seen, nil
		}
	}
	return seen, ctx.Err()
}

// submitUntilReached tries again when it is certain that nothing was carried
// out. If it ever was, the market would say that the deployment exists.
func submitUntilReached(ctx context.Context, c *client.Client, m market.Msg) error {
	for {
		_, err := c.Submit(ctx, m)
		if !errors.Is(err, market.ErrUnavailable) || ctx.Err() != nil {
			return err
		}
	}
}

// TestAClientOutlivesCutsAndAKilledNode submits and watches over connections
// that are cut all the time, to a node that is killed and comes back elsewhere.
func TestAClientOutlivesCutsAndAKilledNode(t *testing.T) {
	const senders, each = 6, 8
	c := node.Config{Home: t.TempDir(), Genesis: genesis("cut-1"), BlockInterval: 20 * time.Millisecond, GRPCAddress: "127.0.0.1:0"}
	first := launch(t, c)
	w := newWire(t, first.ready())
	tenant := connected(t, w.listener.Addr().String(), account("tenant"))

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	type watched struct {
		seen map[uint64]int
		err  error
	}
	watching := make(chan watched, 1)
	go func() {
		seen, err := follow(ctx, tenant, senders*each)
		watching <- watched{seen, err}
	}()
	outcomes := make(chan error, senders*each)
	for s := range senders {
		go func() { // ends with its submissions
			for i := range each {
				outcomes <- submitUntilReached(ctx, tenant, deployment(tenant, uint64(1+s*each+i)))
			}
		}()
	}
	cutter := time.NewTicker(40 * time.Millisecond)
	defer cutter.Stop()
	for done := 0; done < senders*each; {
		select {
		case err := <-outcomes:
			require.NoError(t, err)
			if done++; done == senders*each/3 {
				first.kill()
				w.lead(launch(t, c).ready())
			}
		case <-cutter.C:
			w.cut()
		}
	}
	got := <-watching
	require.NoError(t, got.err)
	require.Len(t, got.seen, senders*each)
	for dseq, n := range got.seen {
		assert.Equal(t, 1, n, "deployment %d", dseq)
	}
	assert.Equal(t, 100_000_000-500_000*uint64(senders*each), balance(t, tenant, "uakt"), "each was paid once")
	assert.Positive(t, w.cuts)
	t.Logf("%d connections cut", w.cuts)
}
