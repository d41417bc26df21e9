package driver

import (
	"fmt"

	"github.com/moorage-dev/moorage/netpolicy"
)

// PolicyEnforcer is a driver that tells how much of a workload's network policy
// its cluster enforces. One that is none enforces nothing that it could vouch for.
type PolicyEnforcer interface {
	Enforces() Enforcement
}

// Enforcement is a set of what a cluster enforces. Do not renumber.
type Enforcement uint8

// Parts of an [Enforcement].
const (
	// EnforcesLeases: leases do not reach one another.
	EnforcesLeases Enforcement = 1 << iota
	// EnforcesServices: a service reaches another only on ports exposed to it.
	EnforcesServices
	// EnforcesEgress: of the world outside only public addresses are reached, none
	// of the node, the provider, and metadata services.
	EnforcesEgress
	// EnforcesSources: a leased port with sources takes connections from them alone.
	EnforcesSources
	// EnforcesAll is everything that a policy says.
	EnforcesAll = EnforcesLeases | EnforcesServices | EnforcesEgress | EnforcesSources
)

// Has reports whether all parts of o are in e.
func (e Enforcement) Has(o Enforcement) bool { return e&o == o }

// Policy compiles who may reach whom in the workload, and what it may reach
// outside, from its group and its leased addresses. The error wraps [ErrInvalid].
func (w Workload) Policy(s netpolicy.Surroundings) (*netpolicy.Policy, error) {
	leased := make([]netpolicy.LeasedPort, 0, len(w.Addresses))
	for _, a := range w.Addresses {
		if a.Withheld && len(a.Sources) == 0 {
			continue // a list of sources counts whatever way clients come
		}
		leased = append(leased, netpolicy.LeasedPort{
			Service: a.Service, Port: netpolicy.Port{Protocol: a.Protocol, Number: a.Port}, Sources: a.Sources,
		})
	}
	p, err := netpolicy.Compile(w.Group, leased, s)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return p, nil
}
