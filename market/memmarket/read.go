package memmarket

import (
	"context"
	"slices"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/machine"
)

// read runs f on the committed state.
func (c *Client) read(ctx context.Context, f func(s machine.State) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.faults.Read != nil {
		if err := c.faults.Read(); err != nil {
			return err
		}
	}
	c.market.mu.RLock()
	defer c.market.mu.RUnlock()
	return f(c.market.machine.State)
}

// one reads one row and copies it.
func one[K machine.Key, V any](ctx context.Context, c *Client, table func(machine.State) machine.Table[K, V], k K, clone func(V) V) (v V, err error) {
	err = c.read(ctx, func(s machine.State) error {
		v, err = table(s).Get(k)
		return err
	})
	return clone(v), err
}

// list reads a page and copies it.
func list[V any](ctx context.Context, c *Client, page func(machine.State) ([]V, string, error), clone func(V) V) (out []V, next string, err error) {
	err = c.read(ctx, func(s machine.State) error {
		out, next, err = page(s)
		return err
	})
	return cloneAll(out, clone), next, err
}

// same is the copy of a value that holds no slices.
func same[V any](v V) V { return v }

// Head implements [market.ChainReader].
func (c *Client) Head(ctx context.Context) (h market.Head, err error) {
	err = c.read(ctx, func(machine.State) error {
		h = c.market.head
		return nil
	})
	return h, err
}

// Params implements [market.ChainReader].
func (c *Client) Params(ctx context.Context) (p market.Params, err error) {
	err = c.read(ctx, func(machine.State) error {
		p = c.market.cfg.Params
		p.MinDeposits, p.BidDeposits = slices.Clone(p.MinDeposits), slices.Clone(p.BidDeposits)
		return nil
	})
	return p, err
}

// Balances implements [market.ChainReader].
func (c *Client) Balances(ctx context.Context, a market.Address) (coins market.Coins, err error) {
	err = c.read(ctx, func(machine.State) error {
		coins = c.market.bank.balance(a)
		return nil
	})
	return coins, err
}

// Deployment implements [market.DeploymentReader].
func (c *Client) Deployment(ctx context.Context, id market.DeploymentID) (market.Deployment, error) {
	return one(ctx, c, func(s machine.State) machine.Table[market.DeploymentID, market.Deployment] { return s.Deployments }, id, same)
}

// Deployments implements [market.DeploymentReader].
func (c *Client) Deployments(ctx context.Context, f market.DeploymentFilter, p market.Page) ([]market.Deployment, string, error) {
	return list(ctx, c, func(s machine.State) ([]market.Deployment, string, error) { return s.ListDeployments(f, p) }, same)
}

// Groups implements [market.DeploymentReader].
func (c *Client) Groups(ctx context.Context, id market.DeploymentID) (groups []market.Group, err error) {
	err = c.read(ctx, func(s machine.State) error {
		groups, err = s.ListGroups(id)
		return err
	})
	return cloneAll(groups, market.Group.Clone), err
}

// Account implements [market.DeploymentReader].
func (c *Client) Account(ctx context.Context, id market.DeploymentID) (market.Account, error) {
	return one(ctx, c, func(s machine.State) machine.Table[market.DeploymentID, market.Account] { return s.Accounts }, id, market.Account.Clone)
}

// Order implements [market.OrderReader].
func (c *Client) Order(ctx context.Context, id market.OrderID) (market.Order, error) {
	return one(ctx, c, func(s machine.State) machine.Table[market.OrderID, market.Order] { return s.Orders }, id, market.Order.Clone)
}

// Orders implements [market.OrderReader].
func (c *Client) Orders(ctx context.Context, f market.OrderFilter, p market.Page) ([]market.Order, string, error) {
	return list(ctx, c, func(s machine.State) ([]market.Order, string, error) { return s.ListOrders(f, p) }, market.Order.Clone)
}

// Bid implements [market.OrderReader].
func (c *Client) Bid(ctx context.Context, id market.BidID) (market.Bid, error) {
	return one(ctx, c, func(s machine.State) machine.Table[market.BidID, market.Bid] { return s.Bids }, id, market.Bid.Clone)
}

// Bids implements [market.OrderReader].
func (c *Client) Bids(ctx context.Context, f market.BidFilter, p market.Page) ([]market.Bid, string, error) {
	return list(ctx, c, func(s machine.State) ([]market.Bid, string, error) { return s.ListBids(f, p) }, market.Bid.Clone)
}

// Lease implements [market.LeaseReader].
func (c *Client) Lease(ctx context.Context, id market.LeaseID) (market.Lease, error) {
	return one(ctx, c, func(s machine.State) machine.Table[market.LeaseID, market.Lease] { return s.Leases }, id, market.Lease.Clone)
}

// Leases implements [market.LeaseReader].
func (c *Client) Leases(ctx context.Context, f market.LeaseFilter, p market.Page) ([]market.Lease, string, error) {
	return list(ctx, c, func(s machine.State) ([]market.Lease, string, error) { return s.ListLeases(f, p) }, market.Lease.Clone)
}

// Payment implements [market.LeaseReader].
func (c *Client) Payment(ctx context.Context, id market.LeaseID) (market.Payment, error) {
	return one(ctx, c, func(s machine.State) machine.Table[market.LeaseID, market.Payment] { return s.Payments }, id, same)
}

// Retainer implements [market.RetainerReader].
func (c *Client) Retainer(ctx context.Context, id market.RetainerID) (market.Retainer, error) {
	return one(ctx, c, func(s machine.State) machine.Table[market.RetainerID, market.Retainer] { return s.Retainers }, id, same)
}

// Retainers implements [market.RetainerReader].
func (c *Client) Retainers(ctx context.Context, f market.RetainerFilter, p market.Page) ([]market.Retainer, string, error) {
	return list(ctx, c, func(s machine.State) ([]market.Retainer, string, error) { return s.ListRetainers(f, p) }, same)
}

// Provider implements [market.RegistryReader].
func (c *Client) Provider(ctx context.Context, owner market.Address) (market.Provider, error) {
	return one(ctx, c, func(s machine.State) machine.Table[market.Address, market.Provider] { return s.Providers }, owner, market.Provider.Clone)
}

// Providers implements [market.RegistryReader].
func (c *Client) Providers(ctx context.Context, p market.Page) ([]market.Provider, string, error) {
	return list(ctx, c, func(s machine.State) ([]market.Provider, string, error) { return s.ListProviders(p) }, market.Provider.Clone)
}

// Certificate implements [market.RegistryReader].
func (c *Client) Certificate(ctx context.Context, id market.CertificateID) (market.Certificate, error) {
	return one(ctx, c, func(s machine.State) machine.Table[market.CertificateID, market.Certificate] { return s.Certificates }, id, market.Certificate.Clone)
}

// Certificates implements [market.RegistryReader].
func (c *Client) Certificates(ctx context.Context, f market.CertificateFilter, p market.Page) ([]market.Certificate, string, error) {
	return list(ctx, c, func(s machine.State) ([]market.Certificate, string, error) { return s.ListCertificates(f, p) }, market.Certificate.Clone)
}

// Audits implements [market.RegistryReader].
func (c *Client) Audits(ctx context.Context, f market.AuditFilter, p market.Page) ([]market.Audit, string, error) {
	return list(ctx, c, func(s machine.State) ([]market.Audit, string, error) { return s.ListAudits(f, p) }, market.Audit.Clone)
}
