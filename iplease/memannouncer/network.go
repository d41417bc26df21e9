// Package memannouncer is a network in memory that leased addresses are announced
// on: the reference implementation of the announcer contract, for tests and
// simulations.
//
// A [Network] is the network with its hosts; [Network.Announcer] opens it. A
// network outlives its announcers as a real one outlives the process that talks
// to it, so a test restarts a provider by closing one announcer and opening
// another. Nothing runs in the background and nothing takes time.
//
// [Network.Reach] sends a packet as a client would and says which replica gets
// it; [Network.Source] says which address a replica's own connections leave
// from. Hosts are killed with [Network.Kill], calls fail with
// [Network.SetFault].
package memannouncer

import (
	"errors"
	"net/netip"
	"slices"
	"sync"

	"github.com/moorage-dev/moorage/internal/notify"
	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/iplease/driver"
)

// Errors of [Network.Reach].
var (
	// ErrUnanswered means no host answers for the address.
	ErrUnanswered = errors.New("memannouncer: nobody answers for the address")
	// ErrRefused means the address answers and the port leads nowhere.
	ErrRefused = errors.New("memannouncer: refused")
)

// Op is a method of an announcer.
type Op string

// Ops, one for each method that can fail.
const (
	OpApply    Op = "apply"
	OpWithdraw Op = "withdraw"
	OpStatus   Op = "status"
	OpList     Op = "list"
	OpWatch    Op = "watch"
)

// Config describes a network.
type Config struct {
	// Hosts are those that can answer, the first that lives does; empty is one host
	// "mem".
	Hosts []string
}

// Network is what addresses are announced on. It is safe for concurrent use.
type Network struct {
	hub notify.Hub

	mu     sync.Mutex // guards all below
	hosts  []string   // those that live
	claims map[iplease.ClaimID]driver.Announcement
	turn   int // of the next of several replicas
	fault  func(Op, iplease.ClaimID) error
}

// NewNetwork makes a network without announcements.
func NewNetwork(c Config) *Network {
	if len(c.Hosts) == 0 {
		c.Hosts = []string{"mem"}
	}
	return &Network{hosts: slices.Clone(c.Hosts), claims: make(map[iplease.ClaimID]driver.Announcement)}
}

// SetFault makes every later call fail for which f returns an error; nil makes
// none fail. f must not call the network.
func (n *Network) SetFault(f func(Op, iplease.ClaimID) error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fault = f
}

// Kill takes a host away. Its addresses move to the next one at once; without a
// next one nobody answers.
func (n *Network) Kill(host string) {
	n.mu.Lock()
	n.hosts = slices.DeleteFunc(n.hosts, func(h string) bool { return h == host })
	ids := n.list()
	n.mu.Unlock()
	for _, id := range ids {
		n.hub.Publish(id.String())
	}
}

// Host is the one that answers, "" when none lives.
func (n *Network) Host() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.host()
}

func (n *Network) host() string {
	if len(n.hosts) == 0 {
		return ""
	}
	return n.hosts[0]
}

// Answers reports whether somebody answers for an address.
func (n *Network) Answers(a netip.Addr) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, ok := n.holder(a)
	return ok && n.host() != ""
}

// Announced returns what is announced, sorted by claim.
func (n *Network) Announced() []driver.Announcement {
	n.mu.Lock()
	defer n.mu.Unlock()
	ids := n.list()
	out := make([]driver.Announcement, len(ids))
	for i, id := range ids {
		out[i] = n.claims[id].Clone()
	}
	return out
}

// holder is the announcement that an address belongs to.
func (n *Network) holder(a netip.Addr) (driver.Announcement, bool) {
	for _, c := range n.claims {
		if slices.Contains(c.Addresses, a) {
			return c, true
		}
	}
	return driver.Announcement{}, false
}

// Reach opens a connection from a client to a leased address and returns the
// replica it comes to and the port there. Several replicas take turns. The error
// is [ErrUnanswered] or [ErrRefused].
func (n *Network) Reach(from netip.Addr, proto iplease.Protocol, to netip.AddrPort) (driver.Backend, uint16, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c, ok := n.holder(to.Addr())
	if !ok || n.host() == "" {
		return driver.Backend{}, 0, ErrUnanswered
	}
	for _, p := range c.Ports {
		if p.Protocol != proto || p.External != to.Port() || !allowed(p, from) {
			continue
		}
		if replicas := c.Serving(p, to.Addr()); len(replicas) > 0 {
			n.turn++
			return replicas[n.turn%len(replicas)], p.Port, nil
		}
	}
	return driver.Backend{}, 0, ErrRefused
}

func allowed(p iplease.Port, from netip.Addr) bool {
	return len(p.Sources) == 0 || slices.ContainsFunc(p.Sources, func(s netip.Prefix) bool { return s.Contains(from) })
}

// Source returns the leased address that connections of the replica at address a
// leave from; false when they leave from the network's own.
func (n *Network) Source(a netip.Addr) (netip.Addr, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, id := range n.list() {
		c := n.claims[id]
		if !c.Egress || !slices.ContainsFunc(c.Backends, func(b driver.Backend) bool { return b.Address == a }) {
			continue
		}
		for _, at := range c.Addresses {
			if at.Is4() == a.Is4() {
				return at, true
			}
		}
	}
	return netip.Addr{}, false
}
