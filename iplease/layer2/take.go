package layer2

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/moorage-dev/moorage/iplease"
)

// take makes this host answer for claims: all others that live must agree, and
// nobody may answer on the segment.
func (a *Announcer) take(ctx context.Context, p plane, ids []iplease.ClaimID) {
	entries := a.beginTaking(ids)
	refused := a.askForAll(ctx, entries)
	var ask []netip.Addr
	for _, e := range entries {
		if _, ok := refused[e.Claim]; !ok {
			ask = append(ask, e.Addresses...)
		}
	}
	taken, err := p.Probe(ctx, ask)
	if err != nil { // the context ended
		a.stopTaking(entries, refused, nil)
		return
	}
	a.stopTaking(entries, refused, taken)
	a.place(ctx, p, entries)
}

// beginTaking marks claims and returns what is known of them.
func (a *Announcer) beginTaking(ids []iplease.ClaimID) (out []entry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, id := range ids {
		if c := a.claims[id]; c != nil && !c.here() {
			c.taking, c.why = true, "the other hosts and the segment are being asked"
			out = append(out, c.entry)
		}
	}
	return out
}

// stopTaking calls off claims that others refused or that somebody has.
func (a *Announcer) stopTaking(entries []entry, refused map[iplease.ClaimID]string, taken map[netip.Addr]string) {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range entries {
		c := a.claims[e.Claim]
		if c == nil || !c.taking {
			continue
		}
		if why, ok := refused[e.Claim]; ok {
			c.taking, c.why, c.retry = false, why, now.Add(refusedPause)
			continue
		}
		for _, at := range e.Addresses {
			mac, ok := taken[at]
			if !ok {
				continue
			}
			host := a.macs[mac]
			c.taking, c.retry = false, now.Add(refusedPause)
			if a.peers[host] == nil {
				c.broken, c.retry = true, now.Add(conflictPause)
			}
			c.why = at.String() + " is answered for by " + stranger(host, mac)
			a.touch(c.Claim)
		}
	}
}

// place answers for those claims that are still being taken.
func (a *Announcer) place(ctx context.Context, p plane, entries []entry) {
	a.placing.Lock()
	defer a.placing.Unlock()
	a.mu.Lock()
	var jobs []job
	for _, e := range entries {
		c := a.claims[e.Claim]
		if c == nil || !c.taking {
			continue
		}
		c.taking = false
		ok, _ := a.possible(c)
		// The addresses are those that were asked for; everything else may be newer.
		if !ok || !slices.Equal(c.Addresses, e.Addresses) || choose(c.Announcement, a.live(), a.holders(c.Claim)) != a.cfg.Node {
			continue
		}
		c.placing = true
		jobs = append(jobs, c.job())
	}
	a.mu.Unlock()
	if len(jobs) > 0 {
		a.do(ctx, p, jobs)
	}
}

// yields decides about claims that another host wants: it gets those that this
// host is not to have itself, and waits until this host is silent.
func (a *Announcer) yields(ctx context.Context, to string, ids []iplease.ClaimID) (refused map[string]string, err error) {
	refused = map[string]string{}
	a.mu.Lock()
	var given []*claim
	for _, id := range ids {
		c := a.claims[id]
		if c == nil || c.Withdrawn {
			refused[id.String()] = "it is withdrawn"
			continue
		}
		if a.refuses(c, to) {
			refused[id.String()] = "host " + a.cfg.Node + " is to have it"
			continue
		}
		c.taking = false
		if c.here() {
			c.yield = true
			a.dirty[id] = true
			given = append(given, c)
		}
	}
	a.broadcast()
	a.mu.Unlock()
	return refused, a.await(ctx, func() bool {
		return !slices.ContainsFunc(given, (*claim).here)
	})
}

// refuses reports whether this host is to have a claim rather than the one that
// asks, which lives, whatever the list of peers says.
func (a *Announcer) refuses(c *claim, to string) bool {
	live := a.live()
	if !slices.Contains(live, to) {
		live = append(live, to)
	}
	holders := a.holders(c.Claim)
	if c.here() && a.alive() {
		holders = append(holders, a.cfg.Node)
	}
	return choose(c.Announcement, live, holders) == a.cfg.Node
}
