package netpolicytest

import (
	"fmt"
	"net/netip"

	"github.com/moorage-dev/moorage/netpolicy"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// World is a host or a cluster with leases on it.
type World struct {
	Surroundings netpolicy.Surroundings
	Leases       []Lease
	// Node is the machine that all containers are on; its addresses are in no
	// lease's range. Router is where the HTTP router connects from.
	Node, Router []netip.Addr
}

// Lease is one lease's containers and their policy. The policy of a faulty renderer
// may differ from what Group and Leased compile to.
type Lease struct {
	Group    manifest.Group
	Leased   []netpolicy.LeasedPort
	Policy   *netpolicy.Policy
	Prefixes []netip.Prefix
	Replicas []Replica
}

// Replica is a container with an address of each family that its lease has.
type Replica struct {
	Service   string
	Addresses []netip.Addr
}

// End is one end of a packet.
type End struct {
	// Role is Replica with Lease and Service set, Router, Node, or Elsewhere.
	Role    netpolicy.Role
	Lease   int
	Service string
	Address netip.Addr
}

// String names the end for a person.
func (e End) String() string {
	if e.Role == netpolicy.Replica {
		return fmt.Sprintf("lease %d's %s at %s", e.Lease, e.Service, e.Address)
	}
	return fmt.Sprintf("%s at %s", e.Role, e.Address)
}

// Packet opens a connection between two ends. Both addresses are of one family.
type Packet struct {
	From, To End
	Port     netpolicy.Port
}

// String describes the packet.
func (p Packet) String() string { return fmt.Sprintf("%s to %s %s", p.From, p.To, p.Port) }

// Verdict is what the policies of a world say of a packet.
type Verdict struct {
	// Leaving is that of the sender's lease, Entering that of the receiver's. Where an
	// end is of no lease, or both are of one, the verdict is Unconcerned.
	Leaving, Entering netpolicy.Verdict
}

// Allowed reports whether nobody denies the packet.
func (v Verdict) Allowed() bool { return v.Leaving.Allowed() && v.Entering.Allowed() }

// String says both verdicts.
func (v Verdict) String() string {
	return fmt.Sprintf("leaving %s; entering %s", v.Leaving, v.Entering)
}

// Evaluate asks the policies of the leases at both ends.
func (w *World) Evaluate(p Packet) Verdict {
	none := netpolicy.Verdict{Reason: netpolicy.Unconcerned}
	v := Verdict{Leaving: none, Entering: none}
	inside := p.From.Role == netpolicy.Replica && p.To.Role == netpolicy.Replica && p.From.Lease == p.To.Lease
	if p.From.Role == netpolicy.Replica && !inside {
		v.Leaving = w.seen(p.From.Lease, p)
	}
	if p.To.Role == netpolicy.Replica {
		v.Entering = w.seen(p.To.Lease, p)
	}
	return v
}

// seen is the packet as a lease's policy sees it.
func (w *World) seen(lease int, p Packet) netpolicy.Verdict {
	end := func(e End) netpolicy.Endpoint {
		if e.Role == netpolicy.Replica && e.Lease != lease {
			return netpolicy.At(e.Address)
		}
		return netpolicy.Endpoint{Role: e.Role, Service: e.Service, Address: e.Address}
	}
	return w.Leases[lease].Policy.Evaluate(netpolicy.Flow{From: end(p.From), To: end(p.To), Port: p.Port})
}

// compile fills in the policies.
func (w *World) compile() error {
	for i := range w.Leases {
		l := &w.Leases[i]
		var err error
		if l.Policy, err = netpolicy.Compile(l.Group, l.Leased, w.Surroundings); err != nil {
			return fmt.Errorf("lease %d: %w", i, err)
		}
	}
	return nil
}

// ends are all containers of a lease, once for each address.
func (w *World) ends(lease int) []End {
	var out []End
	for _, r := range w.Leases[lease].Replicas {
		for _, a := range r.Addresses {
			out = append(out, End{Role: netpolicy.Replica, Lease: lease, Service: r.Service, Address: a})
		}
	}
	return out
}
