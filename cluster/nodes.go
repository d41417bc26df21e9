package cluster

import (
	"context"
	"errors"
	"iter"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
)

var _ driver.NodeWatcher = (*Cluster)(nil)

// WatchNodes yields what Nodes returns, at once and whenever it may differ from
// before, until the context ends (then without error). It goes on after transient
// failures; any other ends it. A driver that cannot watch its nodes is
// [errors.ErrUnsupported]: read them now and then.
func (c *Cluster) WatchNodes(ctx context.Context) iter.Seq2[[]inventory.Node, error] {
	return func(yield func([]inventory.Node, error) bool) {
		w, ok := c.driver.(driver.NodeWatcher)
		if !ok {
			yield(nil, wrap("watch-nodes", market.LeaseID{}, errors.ErrUnsupported))
			return
		}
		for delay := c.cfg.BaseDelay; ; delay = min(2*delay, c.cfg.MaxDelay) {
			failed := false
			for nodes, err := range w.WatchNodes(ctx) {
				if failed = transient(err); failed {
					break
				}
				if !yield(nodes, wrap("watch-nodes", market.LeaseID{}, err)) || err != nil {
					return
				}
				delay = c.cfg.BaseDelay
			}
			if !failed || sleep(ctx, c.jitter(delay)) != nil {
				return
			}
		}
	}
}
