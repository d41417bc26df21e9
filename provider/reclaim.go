package provider

import (
	"context"
	"fmt"
	"time"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway/api"
)

// Reclaim takes the capacity of a lease back, for instance because its nodes are
// taken out of service. A tenant who ordered a notice keeps the lease, and pays,
// until the notice is over; any other lease ends with this call. It returns the
// height at which the lease ends, 0 when it has ended. A lease that is not ours
// wraps [market.ErrNotFound].
func (p *Provider) Reclaim(ctx context.Context, id market.LeaseID) (endsAt int64, err error) {
	if !p.serving(id) {
		return 0, market.Refuse(market.ErrNotFound, "no-lease", "this provider does not serve lease %s", id)
	}
	if err := p.closeBid(ctx, id, market.ReasonDecommission); err != nil {
		return 0, err
	}
	lease, err := p.cfg.Market.Lease(ctx, id)
	if err != nil {
		return 0, fmt.Errorf("provider: reclaim %s: %w", id, err)
	}
	return lease.EndsAt, nil
}

// notice tells a tenant that the lease ends, and when.
func (p *Provider) notice(lease market.Lease) *api.Notice {
	if lease.State != market.LeaseClosing {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	left := time.Duration(lease.EndsAt-p.height) * p.pace.blockTime()
	return &api.Notice{EndsAtHeight: lease.EndsAt, EndsAt: time.Now().UTC().Add(left).Truncate(time.Second), Reason: lease.Reason.String()}
}
