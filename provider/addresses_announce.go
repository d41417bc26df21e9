package provider

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/iplease"
	ipdriver "github.com/moorage-dev/moorage/iplease/driver"
	"github.com/moorage-dev/moorage/market"
)

// announce has everything announced that a lease has, and withdrawn what its
// deployment has let go.
func (p *Provider) announce(ctx context.Context, id market.LeaseID) error {
	b := p.addresses
	if b == nil {
		return nil
	}
	var claims []iplease.Claim
	b.look(func(t *iplease.Table) { claims = t.Claims(id.Owner) })
	var faults error
	for _, c := range claims {
		switch {
		case c.State == iplease.Bound && slices.Contains(c.Leases(), id):
			faults = errors.Join(faults, p.syncClaim(ctx, c.ID))
		case c.State != iplease.Bound && c.From == id.DeploymentID:
			faults = errors.Join(faults, p.withdrawClaim(ctx, c))
		}
	}
	return faults
}

// syncClaim has the announcer do for a claim what the table says. What was
// announced under a former name goes first: an address has one announcement.
func (p *Provider) syncClaim(ctx context.Context, id iplease.ClaimID) error {
	if err := p.leaveFormer(ctx, p.addresses.claim(id)); err != nil {
		return err
	}
	return p.syncName(ctx, id)
}

// withdrawClaim is syncClaim for a claim that is not bound, and may have no name.
func (p *Provider) withdrawClaim(ctx context.Context, c iplease.Claim) error {
	err := p.leaveFormer(ctx, c)
	if c.ID.Name != "" {
		err = errors.Join(err, p.syncName(ctx, c.ID))
	}
	return err
}

// leaveFormer has the announcer do for the former names of a claim what the table
// says of them now: the claim's address is not under them any more.
func (p *Provider) leaveFormer(ctx context.Context, c iplease.Claim) error {
	var faults error
	for _, name := range c.Former {
		err := p.syncName(ctx, iplease.ClaimID{Owner: c.ID.Owner, Name: name})
		if err == nil {
			err = p.addresses.change(func(t *iplease.Table) { t.Withdrawn(c.Addresses()[0], name) })
		}
		faults = errors.Join(faults, err)
	}
	return faults
}

// syncName is announceClaim for whoever has not locked the claim.
func (p *Provider) syncName(ctx context.Context, id iplease.ClaimID) error {
	defer p.addresses.claims.lock(id)()
	_, err := p.announceClaim(ctx, id)
	return err
}

// announceClaim has the announcer do for the claim of a name, which is locked, what
// the table says, former names aside. It returns how long
// the announcer took to lead the ports elsewhere, 0 when nothing had to change.
func (p *Provider) announceClaim(ctx context.Context, id iplease.ClaimID) (time.Duration, error) {
	b := p.addresses
	c := b.claim(id)
	seen, err := b.cfg.Announcer.Status(ctx, id)
	known := err == nil
	if err != nil && !errors.Is(err, ipdriver.ErrNotFound) {
		return 0, fmt.Errorf("provider: address %s: %w", id, err)
	}
	if c.State != iplease.Bound {
		if known {
			err = b.cfg.Announcer.Withdraw(ctx, id)
		}
		if known && err != nil {
			return 0, fmt.Errorf("provider: address %s: withdraw: %w", id, err)
		}
		b.look(func(*iplease.Table) { delete(b.announced, id); delete(b.refused, id) })
		return 0, nil
	}
	want, err := p.announcement(ctx, c)
	if err != nil {
		return 0, err
	}
	b.mu.Lock()
	have := b.announced[id]
	b.mu.Unlock()
	want.Revision = have.Revision
	if known && seen.Revision == have.Revision && reflect.DeepEqual(have, want) {
		return 0, nil
	}
	want.Revision = max(c.Revision, have.Revision+1, seen.Revision+1)
	began := time.Now()
	if err := b.cfg.Announcer.Apply(ctx, want); err != nil {
		b.look(func(*iplease.Table) { b.refused[id] = refusal(err) })
		return 0, fmt.Errorf("provider: address %s: announce: %w", id, err)
	}
	took := time.Since(began)
	b.look(func(*iplease.Table) { b.announced[id] = want; delete(b.refused, id) })
	for _, lease := range c.Leases() {
		p.bell.ring(lease)
	}
	return took, nil
}

// refusal says for a tenant why an announcer did not take an announcement.
func refusal(err error) string {
	switch {
	case errors.Is(err, ipdriver.ErrConflict):
		return "the announcer refuses the address: another has it"
	case errors.Is(err, errors.ErrUnsupported):
		return "the announcer cannot do what is asked for"
	case errors.Is(err, ipdriver.ErrInvalid):
		return "the announcer refuses the announcement"
	}
	return "the announcer cannot be reached at the moment"
}

// announcement is what is to be announced for a bound claim.
func (p *Provider) announcement(ctx context.Context, c iplease.Claim) (ipdriver.Announcement, error) {
	a := ipdriver.Announcement{Claim: c.ID, Addresses: c.Addresses(), Ports: c.Ports, Egress: p.egress(c)}
	for _, lease := range c.Leases() {
		backends, err := p.backends(ctx, lease, c)
		if err != nil {
			return a, err
		}
		a.Backends = append(a.Backends, backends...)
	}
	return a, nil
}

// backends are the replicas of a lease that a claim's ports lead to.
func (p *Provider) backends(ctx context.Context, lease market.LeaseID, c iplease.Claim) ([]ipdriver.Backend, error) {
	st, err := p.cfg.Cluster.Status(ctx, lease)
	if errors.Is(err, driver.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err // not seen is not gone
	}
	var out []ipdriver.Backend
	for _, s := range st.Services {
		if !slices.ContainsFunc(c.Ports, func(p iplease.Port) bool { return p.Lease == lease && p.Service == s.Name }) {
			continue
		}
		for _, r := range s.Replicas {
			for _, at := range [...]netip.Addr{r.Address, r.Address6} {
				if r.State == driver.Ready && at.IsValid() {
					out = append(out, ipdriver.Backend{Lease: lease, Service: s.Name, Replica: r.Index, Node: r.Node, Address: at})
				}
			}
		}
	}
	return out, nil
}

// egress reports whether connections shall leave from a claim's addresses: if the
// operator wants that, from the first, by name, of those that a service has.
func (p *Provider) egress(c iplease.Claim) bool {
	b := p.addresses
	if !b.cfg.Egress {
		return false
	}
	var held []iplease.Claim
	b.look(func(t *iplease.Table) { held = t.HeldBy(c.Holder) })
	for _, other := range held {
		if other.ID.Name >= c.ID.Name {
			continue
		}
		for _, q := range other.Ports {
			if slices.ContainsFunc(c.Ports, func(p iplease.Port) bool { return p.Lease == q.Lease && p.Service == q.Service }) {
				return false
			}
		}
	}
	return true
}
