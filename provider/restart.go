package provider

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

var _ gateway.Restarter = (*Provider)(nil)

// Restart implements [gateway.Restarter]: the replicas of a service are replaced
// by new ones, as an update would. The wish is durable when it returns.
func (p *Provider) Restart(ctx context.Context, id market.LeaseID, service string) error {
	r, _ := p.record(id)
	group, _ := r.Group()
	known := slices.ContainsFunc(group.Services, func(s manifest.Service) bool { return s.Name == service })
	if r.Revision == 0 || !known {
		return market.Refuse(market.ErrNotFound, "no-service", "lease %s runs no service %q", id, service)
	}
	_, err := p.changeRecord(id, false, func(r *Record) {
		r.Restarts = maps.Clone(r.Restarts)
		if r.Restarts == nil {
			r.Restarts = map[string]uint64{}
		}
		r.Restarts[service]++
		r.Revision++
	})
	if err != nil {
		return err
	}
	if err := p.reconcileLease(ctx, id); err != nil && !errors.Is(err, context.Canceled) {
		p.cfg.Logger.Warn("a restart comes later", "lease", id, "err", err)
	}
	p.queue.add(leaseTask(id))
	return nil
}

// keepRestarts drops the counters of services that are gone.
func keepRestarts(counts map[string]uint64, group manifest.Group) map[string]uint64 {
	var out map[string]uint64
	for _, s := range group.Services {
		if n := counts[s.Name]; n > 0 {
			if out == nil {
				out = map[string]uint64{}
			}
			out[s.Name] = n
		}
	}
	return out
}

// restartVariable tells a container how often its service was restarted on
// demand. Its change is what makes a cluster replace the replicas.
const restartVariable = "MOORAGE_RESTART"
