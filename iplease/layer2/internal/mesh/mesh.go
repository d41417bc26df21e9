// Package mesh keeps the hosts of a segment in touch: each knows which of the
// others live, and asks them things.
//
// Every host dials every other. A session is TLS 1.3 in which both sides show a
// certificate made from the key that the hosts share, so whoever has not got the
// key learns nothing and is not heard. Both sides send something several times in
// each timeout; a session in which nothing arrives for a timeout has ended, and so
// has one whose process died, at once, because the kernel says so. A host lives
// while there is a session with it in either direction.
package mesh

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Errors of [Mesh.Ask].
var (
	// ErrGone means there is no session with the host, or it ended.
	ErrGone = errors.New("mesh: host is gone")
	// ErrFailed means the host answered with a failure.
	ErrFailed = errors.New("mesh: host failed")
)

// Config describes a [Mesh]. All fields but Logger are required.
type Config struct {
	// Node is this host's name, at most 253 bytes; no other host has it.
	Node string
	// Key is what the hosts share, at least 16 bytes.
	Key []byte
	// Listen is where this host is dialled.
	Listen netip.AddrPort
	// Peers are where the others are dialled. This host's own address may be among
	// them.
	Peers []netip.AddrPort
	// Timeout is after how long of silence a host is dead.
	Timeout time.Duration
	// Serve answers what another host asks. It may be called concurrently.
	Serve func(ctx context.Context, from string, body []byte) ([]byte, error)
	// Follow is called when a host has come, in a goroutine of its own. Its context
	// ends when the host has gone; it must return then, and it is not called again
	// for the host before.
	Follow func(ctx context.Context, node string)
	Logger *slog.Logger
}

// Mesh is one host's side. It is safe for concurrent use.
//
// Goroutines: [Mesh.Run] has one that accepts, one for each peer to dial, one for
// each host that is followed, two for each session and one for each question that
// is being answered; all end before Run returns.
type Mesh struct {
	cfg      Config
	identity *tls.Config
	instance string

	mu    sync.Mutex // guards all below
	hosts map[string]*host
}

// host is one that lives or that is being forgotten.
type host struct {
	sessions []*session
	// forget ends what follows the host; followed is closed when that has ended.
	forget   context.CancelFunc
	followed chan struct{}
}

// minKey is the fewest bytes of a key.
const minKey = 16

// New checks the configuration and starts nothing.
func New(c Config) (*Mesh, error) {
	const maxName = 253
	if c.Node == "" || len(c.Node) > maxName {
		return nil, fmt.Errorf("mesh: a node's name is 1 to %d bytes", maxName)
	}
	if len(c.Key) < minKey {
		return nil, fmt.Errorf("mesh: the key has %d bytes, want at least %d", len(c.Key), minKey)
	}
	identity, err := identity(c.Key)
	if err != nil {
		return nil, err
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	var id [8]byte
	_, _ = rand.Read(id[:]) // it never fails
	return &Mesh{cfg: c, identity: identity, instance: hex.EncodeToString(id[:]), hosts: map[string]*host{}}, nil
}

// Live returns the other hosts that live, sorted.
func (m *Mesh) Live() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for name, h := range m.hosts {
		if len(h.sessions) > 0 {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// Ask asks a host and returns its answer. The error is [ErrGone], [ErrFailed] or
// the context's.
func (m *Mesh) Ask(ctx context.Context, node string, body []byte) ([]byte, error) {
	m.mu.Lock()
	var all []*session
	if h := m.hosts[node]; h != nil {
		all = h.sessions
	}
	m.mu.Unlock()
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrGone, node)
	}
	return all[len(all)-1].ask(ctx, body)
}

// Run accepts and dials until ctx ends, then without error.
func (m *Mesh) Run(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", m.cfg.Listen.String())
	if err != nil {
		return fmt.Errorf("mesh: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var wg sync.WaitGroup
	for _, p := range m.cfg.Peers {
		wg.Go(func() { m.dial(ctx, p) })
	}
	err = m.accept(ctx, l)
	wg.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("mesh: %w", err)
}

// maxStrangers bounds connections that have not shown the key yet.
const maxStrangers = 64

func (m *Mesh) accept(ctx context.Context, l net.Listener) error {
	strangers := make(chan struct{}, maxStrangers)
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		select {
		case strangers <- struct{}{}:
		default:
			_ = conn.Close()
			continue
		}
		wg.Go(func() {
			s, err := m.meet(ctx, tls.Server(conn, m.identity))
			<-strangers
			if err != nil {
				m.cfg.Logger.Debug("a host was refused", "from", conn.RemoteAddr(), "error", err)
				_ = conn.Close()
				return
			}
			m.keep(ctx, s)
		})
	}
}

// errSelf means a host has dialled itself.
var errSelf = errors.New("mesh: this host itself")

// dial keeps a session with the host at an address.
func (m *Mesh) dial(ctx context.Context, to netip.AddrPort) {
	const perTimeout = 4 // attempts in a timeout
	tick := time.NewTicker(m.cfg.Timeout / perTimeout)
	defer tick.Stop()
	for {
		s, err := m.dialOnce(ctx, to)
		if err == nil {
			m.keep(ctx, s)
		} else if errors.Is(err, errSelf) {
			return
		} else {
			m.cfg.Logger.Debug("a host cannot be reached", "at", to, "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (m *Mesh) dialOnce(ctx context.Context, to netip.AddrPort) (*session, error) {
	d := net.Dialer{Timeout: m.cfg.Timeout}
	conn, err := d.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, err
	}
	s, err := m.meet(ctx, tls.Client(conn, m.identity))
	if err != nil {
		_ = conn.Close()
	}
	return s, err
}

// keep holds a session until it or ctx ends.
func (m *Mesh) keep(ctx context.Context, s *session) {
	h := m.enter(ctx, s)
	err := s.run(ctx)
	m.mu.Lock()
	h.sessions = slices.DeleteFunc(slices.Clone(h.sessions), func(o *session) bool { return o == s })
	last := len(h.sessions) == 0
	m.mu.Unlock()
	if !last {
		return
	}
	m.cfg.Logger.Info("a host has gone", "node", s.node, "error", err)
	h.forget()
	<-h.followed
	m.mu.Lock()
	delete(m.hosts, s.node)
	m.mu.Unlock()
}

// enter takes a session into the list of its host. A host that is being forgotten
// is waited for.
func (m *Mesh) enter(ctx context.Context, s *session) *host {
	for {
		m.mu.Lock()
		h := m.hosts[s.node]
		if h != nil && len(h.sessions) == 0 {
			m.mu.Unlock()
			<-h.followed
			runtime.Gosched() // until whoever forgets it has taken it off the list
			continue
		}
		if h == nil {
			follow, cancel := context.WithCancel(ctx)
			h = &host{forget: cancel, followed: make(chan struct{})}
			m.hosts[s.node] = h
			m.cfg.Logger.Info("a host has come", "node", s.node)
			go func() { // it ends with the host's last session, which waits for it
				defer close(h.followed)
				m.cfg.Follow(follow, s.node)
			}()
		}
		for _, old := range h.sessions {
			if old.instance != s.instance { // the host was started again
				_ = old.conn.NetConn().Close()
			}
		}
		h.sessions = append(slices.Clone(h.sessions), s)
		m.mu.Unlock()
		return h
	}
}
