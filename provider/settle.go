package provider

import (
	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/bidengine"
)

// settle has the ledger follow a cluster that chose other nodes for a lease than
// the ledger did, so that what is promised to others is there.
func (p *Provider) settle(lease market.LeaseID, r Record, status driver.Status) error {
	seats := seatsOf(r, status)
	key := lease.OrderID.String()
	p.mu.Lock()
	moved := p.ledger.Settle(key, seats)
	p.mu.Unlock()
	if !moved {
		return nil
	}
	p.cfg.Logger.Debug("the cluster runs a lease elsewhere than promised; the ledger follows", "lease", lease)
	_, err := p.changeRecord(lease, false, func(r *Record) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if held, ok := p.ledger.Placement(key); ok {
			r.Placement = held
		}
	})
	p.retryDeclined(bidengine.Reason.Capacity)
	return err
}

// seatsOf says where the replicas of a lease run.
func seatsOf(r Record, status driver.Status) []inventory.Seat {
	group, _ := r.Group()
	unit := make(map[string]uint32, len(group.Services))
	for i := range group.Services {
		unit[group.Services[i].Name] = group.Services[i].Resources.ID
	}
	var out []inventory.Seat
	for _, s := range status.Services {
		for _, c := range s.Replicas {
			if u := unit[s.Name]; u != 0 && c.Node != "" && c.State != driver.Leaving {
				out = append(out, inventory.Seat{Unit: u, Node: c.Node})
			}
		}
	}
	return out
}
