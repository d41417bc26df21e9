package netpolicy

import (
	"fmt"
	"net/netip"
	"strconv"

	"github.com/moorage-dev/moorage/sdl/manifest"
)

// Port is a transport protocol and a port number of a container. A protocol
// without ports, such as "ICMP", has number 0.
type Port struct {
	Protocol manifest.Protocol
	Number   uint16
}

// String writes "TCP/80".
func (p Port) String() string { return string(p.Protocol) + "/" + strconv.Itoa(int(p.Number)) }

// Role is what an endpoint is to the lease. Do not renumber.
type Role uint8

// Roles. The zero value is everything that is known by its address alone.
const (
	// Elsewhere is any other machine or container: other leases' too.
	Elsewhere Role = 0
	// Replica is a container of the lease.
	Replica Role = 1
	// Router is the provider's shared HTTP router, where it is no process of the
	// node itself.
	Router Role = 2
	// Node is the machine that the lease's container at the other end is on.
	Node Role = 3
	// Resolver is a name server that is found by what it is and not by its address.
	Resolver Role = 4
)

// String returns the role's name.
func (r Role) String() string {
	switch r {
	case Elsewhere:
		return "elsewhere"
	case Replica:
		return "replica"
	case Router:
		return "router"
	case Node:
		return "node"
	case Resolver:
		return "resolver"
	}
	return "unknown"
}

// Endpoint is one end of a flow.
type Endpoint struct {
	Role Role
	// Service is the service of a [Replica].
	Service string
	// Address is where it is. Replicas need none.
	Address netip.Addr
}

// String names the endpoint for a person.
func (e Endpoint) String() string {
	switch {
	case e.Role == Replica:
		return "service " + e.Service
	case e.Role == Elsewhere:
		return e.Address.String()
	case !e.Address.IsValid():
		return "the " + e.Role.String()
	}
	return "the " + e.Role.String() + " at " + e.Address.String()
}

// Flow is a connection, or a first packet, from one endpoint to a port of
// another. Addresses are those of the two ends, after any translation.
type Flow struct {
	From, To Endpoint
	Port     Port
}

// String writes "service web to 1.2.3.4 TCP/443".
func (f Flow) String() string { return fmt.Sprintf("%s to %s %s", f.From, f.To, f.Port) }

// At is the endpoint elsewhere with an address.
func At(a netip.Addr) Endpoint { return Endpoint{Address: a} }

// Of is a replica of a service of the lease.
func Of(service string) Endpoint { return Endpoint{Role: Replica, Service: service} }
