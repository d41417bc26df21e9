package provider

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// wants is what the manifest of a record asks for, sorted by endpoint.
func (r Record) wants() []iplease.Want {
	group, _ := r.Group()
	var out []iplease.Want
	for _, s := range group.Services {
		for _, e := range s.Expose {
			if e.IP == "" || !e.Global {
				continue
			}
			i := slices.IndexFunc(out, func(w iplease.Want) bool { return w.Name == e.IP })
			if i < 0 {
				i = len(out)
				out = append(out, iplease.Want{Name: e.IP, Number: e.EndpointSequenceNumber, Selection: r.Selection})
			}
			out[i].Ports = append(out[i].Ports, iplease.Port{
				Protocol: protocolOf(e.Proto), External: uint16(e.External()), Lease: r.Lease, Number: e.EndpointSequenceNumber, Service: s.Name, Port: uint16(e.Port),
			})
		}
	}
	slices.SortFunc(out, func(a, b iplease.Want) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func protocolOf(p manifest.Protocol) iplease.Protocol {
	if p == manifest.UDP {
		return iplease.UDP
	}
	return iplease.TCP
}

func manifestProtocol(p iplease.Protocol) manifest.Protocol { return manifest.Protocol(p.String()) }

// keepAddresses makes the claims of a lease what its manifest asks for, and puts
// what came of it in the record, under a new revision if it is another than
// before.
func (p *Provider) keepAddresses(r Record) (Record, error) {
	b := p.addresses
	if b == nil {
		return r, nil
	}
	defer b.leases.lock(r.Lease)()
	r, ok := p.record(r.Lease)
	if !ok {
		return r, nil // it has ended meanwhile
	}
	wants := r.wants()
	gave := false
	err := b.change(func(t *iplease.Table) {
		before := portsOf(t, r.Lease)
		t.Update(r.Lease, wants, time.Now())
		after := portsOf(t, r.Lease)
		gave = slices.ContainsFunc(before, func(p leasedPort) bool { return !slices.Contains(after, p) })
	})
	if err != nil {
		return r, err
	}
	if gave {
		p.offerAddresses(r.Lease)
	}
	leased := b.leased(r.Lease, wants)
	if reflect.DeepEqual(leased, r.Addresses) {
		return r, nil
	}
	return p.changeRecord(r.Lease, false, func(r *Record) {
		r.Addresses = leased
		if r.Revision > 0 {
			r.Revision++
		}
	})
}

// leasedPort is a port that a lease has.
type leasedPort struct {
	endpoint string
	proto    iplease.Protocol
	external uint16
}

// portsOf lists the ports that a lease has.
func portsOf(t *iplease.Table, lease market.LeaseID) (out []leasedPort) {
	for _, c := range t.HeldBy(lease.DeploymentID) {
		for _, p := range c.Ports {
			if p.Lease == lease {
				out = append(out, leasedPort{c.ID.Name, p.Protocol, p.External})
			}
		}
	}
	return out
}

// servesEndpoints refuses a manifest whose lease has an address only under the
// name of one that its tenant has parked, which the manifest does not use, and one
// with endpoints whose environment variables are the same.
func (p *Provider) servesEndpoints(r Record, m manifest.Manifest) error {
	if p.addresses == nil {
		return nil
	}
	r.Manifest = m
	var names []string
	for _, w := range r.wants() {
		names = append(names, w.Name)
	}
	for i, with := range manifest.EndpointClashes(names) {
		return market.Refuse(market.ErrMismatch, api.RuleEndpointInvalid, "endpoints %s and %s have the same environment variables: rename one", names[i], with)
	}
	var err error
	p.addresses.look(func(t *iplease.Table) { err = t.Serves(r.Lease, r.wants()) })
	if err != nil {
		return market.Refuse(market.ErrMismatch, api.RuleEndpointKept, "%v", err)
	}
	return nil
}

// leased lists the ports that a lease asks for at the addresses there are for
// them, also at those that another deployment of the tenant has.
func (b *addressBook) leased(lease market.LeaseID, wants []iplease.Want) []driver.LeasedAddress {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []driver.LeasedAddress
	for _, w := range wants {
		c, _ := b.table.Claim(iplease.ClaimID{Owner: lease.Owner, Name: w.Name})
		if c.State != iplease.Bound {
			continue
		}
		for _, at := range c.Addresses() {
			for _, p := range w.Ports {
				out = appendLeased(out, c, at, p)
			}
		}
	}
	return out
}

// appendLeased adds a port at an address, once.
func appendLeased(out []driver.LeasedAddress, c iplease.Claim, at netip.Addr, p iplease.Port) []driver.LeasedAddress {
	proto := manifestProtocol(p.Protocol)
	if slices.ContainsFunc(out, func(a driver.LeasedAddress) bool {
		return a.Address == at && a.Protocol == proto && a.External == p.External
	}) {
		return out
	}
	has, ok := c.Port(p.Protocol, p.External)
	ours := ok && has.Lease == p.Lease && has.Service == p.Service
	a := driver.LeasedAddress{
		Endpoint: c.ID.Name, Address: at, Protocol: proto, External: p.External, Service: p.Service, Port: p.Port, Withheld: !ours,
	}
	if ours {
		a.Sources = slices.Clone(has.Sources)
	}
	return append(out, a)
}

// releaseAddresses takes from a lease what it has, and has it withdrawn.
func (p *Provider) releaseAddresses(ctx context.Context, id market.LeaseID) error {
	b := p.addresses
	if b == nil {
		return nil
	}
	var had []iplease.Claim
	err := b.change(func(t *iplease.Table) {
		for _, c := range append(t.HeldBy(id.DeploymentID), t.Moving()...) {
			if slices.Contains(c.Leases(), id) || c.Migration != nil && c.ID.Owner == id.Owner {
				had = append(had, c)
			}
		}
		t.Close(id, time.Now())
	})
	if err != nil {
		return err
	}
	for _, c := range had {
		err = errors.Join(err, p.syncClaim(ctx, c.ID))
	}
	return err
}

// offerAddresses has the leases of a tenant looked at that may get an address
// that another one has let go.
func (p *Provider) offerAddresses(gone market.LeaseID) {
	if p.addresses == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, r := range p.records {
		if id.Owner == gone.Owner && id != gone && len(r.wants()) > 0 {
			p.queue.add(leaseTask(id))
		}
	}
}
