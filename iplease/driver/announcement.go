package driver

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/market"
)

// Bounds of an announcement. They keep an announcer from being flooded by
// whoever calls it.
const (
	MaxPorts    = 4096
	MaxBackends = 4096
	MaxSources  = 256
	// maxNameBytes is that of a DNS label; services and nodes have such names.
	maxNameBytes = 253
)

// Announcement is one claim and where its ports lead.
type Announcement struct {
	Claim iplease.ClaimID
	// Revision grows with every change, from 1.
	Revision uint64
	// Addresses are one or two, at most one of each family.
	Addresses []netip.Addr
	// Ports are those that are open, the same at each address; no two have the same
	// protocol and external port. None at all is an address that answers and
	// refuses every connection.
	Ports []iplease.Port
	// Backends are the replicas that serve. A port leads to those of its lease and
	// service, of the same family as the address.
	Backends []Backend
	// Egress asks that connections of the backends leave from the addresses.
	Egress bool
}

// Backend is one replica of a service.
type Backend struct {
	Lease   market.LeaseID
	Service string
	Replica uint32
	// Node is the host that runs it, by the name the announcer knows; "" when it is
	// reached from every host.
	Node string
	// Address is where the replica is on that host or in the cluster.
	Address netip.Addr
}

// Clone copies the announcement so deeply that the copies share nothing that can
// be changed.
func (a Announcement) Clone() Announcement {
	a.Addresses, a.Backends = slices.Clone(a.Addresses), slices.Clone(a.Backends)
	a.Ports = slices.Clone(a.Ports)
	for i := range a.Ports {
		a.Ports[i].Sources = slices.Clone(a.Ports[i].Sources)
	}
	return a
}

// Serving returns the backends of a port at an address: those of its lease and
// service in the address's family, in order.
func (a Announcement) Serving(p iplease.Port, at netip.Addr) []Backend {
	var out []Backend
	for _, b := range a.Backends {
		if b.Lease == p.Lease && b.Service == p.Service && b.Address.Is4() == at.Is4() {
			out = append(out, b)
		}
	}
	return out
}

// Restricted reports whether a port is held to some sources.
func (a Announcement) Restricted() bool {
	return slices.ContainsFunc(a.Ports, func(p iplease.Port) bool { return len(p.Sources) > 0 })
}

// Validate checks form and bounds. The error wraps [ErrInvalid].
func (a Announcement) Validate() error {
	if _, err := iplease.ParseClaimID(a.Claim.String()); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if a.Revision == 0 {
		return fmt.Errorf("%w: revision 0, they begin at 1", ErrInvalid)
	}
	for _, check := range []func() error{a.validateAddresses, a.validatePorts, a.validateBackends} {
		if err := check(); err != nil {
			return fmt.Errorf("%w: claim %s: %w", ErrInvalid, a.Claim, err)
		}
	}
	return nil
}

func (a Announcement) validateAddresses() error {
	if n := len(a.Addresses); n == 0 || n > 2 {
		return fmt.Errorf("%d addresses, want 1 or 2", n)
	}
	for _, at := range a.Addresses {
		if !usable(at) {
			return fmt.Errorf("%s is not the address of a host", at)
		}
	}
	if len(a.Addresses) == 2 && a.Addresses[0].Is4() == a.Addresses[1].Is4() {
		return fmt.Errorf("%s and %s are of one family", a.Addresses[0], a.Addresses[1])
	}
	return nil
}

// usable tells addresses of hosts from others.
func usable(a netip.Addr) bool {
	return a.IsValid() && a.Zone() == "" && !a.Is4In6() && !a.IsUnspecified() && !a.IsMulticast() &&
		!a.IsLoopback() && !a.IsLinkLocalUnicast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

func (a Announcement) validatePorts() error {
	if n := len(a.Ports); n > MaxPorts {
		return fmt.Errorf("%d ports, want at most %d", n, MaxPorts)
	}
	type key struct {
		proto iplease.Protocol
		port  uint16
	}
	seen := make(map[key]bool, len(a.Ports))
	for _, p := range a.Ports {
		k := key{p.Protocol, p.External}
		if seen[k] {
			return fmt.Errorf("port %d/%s is there twice", p.External, p.Protocol)
		}
		seen[k] = true
		if err := validatePort(p); err != nil {
			return fmt.Errorf("port %d/%s: %w", p.External, p.Protocol, err)
		}
	}
	return nil
}

func validatePort(p iplease.Port) error {
	if p.Protocol != iplease.TCP && p.Protocol != iplease.UDP {
		return fmt.Errorf("protocol is neither TCP nor UDP")
	}
	if p.External == 0 || p.Port == 0 {
		return fmt.Errorf("port 0")
	}
	if len(p.Sources) > MaxSources {
		return fmt.Errorf("%d sources, want at most %d", len(p.Sources), MaxSources)
	}
	for _, s := range p.Sources {
		if !s.IsValid() || s.Addr().Is4In6() || s.Addr().Zone() != "" {
			return fmt.Errorf("source %s is no prefix", s)
		}
	}
	return validateName(p.Lease, p.Service)
}

func (a Announcement) validateBackends() error {
	if n := len(a.Backends); n > MaxBackends {
		return fmt.Errorf("%d backends, want at most %d", n, MaxBackends)
	}
	for _, b := range a.Backends {
		if err := validateName(b.Lease, b.Service); err != nil {
			return fmt.Errorf("backend %s: %w", b.Address, err)
		}
		if !usable(b.Address) || len(b.Node) > maxNameBytes {
			return fmt.Errorf("backend %s: not the address of a host, or its node's name is too long", b.Address)
		}
	}
	return nil
}

func validateName(lease market.LeaseID, service string) error {
	if _, err := market.ParseLeaseID(lease.String()); err != nil {
		return err
	}
	if service == "" || len(service) > maxNameBytes {
		return fmt.Errorf("a service's name is 1 to %d bytes", maxNameBytes)
	}
	return nil
}
