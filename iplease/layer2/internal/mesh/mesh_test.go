package mesh_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/iplease/layer2/internal/mesh"
)

const patience = 20 * time.Second

// ports finds free ones on loopback.
func ports(t *testing.T, n int) (out []netip.AddrPort) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer func() { require.NoError(t, l.Close()) }()
		out = append(out, l.Addr().(*net.TCPAddr).AddrPort())
	}
	return out
}

// node is a host of a test and whom it follows.
type node struct {
	*mesh.Mesh
	stop func()

	mu        sync.Mutex
	following map[string]int // times a host came, by name
	gone      map[string]int
}

func (n *node) count(m map[string]int, name string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return m[name]
}

// start runs a host until the test ends or stop is called.
func start(t *testing.T, name, key string, listen netip.AddrPort, peers []netip.AddrPort, serve func(from string, body []byte) ([]byte, error)) *node {
	t.Helper()
	n := &node{following: map[string]int{}, gone: map[string]int{}}
	m, err := mesh.New(mesh.Config{
		Node: name, Key: []byte(key), Listen: listen, Peers: peers, Timeout: 2 * time.Second,
		Serve: func(_ context.Context, from string, body []byte) ([]byte, error) { return serve(from, body) },
		Follow: func(ctx context.Context, name string) {
			n.mu.Lock()
			n.following[name]++
			n.mu.Unlock()
			<-ctx.Done()
			n.mu.Lock()
			n.gone[name]++
			n.mu.Unlock()
		},
	})
	require.NoError(t, err)
	n.Mesh = m
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	var once sync.Once
	n.stop = func() {
		once.Do(func() {
			cancel()
			require.NoError(t, <-done)
		})
	}
	t.Cleanup(n.stop)
	return n
}

func echo(from string, body []byte) ([]byte, error) { return []byte(from + ":" + string(body)), nil }

const key = "sixteen bytes at least"

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	require.Eventually(t, f, patience, 5*time.Millisecond, what)
}

func TestHostsMeetAskAndPart(t *testing.T) {
	at := ports(t, 3)
	names := []string{"a", "b", "c"}
	var nodes []*node
	for i, name := range names {
		nodes = append(nodes, start(t, name, key, at[i], at, echo))
	}
	for i, n := range nodes {
		eventually(t, "all meet", func() bool { return len(n.Live()) == 2 })
		assert.NotContains(t, n.Live(), names[i])
	}
	for i := range 100 {
		got, err := nodes[0].Ask(t.Context(), "b", fmt.Appendf(nil, "%d", i))
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("a:%d", i), string(got))
	}
	nodes[2].stop()
	eventually(t, "the third is missed", func() bool { return nodes[0].count(nodes[0].gone, "c") == 1 && len(nodes[0].Live()) == 1 })
	_, err := nodes[0].Ask(t.Context(), "c", nil)
	require.ErrorIs(t, err, mesh.ErrGone)
	start(t, "c", key, at[2], at, echo)
	eventually(t, "the third is back", func() bool { return len(nodes[0].Live()) == 2 })
	eventually(t, "it is followed again", func() bool { return nodes[0].count(nodes[0].following, "c") == 2 })
	assert.Equal(t, 1, nodes[0].count(nodes[0].following, "b"))
}

func TestAHostWithAnotherKeyIsNotHeard(t *testing.T) {
	at := ports(t, 2)
	served := make(chan string, 1)
	a := start(t, "a", key, at[0], at, func(from string, _ []byte) ([]byte, error) {
		served <- from
		return nil, nil
	})
	b := start(t, "b", "another key, as long", at[1], at, echo)
	// A third with the right key shows that there was time to meet.
	more := ports(t, 1)
	start(t, "c", key, more[0], at[:1], echo)
	eventually(t, "the third is there", func() bool { return len(a.Live()) == 1 })
	assert.Equal(t, []string{"c"}, a.Live())
	assert.Empty(t, b.Live())
	assert.Empty(t, served)
}

func TestFailuresAreTheAskers(t *testing.T) {
	at := ports(t, 2)
	a := start(t, "a", key, at[0], at, echo)
	block := make(chan struct{})
	start(t, "b", key, at[1], at, func(_ string, body []byte) ([]byte, error) {
		if string(body) == "block" {
			<-block
		}
		return nil, errors.New("no wish to")
	})
	eventually(t, "they meet", func() bool { return len(a.Live()) == 1 })
	_, err := a.Ask(t.Context(), "b", []byte("x"))
	require.ErrorIs(t, err, mesh.ErrFailed)
	require.ErrorContains(t, err, "no wish to")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = a.Ask(ctx, "b", []byte("block"))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = a.Ask(t.Context(), "b", []byte("x"))
	require.ErrorIs(t, err, mesh.ErrFailed, "one that hangs holds up nobody")
	close(block)
}

// A host that is silent is dead though its connection stands.
func TestSilenceIsDeath(t *testing.T) {
	at := ports(t, 2)
	a := start(t, "a", key, at[0], at[1:], echo)
	// A proxy that stops to pass on is a cable that is cut.
	cut := make(chan struct{})
	proxy(t, at[1], cut, func() netip.AddrPort {
		p := ports(t, 1)
		start(t, "b", key, p[0], nil, echo)
		return p[0]
	}())
	eventually(t, "they meet", func() bool { return len(a.Live()) == 1 })
	close(cut)
	eventually(t, "silence is noticed", func() bool { return len(a.Live()) == 0 })
}

// proxy passes connections to at on to to, until cut is closed: then nothing
// passes and nothing is closed.
func proxy(t *testing.T, at netip.AddrPort, cut chan struct{}, to netip.AddrPort) {
	t.Helper()
	l, err := net.Listen("tcp", at.String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	pass := func(from, to net.Conn) {
		b := make([]byte, 4096)
		for {
			n, err := from.Read(b)
			select {
			case <-cut:
				return
			default:
			}
			if err != nil {
				_ = to.Close()
				return
			}
			_, _ = to.Write(b[:n])
		}
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			o, err := net.Dial("tcp", to.String())
			if err != nil {
				_ = c.Close()
				continue
			}
			t.Cleanup(func() { _, _ = c.Close(), o.Close() })
			go pass(c, o)
			go pass(o, c)
		}
	}()
}

func TestConfigurationsAreChecked(t *testing.T) {
	_, err := mesh.New(mesh.Config{Node: "a", Key: []byte("short")})
	require.Error(t, err)
	_, err = mesh.New(mesh.Config{Key: []byte(key)})
	require.Error(t, err)
	_, err = mesh.New(mesh.Config{Node: strings.Repeat("n", 254), Key: []byte(key)})
	require.Error(t, err)
}
