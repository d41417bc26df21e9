package provider

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

var _ gateway.Backend = (*Provider)(nil)

// PutManifest implements [gateway.Backend]: it checks the manifest against the
// hash and groups on the market and, for every active lease of ours in the
// deployment, stores it and hands it to the cluster. When it returns without
// error the manifest survives a crash. If the cluster refuses a group for good,
// the manifest accepted before stays in force.
func (p *Provider) PutManifest(ctx context.Context, id market.DeploymentID, m manifest.Manifest) error {
	defer p.manifests.lock(id)()
	hash, err := p.checkManifest(ctx, id, m)
	if err != nil {
		return err
	}
	leases, err := p.activeLeases(ctx, id)
	if err != nil {
		return err
	}
	for _, lease := range leases {
		if err := p.acceptManifest(ctx, lease, m, hash); err != nil {
			return err
		}
	}
	return nil
}

// checkManifest compares a manifest with what is on the market.
func (p *Provider) checkManifest(ctx context.Context, id market.DeploymentID, m manifest.Manifest) (market.Hash, error) {
	d, err := p.cfg.Market.Deployment(ctx, id)
	if err != nil {
		return market.Hash{}, err
	}
	if d.State != market.DeploymentActive {
		return market.Hash{}, market.Refuse(market.ErrState, "deployment-closed", "deployment %s is %s", id, d.State)
	}
	hash, err := m.Version()
	if err != nil {
		return market.Hash{}, err
	}
	if hash != d.Hash {
		return market.Hash{}, market.Refuse(market.ErrMismatch, "manifest-hash",
			"the manifest's version is %s, the deployment's is %s: update the deployment, or send the manifest it was made with", hash, d.Hash)
	}
	groups, err := p.cfg.Market.Groups(ctx, id)
	if err != nil {
		return market.Hash{}, err
	}
	specs := make([]market.GroupSpec, len(groups))
	for i, g := range groups {
		specs[i] = g.Spec
	}
	return hash, manifest.Check(m.WithCounts(specs), specs)
}

// activeLeases returns our active leases of a deployment, at least one.
func (p *Provider) activeLeases(ctx context.Context, id market.DeploymentID) ([]market.Lease, error) {
	list := func(page market.Page) ([]market.Lease, string, error) {
		f := market.LeaseFilter{Owner: id.Owner, DSeq: id.DSeq, Provider: p.me, Live: true}
		return p.cfg.Market.Leases(ctx, f, page)
	}
	var out []market.Lease
	for l, err := range market.All(list) {
		if err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	if len(out) == 0 {
		return nil, market.Refuse(market.ErrNotFound, "no-lease", "this provider has no active lease in deployment %s", id)
	}
	return out, nil
}

// acceptManifest stores a manifest for a lease and has the cluster take it.
func (p *Provider) acceptManifest(ctx context.Context, lease market.Lease, m manifest.Manifest, hash market.Hash) error {
	order, err := p.cfg.Market.Order(ctx, lease.ID.OrderID)
	if err != nil {
		return err
	}
	before, _, err := p.ensureRecord(lease, order)
	if err != nil {
		return err
	}
	if len(before.Placement.Assignments) == 0 {
		return fmt.Errorf("provider: lease %s: nothing could be reserved for it: %w", lease.ID, driver.ErrExhausted)
	}
	if before.Revision > 0 && before.Hash == hash {
		p.queue.add(leaseTask(lease.ID))
		return nil
	}
	runs, err := p.revisionOf(ctx, lease.ID)
	if err != nil {
		return err
	}
	if before.Revision == 0 && runs == 0 && time.Since(before.WonAt) >= p.cfg.ManifestTimeout {
		return market.Refuse(market.ErrState, "manifest-too-late", "the manifest of lease %s was due within %s: the lease is being closed", lease.ID, p.cfg.ManifestTimeout)
	}
	if err := p.servesEndpoints(before, m); err != nil {
		return err
	}
	after, err := p.saveManifest(before, m, hash, runs)
	if err != nil {
		return err
	}
	if after, err = p.keepAddresses(after); err != nil {
		return err
	}
	w, err := workload(after)
	if err != nil {
		return err
	}
	err = p.cfg.Cluster.Apply(ctx, w)
	if err != nil && !passing(err) && ctx.Err() == nil {
		return errors.Join(err, p.revert(before, after))
	}
	if err == nil {
		p.observe(Event{Kind: EventManifestAccepted, Lease: lease.ID, Price: lease.Price})
	}
	p.queue.add(leaseTask(lease.ID)) // what could not be applied now is stored, and applied later
	return nil
}

// revisionOf returns the revision that the cluster holds of a lease, 0 for none
// and while it cannot be seen: then the next look at the lease makes up for it.
func (p *Provider) revisionOf(ctx context.Context, id market.LeaseID) (uint64, error) {
	status, err := p.cfg.Cluster.Status(ctx, id)
	if err != nil {
		return 0, ctx.Err()
	}
	return status.Revision, nil
}

// saveManifest stores a manifest under a revision above the record's and that of
// the cluster, with the host names that it gets.
func (p *Provider) saveManifest(before Record, m manifest.Manifest, hash market.Hash, runs uint64) (Record, error) {
	p.names.Lock()
	defer p.names.Unlock()
	trial := before
	trial.Manifest = m
	group, ok := trial.Group()
	if !ok {
		return before, market.Refuse(market.ErrMismatch, "manifest-group", "the manifest has no group %q", before.GroupName)
	}
	withheld, err := p.withhold(before.Lease, group)
	if err != nil {
		return before, err
	}
	return p.changeRecord(before.Lease, true, func(r *Record) {
		r.Revision, r.Hash, r.Manifest, r.Withheld = max(r.Revision, runs)+1, hash, m, withheld
		r.Restarts = keepRestarts(r.Restarts, group)
	})
}

// revert puts the manifest accepted before back in force, under a revision of
// its own so that the cluster does not take it for an old one.
func (p *Provider) revert(before, after Record) error {
	r, err := p.changeRecord(before.Lease, false, func(r *Record) {
		r.Revision, r.Hash, r.Manifest, r.Withheld = 0, before.Hash, before.Manifest, before.Withheld
		if before.Revision > 0 {
			r.Revision = after.Revision + 1
		}
	})
	if err == nil {
		_, err = p.keepAddresses(r)
	}
	p.queue.add(leaseTask(before.Lease))
	return err
}

// Manifest implements [gateway.Backend].
func (p *Provider) Manifest(_ context.Context, id market.DeploymentID) (manifest.Manifest, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for lease, r := range p.records {
		if lease.DeploymentID == id && r.Revision > 0 {
			return r.Manifest, nil
		}
	}
	return nil, market.Refuse(market.ErrNotFound, "no-manifest", "no manifest has been accepted for deployment %s", id)
}

var _ driver.LogStreamer = (*Provider)(nil)
