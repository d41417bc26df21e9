package layer2

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/moorage-dev/moorage/iplease"
)

// live are the hosts that live, this one included, sorted.
func (a *Announcer) live() []string {
	out := []string{a.cfg.Node}
	for name := range a.peers {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// holders are peers that answer for a claim, sorted.
func (a *Announcer) holders(id iplease.ClaimID) (out []string) {
	for name, p := range a.peers {
		if _, ok := p.held[id]; ok {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// possible says whether any host of this side may answer for a claim, and why not.
func (a *Announcer) possible(c *claim) (bool, string) {
	if c.Withdrawn {
		return false, "it is withdrawn"
	}
	if n := len(a.peers) + 1; n < a.cfg.MinHosts {
		return false, fmt.Sprintf("%d of the %d hosts that it takes are in touch", n, a.cfg.MinHosts)
	}
	for _, at := range c.Addresses {
		if owner := a.owners[at]; owner != c.Claim {
			return false, fmt.Sprintf("%s is announced for claim %s", at, owner)
		}
	}
	return true, ""
}

// keeps reports whether this host, which answers for a claim, goes on. It does
// unless somebody asked for it who is to have it, or another host answers too and
// is the one of both.
func (a *Announcer) keeps(c *claim) bool {
	if ok, _ := a.possible(c); !ok || c.yield {
		return false
	}
	others := a.holders(c.Claim)
	return len(others) == 0 || choose(c.Announcement, a.live(), append(others, a.cfg.Node)) == a.cfg.Node
}

// takable returns claims that this host is to take now.
func (a *Announcer) takable(now time.Time) (out []iplease.ClaimID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	const most = 1000 // in one round of asking
	for id, c := range a.claims {
		if c.here() || c.taking || now.Before(c.retry) || len(out) == most {
			continue
		}
		ok, why := a.possible(c)
		if !ok {
			c.why = why
			continue
		}
		if to := choose(c.Announcement, a.live(), a.holders(id)); to == a.cfg.Node {
			out = append(out, id)
		} else {
			c.why = "host " + to + " is to take it"
		}
	}
	slices.SortFunc(out, func(a, b iplease.ClaimID) int { return slices.Compare([]byte(a.String()), []byte(b.String())) })
	return out
}

// conflict is told by the plane that somebody else claims an address.
func (a *Announcer) conflict(at netip.Addr, mac string) {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.claims[a.owners[at]]
	host := a.macs[mac]
	if c == nil || c.bound == nil || a.peers[host] != nil {
		return // a peer that lives settles it with us
	}
	text := fmt.Sprintf("%s is answered for by %s too", at, stranger(host, mac))
	c.contestedUntil = now.Add(contestedTime)
	if now.Sub(c.defended) >= defendPause {
		c.defended = now
		a.plane.Announce(at)
	}
	if c.contested != text {
		c.contested, c.contestedBy = text, host
		a.cfg.Logger.Warn("an address is contested", "claim", c.Claim.String(), "reason", text)
		a.touch(c.Claim)
	}
}

func stranger(host, mac string) string {
	if host == "" {
		return "a machine at " + mac + " that is no host of ours"
	}
	return "host " + host + ", which is out of touch,"
}
