package memannouncer_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/iplease/driver"
	"github.com/moorage-dev/moorage/iplease/ipleasetest"
	"github.com/moorage-dev/moorage/iplease/memannouncer"
)

// mutant is an announcer with one fault: a method that is not nil takes the place
// of the good one.
type mutant struct {
	*memannouncer.Announcer
	apply    func(context.Context, driver.Announcement) error
	withdraw func(context.Context, iplease.ClaimID) error
	status   func(context.Context, iplease.ClaimID) (driver.Status, error)
	list     func(context.Context) ([]iplease.ClaimID, error)
	watch    func(context.Context) iter.Seq2[iplease.ClaimID, error]
	close    func() error
}

func (m *mutant) Apply(ctx context.Context, a driver.Announcement) error {
	if m.apply != nil {
		return m.apply(ctx, a)
	}
	return m.Announcer.Apply(ctx, a)
}

func (m *mutant) Withdraw(ctx context.Context, id iplease.ClaimID) error {
	if m.withdraw != nil {
		return m.withdraw(ctx, id)
	}
	return m.Announcer.Withdraw(ctx, id)
}

func (m *mutant) Status(ctx context.Context, id iplease.ClaimID) (driver.Status, error) {
	if m.status != nil {
		return m.status(ctx, id)
	}
	return m.Announcer.Status(ctx, id)
}

func (m *mutant) List(ctx context.Context) ([]iplease.ClaimID, error) {
	if m.list != nil {
		return m.list(ctx)
	}
	return m.Announcer.List(ctx)
}

func (m *mutant) Watch(ctx context.Context) iter.Seq2[iplease.ClaimID, error] {
	if m.watch != nil {
		return m.watch(ctx)
	}
	return m.Announcer.Watch(ctx)
}

func (m *mutant) Close() error {
	if m.close != nil {
		return m.close()
	}
	return m.Announcer.Close()
}

// fault is one clause broken and the case that must notice.
type fault struct {
	name, noticed string
	// spoil breaks an announcer, rewire the network behind it.
	spoil  func(m *mutant)
	rewire func(n *ipleasetest.Network)
	// without is an ability that the harness does not claim.
	without ipleasetest.Ability
}

var errMutant = errors.New("mutant")

// changed applies what f makes of an announcement.
func changed(m *mutant, f func(*driver.Announcement)) func(context.Context, driver.Announcement) error {
	return func(ctx context.Context, a driver.Announcement) error {
		a = a.Clone()
		f(&a)
		return m.Announcer.Apply(ctx, a)
	}
}

// shown changes what Status says.
func shown(m *mutant, f func(*driver.Status)) func(context.Context, iplease.ClaimID) (driver.Status, error) {
	return func(ctx context.Context, id iplease.ClaimID) (driver.Status, error) {
		s, err := m.Announcer.Status(ctx, id)
		f(&s)
		return s, err
	}
}

// have is the status without faults; the zero one when there is none.
func have(m *mutant, id iplease.ClaimID) driver.Status {
	s, _ := m.Announcer.Status(context.Background(), id)
	return s
}

func TestTheSuiteNoticesEachFault(t *testing.T) {
	for _, f := range slices.Concat(lifeFaults(), statusFaults(), watchFaults(), trafficFaults(), changeFaults(), hostFaults()) {
		t.Run(f.name, func(t *testing.T) {
			c, ok := find(f.noticed)
			require.True(t, ok, f.noticed)
			synctest.Test(t, func(t *testing.T) {
				h := harness(func(a *memannouncer.Announcer) driver.Announcer {
					m := &mutant{Announcer: a}
					if f.spoil != nil {
						f.spoil(m)
					}
					return m
				})
				h.Abilities = slices.DeleteFunc(h.Abilities, func(a ipleasetest.Ability) bool { return a == f.without })
				n := h.New(t)
				if f.rewire != nil {
					f.rewire(n)
				}
				assert.Error(t, c.Check(t.Context(), h.Env(n)))
			})
		})
	}
}

func find(name string) (ipleasetest.Case, bool) {
	for _, c := range ipleasetest.Cases() {
		if c.Name == name {
			return c, true
		}
	}
	return ipleasetest.Case{}, false
}

// Every case has a mutant, or it checks nothing.
func TestEachCaseNoticesSomething(t *testing.T) {
	noticed := map[string]bool{"abilities are as claimed": true} // below
	for _, f := range slices.Concat(lifeFaults(), statusFaults(), watchFaults(), trafficFaults(), changeFaults(), hostFaults()) {
		noticed[f.noticed] = true
	}
	for _, c := range ipleasetest.Cases() {
		assert.True(t, noticed[c.Name], "no mutant is noticed by %q", c.Name)
	}
}

func TestAnAbilityThatIsNotThereIsNoticed(t *testing.T) {
	c, _ := find("abilities are as claimed")
	h := harness(func(a *memannouncer.Announcer) driver.Announcer { return struct{ driver.Announcer }{a} })
	require.Error(t, c.Check(t.Context(), h.Env(h.New(t))))
}

func lifeFaults() []fault {
	var kept driver.Announcement
	tombs := map[iplease.ClaimID]uint64{}
	taken := map[netip.Addr]iplease.ClaimID{}
	order := []iplease.ClaimID{}
	return []fault{
		{name: "withdraw of absent fails", noticed: "withdraw of absent", spoil: func(m *mutant) {
			m.withdraw = func(ctx context.Context, id iplease.ClaimID) error {
				if have(m, id).Revision == 0 {
					return driver.ErrNotFound
				}
				return m.Announcer.Withdraw(ctx, id)
			}
		}},
		{name: "second withdraw fails", noticed: "withdraw twice", spoil: func(m *mutant) {
			n := 0
			m.withdraw = func(ctx context.Context, id iplease.ClaimID) error {
				if n++; n == 2 {
					return driver.ErrNotFound
				}
				return m.Announcer.Withdraw(ctx, id)
			}
		}},
		{name: "withdraw does nothing", noticed: "withdraw removes", spoil: func(m *mutant) {
			m.withdraw = func(context.Context, iplease.ClaimID) error { return nil }
		}},
		{name: "revisions outlive withdraw", noticed: "apply after withdraw", spoil: func(m *mutant) {
			m.apply = func(ctx context.Context, a driver.Announcement) error {
				if a.Revision <= tombs[a.Claim] {
					return nil
				}
				tombs[a.Claim] = a.Revision
				return m.Announcer.Apply(ctx, a)
			}
		}},
		{name: "addresses outlive withdraw", noticed: "withdraw frees the address", spoil: func(m *mutant) {
			m.apply = func(ctx context.Context, a driver.Announcement) error {
				if c, ok := taken[a.Addresses[0]]; ok && c != a.Claim {
					return driver.ErrConflict
				}
				taken[a.Addresses[0]] = a.Claim
				return m.Announcer.Apply(ctx, a)
			}
		}},
		{name: "withdraw takes all", noticed: "withdraw of one leaves others", spoil: func(m *mutant) {
			m.withdraw = func(ctx context.Context, _ iplease.ClaimID) error {
				ids, _ := m.Announcer.List(ctx)
				for _, id := range ids {
					_ = m.Announcer.Withdraw(ctx, id)
				}
				return nil
			}
		}},
		{name: "the same again fails", noticed: "apply twice", spoil: func(m *mutant) {
			m.apply = func(ctx context.Context, a driver.Announcement) error {
				if have(m, a.Claim).Revision == a.Revision {
					return driver.ErrConflict
				}
				return m.Announcer.Apply(ctx, a)
			}
		}},
		{name: "revisions do not count", noticed: "stale revision", spoil: func(m *mutant) {
			m.apply = func(ctx context.Context, a driver.Announcement) error {
				_ = m.Announcer.Withdraw(ctx, a.Claim)
				return m.Announcer.Apply(ctx, a)
			}
		}},
		{name: "only the first revision counts", noticed: "newer revision", spoil: func(m *mutant) {
			m.apply = func(ctx context.Context, a driver.Announcement) error {
				if s := have(m, a.Claim); s.Revision > 0 {
					a = driver.Announcement{Claim: a.Claim, Revision: a.Revision, Addresses: []netip.Addr{s.Addresses[0].Address}}
				}
				return m.Announcer.Apply(ctx, a)
			}
		}},
		{name: "room for three", noticed: "concurrent applies", spoil: func(m *mutant) {
			one := make(chan struct{}, 1) // or several would see the room at once, and none would lack it
			m.apply = func(ctx context.Context, a driver.Announcement) error {
				one <- struct{}{}
				defer func() { <-one }()
				if ids, _ := m.Announcer.List(ctx); len(ids) == 3 {
					return m.Announcer.Withdraw(ctx, ids[0])
				}
				return m.Announcer.Apply(ctx, a)
			}
		}},
		{name: "list is not sorted", noticed: "list", spoil: func(m *mutant) {
			m.apply = func(ctx context.Context, a driver.Announcement) error {
				order = append(order, a.Claim)
				return m.Announcer.Apply(ctx, a)
			}
			m.list = func(context.Context) ([]iplease.ClaimID, error) { return order, nil }
		}},
		{name: "addresses are stolen", noticed: "an address has one claim", spoil: func(m *mutant) {
			m.apply = func(ctx context.Context, a driver.Announcement) error {
				if err := m.Announcer.Apply(ctx, a); !errors.Is(err, driver.ErrConflict) {
					return err
				}
				_ = m.Announcer.Withdraw(ctx, iplease.ClaimID{Owner: "tenant", Name: "web1"})
				return m.Announcer.Apply(ctx, a)
			}
		}},
		{name: "contexts do not count", noticed: "cancelled context", spoil: func(m *mutant) {
			m.withdraw = func(_ context.Context, id iplease.ClaimID) error {
				return m.Announcer.Withdraw(context.Background(), id)
			}
		}},
		{name: "the caller's slices are kept", noticed: "arguments are not kept", spoil: func(m *mutant) {
			m.apply = func(ctx context.Context, a driver.Announcement) error {
				kept = a
				return m.Announcer.Apply(ctx, a)
			}
			m.status = shown(m, func(s *driver.Status) { s.Ports[0].Port.External = kept.Ports[0].External })
		}},
		{name: "the caller's slices are sorted", noticed: "arguments are not changed", spoil: func(m *mutant) {
			m.apply = func(ctx context.Context, a driver.Announcement) error {
				slices.SortFunc(a.Ports, func(a, b iplease.Port) int { return int(a.Protocol) - int(b.Protocol) })
				return m.Announcer.Apply(ctx, a)
			}
		}},
		{name: "a status is given away twice", noticed: "results are not shared", spoil: func(m *mutant) {
			var once driver.Status
			m.status = func(ctx context.Context, id iplease.ClaimID) (driver.Status, error) {
				var err error
				if once.Revision == 0 {
					once, err = m.Announcer.Status(ctx, id)
				}
				return once, err
			}
		}},
		{name: "nonsense is taken", noticed: "invalid announcements", spoil: func(m *mutant) {
			m.apply = func(ctx context.Context, a driver.Announcement) error {
				if err := m.Announcer.Apply(ctx, a); !errors.Is(err, driver.ErrInvalid) {
					return err
				}
				return nil
			}
		}},
		{name: "sources are dropped silently", noticed: "sources without the ability", without: ipleasetest.Sources, spoil: func(m *mutant) {
			m.apply = changed(m, func(a *driver.Announcement) { a.Ports[0].Sources = nil })
		}},
		{name: "close twice fails", noticed: "close twice", spoil: func(m *mutant) {
			n := 0
			m.close = func() error {
				if n++; n > 1 {
					return errMutant
				}
				return m.Announcer.Close()
			}
		}},
		{name: "close changes nothing", noticed: "use after close", spoil: func(m *mutant) { m.close = func() error { return nil } }},
	}
}

func statusFaults() []fault {
	return []fault{
		{name: "absent is empty", noticed: "status of absent", spoil: func(m *mutant) {
			m.status = func(_ context.Context, id iplease.ClaimID) (driver.Status, error) { return have(m, id), nil }
		}},
		{name: "pending is an error", noticed: "status right after apply", spoil: func(m *mutant) {
			m.status = func(context.Context, iplease.ClaimID) (driver.Status, error) {
				return driver.Status{}, &driver.TransientError{Err: errMutant}
			}
		}},
		{name: "pending has no reason", noticed: "a port without replicas is pending", spoil: func(m *mutant) {
			m.status = shown(m, func(s *driver.Status) {
				for i := range s.Ports {
					s.Ports[i].Reason = ""
				}
			})
		}},
		{name: "ports are told once", noticed: "status has every port at every address", spoil: func(m *mutant) {
			m.status = shown(m, func(s *driver.Status) { s.Ports = s.Ports[:len(s.Ports)/2] })
		}},
		{name: "nobody is named", noticed: "the node that answers is named", spoil: func(m *mutant) {
			m.status = shown(m, func(s *driver.Status) { s.Addresses[0].Node = "" })
		}},
		{name: "egress is dropped silently", noticed: "egress without the ability", without: ipleasetest.Egress, spoil: func(m *mutant) {
			m.apply = changed(m, func(a *driver.Announcement) { a.Egress = false })
		}},
	}
}

func watchFaults() []fault {
	return []fault{
		{name: "watch begins with one", noticed: "watch begins with all", spoil: func(m *mutant) {
			m.watch = func(context.Context) iter.Seq2[iplease.ClaimID, error] {
				return func(yield func(iplease.ClaimID, error) bool) {
					ids, _ := m.Announcer.List(context.Background())
					yield(ids[0], nil)
				}
			}
		}},
		{name: "watch sees no withdraw", noticed: "watch tells changes", spoil: func(m *mutant) {
			m.watch = func(ctx context.Context) iter.Seq2[iplease.ClaimID, error] {
				return func(yield func(iplease.ClaimID, error) bool) {
					for id, err := range m.Announcer.Watch(ctx) {
						if err == nil && have(m, id).Revision == 0 {
							continue
						}
						if !yield(id, err) {
							return
						}
					}
				}
			}
		}},
		{name: "the end of the context is an error", noticed: "watch ends with its context", spoil: func(m *mutant) {
			m.watch = func(ctx context.Context) iter.Seq2[iplease.ClaimID, error] {
				return func(yield func(iplease.ClaimID, error) bool) {
					<-ctx.Done()
					yield(iplease.ClaimID{}, ctx.Err())
				}
			}
		}},
		{name: "watch ends without a word", noticed: "watch ends with the announcer", spoil: func(m *mutant) {
			m.watch = func(ctx context.Context) iter.Seq2[iplease.ClaimID, error] {
				return func(yield func(iplease.ClaimID, error) bool) {
					for id, err := range m.Announcer.Watch(ctx) {
						if err != nil || !yield(id, nil) {
							return
						}
					}
				}
			}
		}},
	}
}

// asked changes how connections fare.
func asked(f func(ask askFunc, from ipleasetest.Client, proto iplease.Protocol, to netip.AddrPort) (ipleasetest.Answer, error)) func(*ipleasetest.Network) {
	return func(n *ipleasetest.Network) {
		good := n.Ask
		n.Ask = func(ctx context.Context, from ipleasetest.Client, proto iplease.Protocol, to netip.AddrPort) (ipleasetest.Answer, error) {
			return f(func(from ipleasetest.Client, proto iplease.Protocol, to netip.AddrPort) (ipleasetest.Answer, error) {
				return good(ctx, from, proto, to)
			}, from, proto, to)
		}
	}
}

type askFunc func(ipleasetest.Client, iplease.Protocol, netip.AddrPort) (ipleasetest.Answer, error)

func trafficFaults() []fault {
	type (
		client = ipleasetest.Client
		answer = ipleasetest.Answer
	)
	return []fault{
		{name: "UDP is forgotten", noticed: "ports lead to the replica", rewire: asked(func(ask askFunc, from client, proto iplease.Protocol, to netip.AddrPort) (answer, error) {
			if proto == iplease.UDP {
				return answer{}, errMutant
			}
			return ask(from, proto, to)
		})},
		{name: "every port is open", noticed: "ports are exact", rewire: asked(func(ask askFunc, from client, proto iplease.Protocol, to netip.AddrPort) (answer, error) {
			return ask(from, proto, netip.AddrPortFrom(to.Addr(), 80))
		})},
		{name: "the container port is open too", noticed: "ports are exact", rewire: asked(func(ask askFunc, from client, proto iplease.Protocol, to netip.AddrPort) (answer, error) {
			if to.Port() == ipleasetest.ContainerPort {
				to = netip.AddrPortFrom(to.Addr(), 80)
			}
			return ask(from, proto, to)
		})},
		{name: "a number is one port", noticed: "TCP and UDP are apart", rewire: asked(func(ask askFunc, from client, proto iplease.Protocol, to netip.AddrPort) (answer, error) {
			if a, err := ask(from, iplease.TCP, to); err == nil {
				return a, nil
			}
			return ask(from, proto, to)
		})},
		{name: "the lease does not count", noticed: "services share an address", spoil: func(m *mutant) {
			m.apply = changed(m, func(a *driver.Announcement) {
				for i := range a.Backends {
					a.Backends[i].Lease = a.Ports[0].Lease
				}
				for i := range a.Ports {
					a.Ports[i].Lease = a.Ports[0].Lease
				}
				a.Backends = slices.DeleteFunc(a.Backends, func(b driver.Backend) bool { return strings.HasSuffix(b.Address.String(), "3") })
			})
		}},
		{name: "one replica serves", noticed: "replicas share a port", spoil: func(m *mutant) {
			m.apply = changed(m, func(a *driver.Announcement) { a.Backends = a.Backends[:min(2, len(a.Backends))] })
		}},
		{name: "clients are masqueraded", noticed: "the client's address is seen", rewire: asked(func(ask askFunc, from client, proto iplease.Protocol, to netip.AddrPort) (answer, error) {
			a, err := ask(from, proto, to)
			a.Client = netip.MustParseAddr("10.0.0.1")
			return a, err
		})},
		{name: "sources do not count", noticed: "sources", spoil: func(m *mutant) {
			m.apply = changed(m, func(a *driver.Announcement) { a.Ports[0].Sources, a.Ports[1].Sources = nil, nil })
		}},
		{name: "sources are of the address", noticed: "sources", spoil: func(m *mutant) {
			m.apply = changed(m, func(a *driver.Announcement) {
				for i := range a.Ports {
					a.Ports[i].Sources = a.Ports[0].Sources
				}
			})
		}},
		{name: "no source of a family is any of it", noticed: "sources of one family shut the other", spoil: func(m *mutant) {
			m.apply = changed(m, func(a *driver.Announcement) {
				a.Ports[0].Sources = append(a.Ports[0].Sources, netip.MustParsePrefix("::/0"))
			})
		}},
		{name: "egress is another address", noticed: "egress", rewire: func(n *ipleasetest.Network) {
			n.Leaves = func(context.Context, driver.Backend) (netip.Addr, error) { return n.V4[3], nil }
		}},
		{name: "egress is for all", noticed: "without egress another address is used", spoil: func(m *mutant) {
			m.apply = changed(m, func(a *driver.Announcement) { a.Egress = true })
		}},
	}
}

// late does a newer revision only when asked the second time.
func late(when func(before driver.Status, a driver.Announcement) bool) func(*mutant) {
	return func(m *mutant) {
		m.apply = func(ctx context.Context, a driver.Announcement) error {
			if s := have(m, a.Claim); s.Revision > 0 && when(s, a) {
				return nil
			}
			return m.Announcer.Apply(ctx, a)
		}
	}
}

func changeFaults() []fault {
	flows := map[uint16]string{}
	var answering bool
	var ask func(context.Context, netip.Addr) (string, error)
	return []fault{
		{name: "ports are never added", noticed: "a port added", spoil: late(func(s driver.Status, a driver.Announcement) bool { return len(a.Ports) > len(s.Ports)/2 })},
		{name: "ports are never removed", noticed: "a port removed", spoil: late(func(s driver.Status, a driver.Announcement) bool { return len(a.Ports) < len(s.Ports)/2 })},
		{name: "container ports are for ever", noticed: "another container port", spoil: late(func(s driver.Status, a driver.Announcement) bool { return a.Ports[0].Port != s.Ports[0].Port.Port })},
		{name: "services are for ever", noticed: "another service", spoil: late(func(s driver.Status, a driver.Announcement) bool {
			return a.Ports[0].Service != s.Ports[0].Port.Service
		})},
		{name: "leases are for ever", noticed: "another deployment", spoil: late(func(s driver.Status, a driver.Announcement) bool { return a.Ports[0].Lease != s.Ports[0].Port.Lease })},
		{name: "old flows stick", noticed: "a flow that lives follows", rewire: asked(func(ask askFunc, from ipleasetest.Client, proto iplease.Protocol, to netip.AddrPort) (ipleasetest.Answer, error) {
			a, err := ask(from, proto, to)
			if was := flows[from.Port]; was != "" {
				a.Replica = was
			}
			flows[from.Port] = a.Replica
			return a, err
		})},
		{name: "a change is withdraw and apply", noticed: "an address that stays answers on", spoil: late(func(s driver.Status, _ driver.Announcement) bool {
			answering = false
			return false
		}), rewire: func(n *ipleasetest.Network) {
			answering, ask = true, n.Answers
			n.Answers = func(ctx context.Context, a netip.Addr) (string, error) {
				if !answering {
					return "", nil
				}
				return ask(ctx, a)
			}
		}},
		{name: "neighbours are answered after withdraw", noticed: "withdrawn is silent", rewire: func(n *ipleasetest.Network) {
			n.Answers = func(context.Context, netip.Addr) (string, error) { return "a", nil }
		}},
		{name: "withdraw leaves the ports open", noticed: "withdrawn leads nowhere", spoil: func(m *mutant) {
			m.withdraw = func(context.Context, iplease.ClaimID) error { return nil }
		}},
		{name: "withdraw shuts the neighbour's ports", noticed: "withdrawn leaves the neighbour's", spoil: func(m *mutant) {
			m.withdraw = func(ctx context.Context, _ iplease.ClaimID) error {
				ids, _ := m.Announcer.List(ctx)
				for _, id := range ids {
					_ = m.Announcer.Withdraw(ctx, id)
				}
				return nil
			}
		}},
	}
}

func hostFaults() []fault {
	// forgets opens another network after the first.
	forgets := func(n *ipleasetest.Network) {
		n.Reopen = func(context.Context) (driver.Announcer, error) { return memannouncer.New(memannouncer.Config{}), nil }
	}
	return []fault{
		{name: "claims are forgotten", noticed: "list after reopen", rewire: forgets},
		{name: "nothing is announced again", noticed: "announced after reopen", rewire: func(n *ipleasetest.Network) {
			reopen := n.Reopen
			n.Reopen = func(ctx context.Context) (driver.Announcer, error) {
				n.Ask = func(context.Context, ipleasetest.Client, iplease.Protocol, netip.AddrPort) (ipleasetest.Answer, error) {
					return ipleasetest.Answer{}, errMutant
				}
				return reopen(ctx)
			}
		}},
		{name: "revisions are forgotten", noticed: "stale revision after reopen", rewire: forgets},
		{name: "the withdrawn comes back", noticed: "withdrawn stays so after reopen", rewire: func(n *ipleasetest.Network) {
			reopen := n.Reopen
			n.Reopen = func(ctx context.Context) (driver.Announcer, error) {
				a, err := reopen(ctx)
				back := driver.Announcement{Claim: iplease.ClaimID{Owner: "tenant", Name: "web1"}, Revision: 1, Addresses: n.V4[:1]}
				return a, errors.Join(err, a.Apply(ctx, back))
			}
		}},
		{name: "a dead host keeps its addresses", noticed: "a host dies", rewire: func(n *ipleasetest.Network) {
			n.Kill = func(context.Context) (driver.Announcer, error) { return n.Announcer, nil }
		}},
	}
}

func TestFaultsAndDeadHostsAreTheNetworks(t *testing.T) {
	a := memannouncer.New(memannouncer.Config{})
	a.Network().SetFault(func(op memannouncer.Op, _ iplease.ClaimID) error { return fmt.Errorf("%s: %w", op, errMutant) })
	_, err := a.List(t.Context())
	require.ErrorIs(t, err, errMutant)
	a.Network().SetFault(nil)
	id := iplease.ClaimID{Owner: "tenant", Name: "web"}
	require.NoError(t, a.Apply(t.Context(), driver.Announcement{Claim: id, Revision: 1, Addresses: addresses("203.0.113.1", 1)}))
	a.Network().Kill("mem")
	s, err := a.Status(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, driver.Pending, s.State)
	_, _, err = a.Network().Reach(netip.MustParseAddr("192.0.2.1"), iplease.TCP, netip.MustParseAddrPort("203.0.113.1:80"))
	require.ErrorIs(t, err, memannouncer.ErrUnanswered)
}
