package iplease

import (
	"fmt"
	"math"
	"net/netip"
	"slices"

	"github.com/moorage-dev/moorage/market"
)

// merge returns the ports that a claim has when a lease's are replaced by others,
// sorted; without a change it returns the very same ones. c may be nil. Ports that
// another lease has stay with it: they are left out, and the error, a
// [*ConflictError], names the first. With any other error there are no ports.
func (t *Table) merge(c *claim, id ClaimID, lease market.LeaseID, w *Want) ([]Port, error) {
	var have []Port
	var rules []SourceRule
	if c != nil {
		have, rules = c.ports, c.rules
	}
	ports := make([]Port, 0, len(have)+len(w.Ports))
	for _, p := range have {
		if p.Lease != lease {
			ports = append(ports, p)
		}
	}
	for _, p := range w.Ports {
		p.Lease, p.Number = lease, w.Number
		p.Sources = applyRules(p, rules)
		ports = append(ports, p)
	}
	ports, refused, err := yield(id, lease, ports)
	switch {
	case err != nil:
		return nil, err
	case slices.EqualFunc(ports, have, Port.equal):
		return have, refused
	}
	return ports, refused
}

// yield sorts ports and leaves out those of a lease that another one has; refused
// is a [*ConflictError] for the first of them. A port that the lease wants twice
// is an error.
func yield(id ClaimID, lease market.LeaseID, ports []Port) (kept []Port, refused, err error) {
	slices.SortStableFunc(ports, Port.compare)
	kept = ports[:0]
	for _, p := range ports {
		if n := len(kept); n > 0 && kept[n-1].compare(p) == 0 {
			conflict := &ConflictError{id, p.Protocol, p.External, kept[n-1].holder(), p.holder()}
			if kept[n-1].Lease == lease {
				return nil, nil, conflict
			}
			if refused == nil {
				refused = conflict
			}
			continue
		}
		kept = append(kept, p)
	}
	return kept, refused, tooMany(id, kept)
}

func tooMany(id ClaimID, ports []Port) error {
	if len(ports) > MaxPorts {
		return fmt.Errorf("iplease: claim %s: %d ports, at most %d: %w", id, len(ports), MaxPorts, market.ErrInvalid)
	}
	return nil
}

// sortPorts sorts ports and checks that no two are the same.
func sortPorts(id ClaimID, ports []Port) error {
	slices.SortStableFunc(ports, Port.compare)
	for i := 1; i < len(ports); i++ {
		if has, wants := ports[i-1], ports[i]; has.compare(wants) == 0 {
			return &ConflictError{id, has.Protocol, has.External, has.holder(), wants.holder()}
		}
	}
	return tooMany(id, ports)
}

// applyRules returns the sources of a port: those of the rule for it, or its own.
func applyRules(p Port, rules []SourceRule) []netip.Prefix {
	for _, r := range rules {
		if r.Protocol == p.Protocol && r.External == p.External {
			return r.Sources
		}
	}
	return p.Sources
}

// without returns the ports that a lease does not have.
func without(ports []Port, lease market.LeaseID) []Port {
	its := func(p Port) bool { return p.Lease == lease }
	others := func(p Port) bool { return p.Lease != lease }
	switch {
	case !slices.ContainsFunc(ports, its):
		return ports
	case !slices.ContainsFunc(ports, others):
		return nil
	}
	return slices.DeleteFunc(slices.Clone(ports), its)
}

// validate checks the form of a want.
func (w Want) validate(id ClaimID) error {
	if err := id.Validate(); err != nil {
		return err
	}
	if n := len(w.Ports); n == 0 || n > MaxPorts {
		return fmt.Errorf("iplease: claim %s: %d ports, want 1 to %d: %w", id, n, MaxPorts, market.ErrInvalid)
	}
	for _, p := range w.Ports {
		if err := p.validate(); err != nil {
			return fmt.Errorf("iplease: claim %s: %w", id, err)
		}
	}
	return nil
}

func (p Port) validate() error {
	switch {
	case p.Protocol != TCP && p.Protocol != UDP:
		return fmt.Errorf("protocol %s: %w", p.Protocol, market.ErrInvalid)
	case p.External == 0 || p.Port == 0:
		return fmt.Errorf("port %d to %d: want 1 to %d: %w", p.External, p.Port, math.MaxUint16, market.ErrInvalid)
	case p.Service == "":
		return fmt.Errorf("port %d: no service: %w", p.External, market.ErrInvalid)
	}
	return validSources(p.Sources)
}

func validSources(sources []netip.Prefix) error {
	if sources != nil && len(sources) == 0 {
		return fmt.Errorf("an empty list of client prefixes: %w", market.ErrInvalid)
	}
	if len(sources) > MaxSources {
		return fmt.Errorf("%d client prefixes, at most %d: %w", len(sources), MaxSources, market.ErrInvalid)
	}
	for _, s := range sources {
		if !s.IsValid() || s != s.Masked() {
			return fmt.Errorf("client prefix %s: want a network, without bits of a host: %w", s, market.ErrInvalid)
		}
	}
	return nil
}
