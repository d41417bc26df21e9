package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway"
	"github.com/moorage-dev/moorage/provider/gateway/api"
)

var _ gateway.EndpointMigrator = (*Provider)(nil)

// MigrateEndpoints implements [gateway.EndpointMigrator]: it moves leased
// addresses from other deployments of the same tenant to the deployment of this
// lease. Each name is moved by itself and to the end, or not at all:
//
//	prepare   the destination asks for the name, its replicas are ready; on disk
//	switch    the table gives it the claim; on disk
//	announce  the announcer leads the ports to it, in place
//	confirm   on disk; or, when the announcer refuses, back to where it was
//
// After a crash a prepared move is dropped and a switched one is finished.
func (p *Provider) MigrateEndpoints(ctx context.Context, to market.LeaseID, names []string) ([]api.EndpointMoved, error) {
	if !p.serving(to) {
		return nil, market.Refuse(market.ErrNotFound, "no-lease", "this provider does not serve lease %s", to)
	}
	if p.addresses == nil {
		return nil, fmt.Errorf("provider: leased addresses: %w", errors.ErrUnsupported)
	}
	results := make([]api.EndpointMoved, len(names))
	touched := map[market.DeploymentID]bool{}
	for i, name := range names {
		results[i] = p.tryMove(ctx, to, name)
		if from := results[i].From; from != nil && results[i].Moved {
			touched[*from], touched[to.DeploymentID] = true, true
		}
	}
	for d := range touched {
		for _, id := range p.leasesOf(d) {
			if err := p.reconcileLease(ctx, id); err != nil {
				p.cfg.Logger.Warn("a lease hears later that its address has moved", "lease", id, "err", err)
				p.queue.add(leaseTask(id))
			}
		}
	}
	return results, nil
}

// tryMove moves one endpoint; what could not be stored or seen is a result too.
func (p *Provider) tryMove(ctx context.Context, to market.LeaseID, name string) api.EndpointMoved {
	out, err := p.moveEndpoint(ctx, to, name)
	if err == nil {
		return out
	}
	p.cfg.Logger.Warn("a move of an address was not finished", "lease", to, "endpoint", name, "moved", out.Moved, "err", err)
	if !out.Moved { // else the address is there, and what is missing is made up for
		out.Rule = api.RuleEndpointUnfinished
		out.Detail = "the provider could not finish the move now; it is taken back or finished soon"
	}
	return out
}

// move is what the deployment of a lease wants of an endpoint.
func (p *Provider) move(to market.LeaseID, name string) (m iplease.Move, asked bool) {
	m = iplease.Move{Claim: iplease.ClaimID{Owner: to.Owner, Name: name}, To: to.DeploymentID}
	for _, id := range p.leasesOf(to.DeploymentID) {
		r, _ := p.record(id)
		for _, w := range r.wants() {
			if w.Name != name {
				continue
			}
			m.Ports = append(m.Ports, w.Ports...)
			if id == to {
				m.Selection, asked = w.Selection, true
			}
		}
	}
	return m, asked
}

// moveEndpoint moves one endpoint.
func (p *Provider) moveEndpoint(ctx context.Context, to market.LeaseID, name string) (api.EndpointMoved, error) {
	out := api.EndpointMoved{Endpoint: name}
	id := iplease.ClaimID{Owner: to.Owner, Name: name}
	m, asked := p.move(to, name)
	if !asked {
		out.Rule, out.Detail = api.RuleEndpointNotAsked, fmt.Sprintf("the manifest of lease %s does not ask for endpoint %.70q", to, name)
		return out, nil
	}
	b := p.addresses
	defer b.claims.lock(id)()
	if err := p.finishMoveLocked(ctx, id); err != nil {
		return out, err
	}
	before := b.claim(id)
	out.Addresses = before.Addresses()
	var already bool
	var refused error
	err := b.change(func(t *iplease.Table) { already, refused = t.Prepare(m, time.Now()) })
	if err != nil || already {
		return out, err
	}
	if refused != nil {
		out.Rule, out.Detail = addressRule(refused), refused.Error()
		return out, nil
	}
	from := before.Holder
	out.From = &from
	if why := p.unready(ctx, m.Ports); why != "" {
		out.Rule, out.Detail = api.RuleEndpointNotReady, why
		return out, b.change(func(t *iplease.Table) { _ = t.Rollback(id) })
	}
	return p.switchEndpoint(ctx, id, out)
}

// switchEndpoint does the steps from the switch on, for a claim that is locked.
func (p *Provider) switchEndpoint(ctx context.Context, id iplease.ClaimID, out api.EndpointMoved) (api.EndpointMoved, error) {
	b := p.addresses
	var refused error
	if err := b.change(func(t *iplease.Table) { _, refused = t.Switch(id) }); err != nil {
		return out, err
	}
	if refused != nil { // a side has closed in between
		out.Rule, out.Detail = addressRule(refused), refused.Error()
		return out, nil
	}
	took, err := p.announceClaim(ctx, id)
	if err != nil {
		p.cfg.Logger.Warn("an address could not be moved and goes back", "claim", id, "err", err)
		out.Rule, out.Detail = api.RuleEndpointAnnounce, "the address could not be announced for the new deployment; it is where it was"
		if err := b.change(func(t *iplease.Table) { _ = t.Rollback(id) }); err != nil {
			return out, err
		}
		// It may have been carried out all the same: say where it leads now.
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTime)
		defer cancel()
		_, err := p.announceClaim(back, id)
		return out, err
	}
	out.GapMicros = took.Microseconds()
	out.Moved = true
	return out, b.change(func(t *iplease.Table) { _ = t.Confirm(id) })
}

// rollbackTime is how long an address that could not be moved may take back.
const rollbackTime = 10 * time.Second

// unready says which service of the ports has no replica that is ready, "" when
// all have.
func (p *Provider) unready(ctx context.Context, ports []iplease.Port) string {
	for _, port := range ports {
		backends, err := p.backends(ctx, port.Lease, iplease.Claim{Ports: []iplease.Port{port}})
		if err != nil {
			return "the cluster cannot be seen at the moment"
		}
		if len(backends) == 0 {
			return fmt.Sprintf("no replica of service %s of deployment %s is ready", port.Service, port.Lease.DeploymentID)
		}
	}
	return ""
}

// addressRule names a refusal of the table.
func addressRule(err error) string {
	if _, kept := errors.AsType[*iplease.KeptError](err); kept {
		return api.RuleEndpointKept
	}
	for _, r := range []struct {
		is   error
		rule string
	}{
		{iplease.ErrWithheld, api.RuleEndpointWithheld},
		{iplease.ErrConflict, api.RuleEndpointConflict},
		{iplease.ErrMismatch, api.RuleEndpointMismatch},
		{iplease.ErrExhausted, api.RuleEndpointExhausted},
		{market.ErrNotFound, api.RuleEndpointNotHeld},
		{market.ErrState, api.RuleEndpointMoving},
	} {
		if errors.Is(err, r.is) {
			return r.rule
		}
	}
	return api.RuleEndpointInvalid
}

// finishMove ends what a crash has left of a move.
func (p *Provider) finishMove(ctx context.Context, id iplease.ClaimID) error {
	defer p.addresses.claims.lock(id)()
	return p.finishMoveLocked(ctx, id)
}

func (p *Provider) finishMoveLocked(ctx context.Context, id iplease.ClaimID) error {
	b := p.addresses
	switch m := b.claim(id).Migration; {
	case m == nil:
		return nil
	case m.Phase == iplease.Prepared:
		return b.change(func(t *iplease.Table) { _ = t.Rollback(id) })
	default:
		if _, err := p.announceClaim(ctx, id); err != nil {
			return err
		}
		for _, d := range []market.DeploymentID{m.From, m.To} {
			for _, lease := range p.leasesOf(d) {
				p.queue.add(leaseTask(lease))
			}
		}
		return b.change(func(t *iplease.Table) { _ = t.Confirm(id) })
	}
}

// addIPs tells in a status what a lease has of its leased addresses.
func (p *Provider) addIPs(ctx context.Context, doc *api.LeaseStatus, r Record) {
	if p.addresses == nil {
		return
	}
	for _, w := range r.wants() {
		doc.IPs = append(doc.IPs, p.leasedIP(ctx, r, w))
	}
}

func (p *Provider) leasedIP(ctx context.Context, r Record, w iplease.Want) api.LeasedIP {
	b := p.addresses
	var c iplease.Claim
	var refused error
	b.look(func(t *iplease.Table) {
		c, _ = t.Claim(iplease.ClaimID{Owner: r.Lease.Owner, Name: w.Name})
		refused = t.Explain(r.Lease, w)
	})
	out := api.LeasedIP{Endpoint: w.Name, State: api.IPPending, Reason: "the address is about to be bound", Addresses: c.Addresses(), Retained: c.Retained, Ports: []api.LeasedPort{}}
	ours := c.State == iplease.Bound && c.Holder == r.Lease.DeploymentID && slices.Contains(c.Leases(), r.Lease)
	switch {
	case errors.Is(refused, iplease.ErrWithheld):
		holder := c.Holder
		out.State, out.Holder, out.Rule = api.IPWithheld, &holder, api.RuleEndpointWithheld
		out.Reason = fmt.Sprintf("withheld: held by deployment %d; migrate the endpoint to this lease, or close that deployment", holder.DSeq)
		var held *iplease.WithheldError
		if errors.As(refused, &held) && held.Moved {
			out.Reason = fmt.Sprintf("withheld: moved to deployment %d; migrate the endpoint to this lease to have it back", holder.DSeq)
		}
	case refused != nil:
		out.State, out.Rule, out.Reason = api.IPRefused, addressRule(refused), refused.Error()
	case ours:
		out.State, out.Reason = api.IPBound, ""
	}
	p.addPorts(ctx, &out, c, w)
	return out
}
