package layer2

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/moorage-dev/moorage/iplease"
)

// peer is another host that lives.
type peer struct {
	node string
	// dirty are claims of which it has not heard the latest.
	dirty map[iplease.ClaimID]bool
	// acked is what it has done.
	acked map[iplease.ClaimID]version
	// held are the claims that it answers for.
	held map[iplease.ClaimID]holding
	wake chan struct{}
}

// message is what one host tells and asks another.
type message struct {
	// MAC is the hardware address that the sender answers with.
	MAC  string
	News []news `json:",omitempty"`
	// Yield are claims that the sender wants to answer for.
	Yield []iplease.ClaimID `json:",omitempty"`
}

// news is what the sender knows of a claim.
type news struct {
	Entry entry
	// Holding is nil when the sender does not answer for it.
	Holding *holding `json:",omitempty"`
}

// answer comes when the receiver does as the news say.
type answer struct {
	// Refused says, by the text of the claim, why the sender is not to have it.
	Refused map[string]string `json:",omitempty"`
}

// follow tells a peer what is new, first everything, until it is gone.
func (a *Announcer) follow(ctx context.Context, node string) {
	p := &peer{
		node: node, dirty: map[iplease.ClaimID]bool{}, acked: map[iplease.ClaimID]version{},
		held: map[iplease.ClaimID]holding{}, wake: make(chan struct{}, 1),
	}
	a.mu.Lock()
	for id, c := range a.claims {
		p.dirty[id] = true
		if c.contestedBy == node { // from now on the two settle it
			c.contested, c.contestedBy = "", ""
		}
	}
	a.peers[node] = p
	a.allDirty()
	a.mu.Unlock()
	nudge(p.wake) // also with no claims: it learns the hardware address
	defer a.lost(node)
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		}
		for more := true; more && ctx.Err() == nil; {
			more = a.tell(ctx, p)
		}
	}
}

// lost forgets a peer; what it answered for is free.
func (a *Announcer) lost(node string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.peers[node]
	delete(a.peers, node)
	for id := range p.held {
		a.hub.Publish(id.String())
		if c := a.claims[id]; c != nil {
			c.why, c.retry = "host "+node+", which answered, is gone", time.Time{}
		}
	}
	a.allDirty()
}

// tell sends what is new, and reports whether it should be tried again.
func (a *Announcer) tell(ctx context.Context, p *peer) (again bool) {
	const (
		maxNews  = 1000   // claims in one message
		maxParts = 50_000 // ports and backends, so that it stays below what a frame takes
	)
	parts := 0
	a.mu.Lock()
	m := message{MAC: a.self()}
	for id := range p.dirty {
		if c := a.claims[id]; c != nil {
			n := news{Entry: c.entry}
			if c.bound != nil && a.alive() { // one that was frozen gives it up
				h := c.holding()
				n.Holding = &h
			}
			m.News = append(m.News, n)
			parts += len(c.Ports) + len(c.Backends)
		}
		delete(p.dirty, id)
		if len(m.News) == maxNews || parts > maxParts {
			break
		}
	}
	a.mu.Unlock()
	_, err := a.ask(ctx, p.node, m)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, n := range m.News {
		if err != nil {
			p.dirty[n.Entry.Claim] = true
		} else {
			p.acked[n.Entry.Claim] = n.Entry.version()
		}
	}
	if err == nil {
		a.broadcast()
		return len(p.dirty) > 0
	}
	a.cfg.Logger.Debug("a host was not told", "node", p.node, "error", err)
	if ctx.Err() == nil {
		time.AfterFunc(a.cfg.Timeout/2, func() { nudge(p.wake) })
	}
	return false
}

func (a *Announcer) self() string {
	if a.plane == nil {
		return ""
	}
	return a.plane.Self()
}

func (a *Announcer) ask(ctx context.Context, node string, m message) (out answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, applyTime)
	defer cancel()
	b, err := json.Marshal(m)
	if err != nil {
		return out, err
	}
	if b, err = a.mesh.Ask(ctx, node, b); err == nil {
		err = json.Unmarshal(b, &out)
	}
	return out, err
}

// serve does what another host says and asks.
func (a *Announcer) serve(ctx context.Context, from string, body []byte) ([]byte, error) {
	var m message
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, fmt.Errorf("message: %w", err)
	}
	// What it says is kept with the peer, which may have come this moment.
	if err := a.await(ctx, func() bool { return a.peers[from] != nil }); err != nil {
		return nil, err
	}
	if err := a.learn(ctx, from, m); err != nil {
		return nil, err
	}
	refused, err := a.yields(ctx, from, m.Yield)
	if err != nil {
		return nil, err
	}
	return json.Marshal(answer{Refused: refused})
}

// learn takes over what is newer and waits until this host does as it says.
func (a *Announcer) learn(ctx context.Context, from string, m message) error {
	for _, n := range m.News {
		if err := a.adopt(n.Entry); err != nil {
			return err
		}
	}
	a.mu.Lock()
	if m.MAC != "" {
		a.macs[m.MAC] = from
	}
	if p := a.peers[from]; p != nil {
		for _, n := range m.News {
			p.note(a, n)
		}
	}
	a.mu.Unlock()
	return a.await(ctx, func() bool {
		for _, n := range m.News {
			c, want := a.claims[n.Entry.Claim], n.Entry.version()
			if c == nil || !c.here() {
				continue
			}
			done := c.bound != nil && c.bound.version().compare(want) >= 0
			failed := c.trouble != nil && c.tried.compare(want) >= 0
			if !done && !failed {
				return false
			}
		}
		return true
	})
}

// note remembers what a peer answers for.
func (p *peer) note(a *Announcer, n news) {
	id := n.Entry.Claim
	was, held := p.held[id]
	switch {
	case n.Holding == nil && held:
		delete(p.held, id)
	case n.Holding != nil && (!held || was != *n.Holding):
		p.held[id] = *n.Holding
	default:
		return
	}
	a.dirty[id] = true
	a.broadcast()
	a.hub.Publish(id.String())
}

// adopt takes an entry over if it is newer than what is known.
func (a *Announcer) adopt(e entry) error {
	if err := e.Validate(); err != nil {
		return err
	}
	a.saving.Lock()
	defer a.saving.Unlock()
	a.mu.Lock()
	c := a.claims[e.Claim]
	known := c != nil && c.version().compare(e.version()) >= 0
	a.mu.Unlock()
	if known {
		return nil
	}
	if err := a.store.save(e); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.set(e)
	return nil
}

// askForAll asks every host that lives for claims, and returns those that one of
// them refused, with the reason.
func (a *Announcer) askForAll(ctx context.Context, entries []entry) map[iplease.ClaimID]string {
	m := message{}
	for _, e := range entries {
		m.News = append(m.News, news{Entry: e})
		m.Yield = append(m.Yield, e.Claim)
	}
	a.mu.Lock()
	m.MAC = a.self()
	peers := maps.Clone(a.peers)
	a.mu.Unlock()
	refused := map[iplease.ClaimID]string{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for node := range peers {
		wg.Go(func() {
			got, err := a.ask(ctx, node, m)
			mu.Lock()
			defer mu.Unlock()
			for _, e := range entries {
				if why, ok := got.Refused[e.Claim.String()]; ok {
					refused[e.Claim] = why
				} else if err != nil && a.lives(node) {
					refused[e.Claim] = "host " + node + " does not answer"
				}
			}
		})
	}
	wg.Wait()
	return refused
}

func (a *Announcer) lives(node string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.peers[node] != nil
}
