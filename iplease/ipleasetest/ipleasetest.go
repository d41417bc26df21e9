// Package ipleasetest is the conformance suite of address announcers: every
// clause of the contract in package iplease/driver is a [Case], and [Run] runs
// them all against an announcer.
//
// An announcer's test describes how to get a fresh network in a [Harness],
// declares which abilities it claims, and calls Run. A claimed ability that does
// not work is a failure; one that is not claimed is skipped by name. With the
// ability [Traffic] the suite starts replicas, sends packets to leased addresses
// from outside and looks at what comes back.
//
// Cases are functions that return errors, so the suite itself can be tested:
// package iplease/memannouncer feeds it announcers with one fault each and checks
// that the right case notices.
package ipleasetest

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/iplease/driver"
)

// Ability is something that not every announcer, or not every network, can.
type Ability string

// Abilities. An announcer claims those of its optional interfaces that it
// implements, and those that its networks have.
const (
	// Watch, Egress and Sources are optional interfaces of package iplease/driver.
	Watch   Ability = "watch"
	Egress  Ability = "egress"
	Sources Ability = "sources"
	// IPv6: addresses of this family are announced too.
	IPv6 Ability = "ipv6"
	// Reopen: the harness can close the announcer and open another on the same
	// state.
	Reopen Ability = "reopen"
	// Traffic: the harness can start replicas and send packets to them.
	Traffic Ability = "traffic"
	// ClientAddress: a replica sees the client's own address.
	ClientAddress Ability = "client address"
	// Neighbours: the harness can ask who answers for an address, as a neighbour.
	Neighbours Ability = "neighbours"
	// Failover: the harness can kill the host that answers for an address.
	Failover Ability = "failover"
)

// Harness says how to get networks to test.
type Harness struct {
	// New makes a fresh network without announcements and opens it. Clean-up goes
	// through t.
	New func(t *testing.T) *Network
	// Run runs a subtest; nil is plainly.
	Run func(t *testing.T, f func(t *testing.T))
	// Abilities are those that the announcer claims.
	Abilities []Ability
	// Patience bounds every wait of the suite; 0 is [DefaultPatience].
	Patience time.Duration
	// Skip names cases that are not run, with the reason.
	Skip map[string]string
}

// DefaultPatience is for an announcer that answers in a second or two.
const DefaultPatience = 20 * time.Second

// ContainerPort is where every replica listens, with TCP and UDP; OtherPort too.
const (
	ContainerPort = 8080
	OtherPort     = 8081
)

// Network is one network under test.
type Network struct {
	// Announcer is open.
	Announcer driver.Announcer
	// V4 and V6 are addresses that may be announced, four of each family; V6 is used
	// only with the ability IPv6.
	V4, V6 []netip.Addr
	// Serve starts a replica that listens on [ContainerPort] and [OtherPort] with TCP
	// and UDP and answers with its name and what it sees of the client. It returns
	// where it is, one backend for each family; the suite fills in lease and service.
	// Without the ability Traffic it may be nil.
	Serve func(ctx context.Context, name string) ([]driver.Backend, error)
	// Ask opens a connection or sends a datagram from outside and returns the answer.
	// No answer, a refusal and silence are errors.
	Ask func(ctx context.Context, from Client, proto iplease.Protocol, to netip.AddrPort) (Answer, error)
	// Clients4 and Clients6 are the addresses of the two clients.
	Clients4, Clients6 [2]netip.Addr
	// Leaves lets a replica open a connection to somebody outside and returns the
	// address that it is seen with. For the ability Egress.
	Leaves func(ctx context.Context, b driver.Backend) (netip.Addr, error)
	// Answers asks who has an address and returns a name of the one that says it
	// does (its hardware address, say), "" when nobody does. Two answers are an
	// error. For the ability Neighbours.
	Answers func(ctx context.Context, a netip.Addr) (string, error)
	// Reopen closes the announcer and opens another on the same state. For the
	// ability Reopen.
	Reopen func(ctx context.Context) (driver.Announcer, error)
	// Kill ends the host that answers without giving it time, and returns an
	// announcer that is open on another. For the ability Failover. Replicas that were
	// on the host may be gone.
	Kill func(ctx context.Context) (driver.Announcer, error)
}

// Client is one of two clients outside.
type Client struct {
	// Index is 0 or 1.
	Index int
	// Port is the local port; 0 is any.
	Port uint16
}

// Answer is what a replica says.
type Answer struct {
	// Replica is its name, Port where the connection arrived there.
	Replica string
	Port    uint16
	// Client is the address that the replica sees.
	Client netip.Addr
}

// Case checks one clause of the contract.
type Case struct {
	// Name is the name of the subtest.
	Name string
	// Clause is the sentence of the contract.
	Clause string
	// Needs are the abilities without which the case is skipped.
	Needs []Ability
	// Lacks are abilities with which the case is skipped.
	Lacks []Ability
	// Check returns what is wrong.
	Check func(ctx context.Context, e *Env) error
}

// Env is what a case works with: one fresh network, and what the harness says.
type Env struct {
	*Network
	Patience time.Duration
	// Abilities are those that the announcer claims.
	Abilities []Ability
}

// Claims reports whether the announcer claims an ability.
func (e *Env) Claims(a Ability) bool { return slices.Contains(e.Abilities, a) }

// Env makes the environment of a case for a network.
func (h Harness) Env(n *Network) *Env {
	e := &Env{Network: n, Patience: h.Patience, Abilities: h.Abilities}
	if e.Patience == 0 {
		e.Patience = DefaultPatience
	}
	return e
}

// Run runs all cases, each as a subtest on a network of its own.
func Run(t *testing.T, h Harness) {
	t.Helper()
	run := h.Run
	if run == nil {
		run = func(t *testing.T, f func(t *testing.T)) {
			t.Helper()
			f(t)
		}
	}
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			if why := h.skip(c); why != "" {
				t.Skip(why)
			}
			run(t, func(t *testing.T) {
				t.Helper()
				if err := c.Check(t.Context(), h.Env(h.New(t))); err != nil {
					t.Errorf("%s\nclause: %s", err, c.Clause)
				}
			})
		})
	}
}

// skip says why a case is not run; "" when it is.
func (h Harness) skip(c Case) string {
	if why := h.Skip[c.Name]; why != "" {
		return why
	}
	for _, a := range c.Needs {
		if !slices.Contains(h.Abilities, a) {
			return "the announcer does not claim \"" + string(a) + "\""
		}
	}
	for _, a := range c.Lacks {
		if slices.Contains(h.Abilities, a) {
			return "the announcer claims \"" + string(a) + "\""
		}
	}
	return ""
}

// Cases returns all cases, in the order in which they are best read.
func Cases() []Case {
	return slices.Concat(lifeCases(), argumentCases(), statusCases(), watchCases(), trafficCases(), changeCases(), hostCases(), closeCases())
}

// abilities checks that what is claimed is there.
func abilities(_ context.Context, e *Env) error {
	has := map[Ability]bool{}
	_, has[Watch] = e.Announcer.(driver.Watcher)
	_, has[Egress] = e.Announcer.(driver.Egresser)
	_, has[Sources] = e.Announcer.(driver.SourceFilterer)
	for _, a := range []Ability{Watch, Egress, Sources} {
		if e.Claims(a) && !has[a] {
			return errors.New("claims " + string(a) + " and does not implement it")
		}
	}
	return nil
}
