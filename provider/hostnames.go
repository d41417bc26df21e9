package provider

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// A host name leads to one lease at a time. The lease that asked first has it. A
// later lease of the same tenant runs without it, says so in its status, and gets
// it when the tenant migrates it or the first lease ends. A lease of another
// tenant that asks for it is refused.

var _ gateway.HostnameMigrator = (*Provider)(nil)

// asks returns the host names that a record's manifest asks for, sorted.
func (r Record) asks() []string {
	group, _ := r.Group()
	return driver.Workload{Group: group}.Hostnames()
}

// has reports whether the lease of the record has the name.
func (r Record) has(name string) bool {
	return r.Revision > 0 && !slices.Contains(r.Withheld, name) && slices.Contains(r.asks(), name)
}

// holder returns the record of the lease other than id that has the name. The
// caller holds names.
func (p *Provider) holder(name string, id market.LeaseID) (Record, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.records {
		if r.Lease != id && r.has(name) {
			return r, true
		}
	}
	return Record{}, false
}

// withhold returns which of the names of a group its lease does not get. A name
// that another tenant has is a refusal. The caller holds names.
func (p *Provider) withhold(id market.LeaseID, group manifest.Group) ([]string, error) {
	var out []string
	for _, name := range (driver.Workload{Group: group}).Hostnames() {
		held, taken := p.holder(name, id)
		switch {
		case !taken:
		case held.Lease.Owner != id.Owner:
			return nil, market.Refuse(driver.ErrConflict, "hostname-taken", "host name %s belongs to another tenant", name)
		default:
			out = append(out, name)
		}
	}
	return out, nil
}

// claimFreeNames gives a lease the names that were withheld from it and that
// nobody has any more.
func (p *Provider) claimFreeNames(r Record) (Record, error) {
	if len(r.Withheld) == 0 {
		return r, nil
	}
	p.names.Lock()
	defer p.names.Unlock()
	return p.changeRecord(r.Lease, false, func(r *Record) {
		left := slices.DeleteFunc(slices.Clone(r.Withheld), func(name string) bool {
			_, taken := p.holder(name, r.Lease)
			return !taken
		})
		if len(left) < len(r.Withheld) {
			r.Withheld, r.Revision = left, r.Revision+1
		}
	})
}

// offerNames has the leases looked at that may want a name of one that is gone.
func (p *Provider) offerNames(gone market.LeaseID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, r := range p.records {
		if id.Owner == gone.Owner && len(r.Withheld) > 0 {
			p.queue.add(leaseTask(id))
		}
	}
}

// MigrateHostnames implements [gateway.HostnameMigrator]: it moves host names
// from other leases of the same tenant to this one, which must ask for them in
// its manifest. The change is durable when it returns; the names lead to
// neither lease for the moment between two changes of the cluster's routes.
// A credential that is not for a service that loses or gets a name moves none.
func (p *Provider) MigrateHostnames(ctx context.Context, to market.LeaseID, names []string, may gateway.MayChange) ([]api.HostnameMoved, error) {
	if !p.serving(to) {
		return nil, market.Refuse(market.ErrNotFound, "no-lease", "this provider does not serve lease %s", to)
	}
	if err := p.mayMoveAll(to, names, may); err != nil {
		return nil, err
	}
	results := make([]api.HostnameMoved, len(names))
	changed := map[market.LeaseID]bool{}
	for i, name := range names {
		var err error
		if results[i], err = p.moveName(to, strings.ToLower(name), may); err != nil {
			return nil, err
		}
		if from := results[i].From; from != nil {
			changed[*from] = true
		}
	}
	// Those that lose names first: the cluster knows a name once only.
	for _, id := range append(slices.SortedFunc(maps.Keys(changed), byText), to) {
		if err := p.reconcileLease(ctx, id); err != nil {
			p.cfg.Logger.Warn("a host name moves later", "lease", id, "err", err)
			p.queue.add(leaseTask(id))
		}
	}
	return results, nil
}

// mayMoveAll checks a credential before anything is moved.
func (p *Provider) mayMoveAll(to market.LeaseID, names []string, may gateway.MayChange) error {
	p.names.Lock()
	defer p.names.Unlock()
	target, _ := p.record(to)
	for _, name := range names {
		name = strings.ToLower(name)
		from, _ := p.holder(name, to)
		if err := mayMove(name, may, target, from); err != nil {
			return err
		}
	}
	return nil
}

// mayMove checks that a credential is for every service of these leases, all of
// one tenant, that asks for a name.
func mayMove(name string, may gateway.MayChange, leases ...Record) error {
	for _, r := range leases {
		if r.Lease.Owner != leases[0].Lease.Owner {
			continue // it is not moved
		}
		group, _ := r.Group()
		for _, s := range group.Services {
			one := driver.Workload{Group: manifest.Group{Services: []manifest.Service{s}}}
			if slices.Contains(one.Hostnames(), name) && !may(r.Lease, s.Name) {
				return fmt.Errorf("%w: the token is not for service %s of deployment %d", api.ErrForbidden, s.Name, r.Lease.DSeq)
			}
		}
	}
	return nil
}

// moveName decides about one name and stores the decision.
func (p *Provider) moveName(to market.LeaseID, name string, may gateway.MayChange) (api.HostnameMoved, error) {
	p.names.Lock()
	defer p.names.Unlock()
	out := api.HostnameMoved{Hostname: name}
	target, _ := p.record(to)
	from, taken := p.holder(name, to)
	switch {
	case !slices.Contains(target.asks(), name):
		out.Rule, out.Detail = "hostname-not-asked", fmt.Sprintf("the manifest of lease %s does not ask for host name %s", to, name)
		return out, nil
	case target.has(name):
		return out, nil
	case taken && from.Lease.Owner != to.Owner:
		out.Rule, out.Detail = "hostname-taken", fmt.Sprintf("host name %s belongs to another tenant", name)
		return out, nil
	}
	if err := mayMove(name, may, target, from); err != nil {
		return out, err // the name has changed hands since it was checked
	}
	out.Moved = true
	if taken {
		id := from.Lease
		out.From = &id
	}
	return out, p.saveMove(name, out.From, to)
}

func byText(a, b market.LeaseID) int { return strings.Compare(a.String(), b.String()) }

// saveMove stores that a name goes from one lease, if any, to another.
func (p *Provider) saveMove(name string, from *market.LeaseID, to market.LeaseID) error {
	ids := []market.LeaseID{to}
	if from != nil {
		ids = append(ids, *from)
		slices.SortFunc(ids, byText)
	}
	for _, id := range ids {
		defer p.saving.lock(id)()
	}
	var after []Record
	for _, id := range ids {
		r, ok := p.record(id)
		if !ok {
			continue // it has ended meanwhile
		}
		r.Revision++
		if id == to {
			r.Withheld = slices.DeleteFunc(slices.Clone(r.Withheld), func(n string) bool { return n == name })
		} else {
			r.Withheld = append(slices.Clone(r.Withheld), name)
			slices.Sort(r.Withheld)
		}
		after = append(after, r)
	}
	if err := p.cfg.Store.Save(after...); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range after {
		p.records[r.Lease] = r
	}
	return nil
}

// adjusted is the group as the cluster is to run it: without the names that are
// withheld, with the restarts.
func (r Record) adjusted(g manifest.Group) manifest.Group {
	if len(r.Withheld) == 0 && len(r.Restarts) == 0 {
		return g
	}
	g.Services = slices.Clone(g.Services)
	for i, s := range g.Services {
		s = driver.CloneService(s)
		for j := range s.Expose {
			s.Expose[j].Hosts = slices.DeleteFunc(s.Expose[j].Hosts, func(name string) bool {
				return slices.Contains(r.Withheld, strings.ToLower(name))
			})
		}
		if n := r.Restarts[s.Name]; n > 0 {
			s.Env = append(s.Env, fmt.Sprintf("%s=%d", restartVariable, n))
		}
		g.Services[i] = s
	}
	return g
}

// addHostnames tells in a status which names each service has.
func (p *Provider) addHostnames(doc *api.LeaseStatus, r Record) {
	group, _ := r.Group()
	for i := range doc.Services {
		for _, s := range group.Services {
			if s.Name != doc.Services[i].Name {
				continue
			}
			one := driver.Workload{Group: manifest.Group{Services: []manifest.Service{s}}}
			for _, name := range one.Hostnames() {
				doc.Services[i].Hostnames = append(doc.Services[i].Hostnames, p.hostname(r, name))
			}
		}
	}
}

func (p *Provider) hostname(r Record, name string) api.Hostname {
	out := api.Hostname{Hostname: name, State: api.HostnameBound}
	if !slices.Contains(r.Withheld, name) {
		return out
	}
	out.State = api.HostnameWithheld
	out.Reason = "it becomes this lease's in a moment"
	if held, ok := p.holder(name, r.Lease); ok {
		id := held.Lease
		out.Holder = &id
		out.Reason = fmt.Sprintf("deployment %d has it: migrate it here, or close that deployment", id.DSeq)
	}
	return out
}
