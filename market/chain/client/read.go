package client

import (
	"context"

	"github.com/cosmos/cosmos-sdk/types/query"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/marketpb"
)

// one converts the answer to a question for one thing.
func one[P, V any](what string, p P, err error, convert func(P) (V, error)) (V, error) {
	if err != nil {
		var zero V
		return zero, fromStatus(what, err)
	}
	return convert(p)
}

// many converts the answer to a question for a list.
func many[P, V any](what string, ps []P, next *query.PageResponse, err error, convert func(P) (V, error)) ([]V, string, error) {
	if err != nil {
		return nil, "", fromStatus(what, err)
	}
	out := make([]V, len(ps))
	for i, p := range ps {
		if out[i], err = convert(p); err != nil {
			return nil, "", err
		}
	}
	return out, string(next.GetNextKey()), nil
}

func pageOf(p market.Page) *query.PageRequest {
	r := &query.PageRequest{Limit: uint64(p.Limit)} // a negative limit becomes one that is refused
	if p.Token != "" {
		r.Key = []byte(p.Token)
	}
	return r
}

// Params implements [market.ChainReader].
func (c *Client) Params(ctx context.Context) (market.Params, error) {
	r, err := c.query.Params(ctx, &marketpb.QueryParamsRequest{})
	return one("parameters", r.GetParams(), err, marketpb.ToParams)
}

// Balances implements [market.ChainReader].
func (c *Client) Balances(ctx context.Context, a market.Address) (market.Coins, error) {
	r, err := c.query.Balances(ctx, &marketpb.QueryBalancesRequest{Address: string(a)})
	return one("balances", r.GetBalances(), err, marketpb.ToCoins)
}

// Deployment implements [market.DeploymentReader].
func (c *Client) Deployment(ctx context.Context, id market.DeploymentID) (market.Deployment, error) {
	r, err := c.query.Deployment(ctx, &marketpb.QueryDeploymentRequest{Owner: string(id.Owner), Dseq: id.DSeq})
	return one("deployment", r.GetDeployment(), err, marketpb.ToDeployment)
}

// Deployments implements [market.DeploymentReader].
func (c *Client) Deployments(ctx context.Context, f market.DeploymentFilter, p market.Page) ([]market.Deployment, string, error) {
	r, err := c.query.Deployments(ctx, &marketpb.QueryDeploymentsRequest{
		Owner: string(f.Owner), Dseq: f.DSeq, State: marketpb.DeploymentState(f.State), Pagination: pageOf(p),
	})
	return many("deployments", r.GetDeployments(), r.GetPagination(), err, marketpb.ToDeployment)
}

// Groups implements [market.DeploymentReader].
func (c *Client) Groups(ctx context.Context, id market.DeploymentID) ([]market.Group, error) {
	r, err := c.query.Groups(ctx, &marketpb.QueryGroupsRequest{Owner: string(id.Owner), Dseq: id.DSeq})
	out, _, err := many("groups", r.GetGroups(), nil, err, marketpb.ToGroup)
	return out, err
}

// Account implements [market.DeploymentReader].
func (c *Client) Account(ctx context.Context, id market.DeploymentID) (market.Account, error) {
	r, err := c.query.Account(ctx, &marketpb.QueryAccountRequest{Owner: string(id.Owner), Dseq: id.DSeq})
	return one("account", r.GetAccount(), err, marketpb.ToAccount)
}

// Order implements [market.OrderReader].
func (c *Client) Order(ctx context.Context, id market.OrderID) (market.Order, error) {
	r, err := c.query.Order(ctx, &marketpb.QueryOrderRequest{Owner: string(id.Owner), Dseq: id.DSeq, Gseq: id.GSeq, Oseq: id.OSeq})
	return one("order", r.GetOrder(), err, marketpb.ToOrder)
}

// Orders implements [market.OrderReader].
func (c *Client) Orders(ctx context.Context, f market.OrderFilter, p market.Page) ([]market.Order, string, error) {
	r, err := c.query.Orders(ctx, &marketpb.QueryOrdersRequest{
		Owner: string(f.Owner), Dseq: f.DSeq, Gseq: f.GSeq, Oseq: f.OSeq, State: marketpb.OrderState(f.State), Pagination: pageOf(p),
	})
	return many("orders", r.GetOrders(), r.GetPagination(), err, marketpb.ToOrder)
}

// Bid implements [market.OrderReader].
func (c *Client) Bid(ctx context.Context, id market.BidID) (market.Bid, error) {
	q := marketpb.QueryBidRequest(marketpb.FromBidID(id))
	r, err := c.query.Bid(ctx, &q)
	return one("bid", r.GetBid(), err, marketpb.ToBid)
}

// Bids implements [market.OrderReader].
func (c *Client) Bids(ctx context.Context, f market.BidFilter, p market.Page) ([]market.Bid, string, error) {
	r, err := c.query.Bids(ctx, &marketpb.QueryBidsRequest{
		Owner: string(f.Owner), Dseq: f.DSeq, Gseq: f.GSeq, Oseq: f.OSeq, Provider: string(f.Provider),
		State: marketpb.BidState(f.State), Pagination: pageOf(p),
	})
	return many("bids", r.GetBids(), r.GetPagination(), err, marketpb.ToBid)
}

// Lease implements [market.LeaseReader].
func (c *Client) Lease(ctx context.Context, id market.LeaseID) (market.Lease, error) {
	q := marketpb.QueryLeaseRequest(marketpb.FromBidID(id.Bid()))
	r, err := c.query.Lease(ctx, &q)
	return one("lease", r.GetLease(), err, marketpb.ToLease)
}

// Leases implements [market.LeaseReader].
func (c *Client) Leases(ctx context.Context, f market.LeaseFilter, p market.Page) ([]market.Lease, string, error) {
	r, err := c.query.Leases(ctx, &marketpb.QueryLeasesRequest{
		Owner: string(f.Owner), Dseq: f.DSeq, Gseq: f.GSeq, Oseq: f.OSeq, Provider: string(f.Provider),
		State: marketpb.LeaseState(f.State), Live: f.Live, Pagination: pageOf(p),
	})
	return many("leases", r.GetLeases(), r.GetPagination(), err, marketpb.ToLease)
}

// Payment implements [market.LeaseReader].
func (c *Client) Payment(ctx context.Context, id market.LeaseID) (market.Payment, error) {
	q := marketpb.QueryPaymentRequest(marketpb.FromBidID(id.Bid()))
	r, err := c.query.Payment(ctx, &q)
	return one("payment", r.GetPayment(), err, marketpb.ToPayment)
}

// Retainer implements [market.RetainerReader].
func (c *Client) Retainer(ctx context.Context, id market.RetainerID) (market.Retainer, error) {
	q := marketpb.QueryRetainerRequest(marketpb.FromRetainerID(id))
	r, err := c.query.Retainer(ctx, &q)
	return one("retainer", r.GetRetainer(), err, marketpb.ToRetainer)
}

// Retainers implements [market.RetainerReader].
func (c *Client) Retainers(ctx context.Context, f market.RetainerFilter, p market.Page) ([]market.Retainer, string, error) {
	r, err := c.query.Retainers(ctx, &marketpb.QueryRetainersRequest{
		Owner: string(f.Owner), Provider: string(f.Provider), State: marketpb.RetainerState(f.State), Kind: f.Kind, Name: f.Name, Pagination: pageOf(p),
	})
	return many("retainers", r.GetRetainers(), r.GetPagination(), err, marketpb.ToRetainer)
}

// Provider implements [market.RegistryReader].
func (c *Client) Provider(ctx context.Context, owner market.Address) (market.Provider, error) {
	r, err := c.query.Provider(ctx, &marketpb.QueryProviderRequest{Owner: string(owner)})
	return one("provider", r.GetProvider(), err, marketpb.ToProvider)
}

// Providers implements [market.RegistryReader].
func (c *Client) Providers(ctx context.Context, p market.Page) ([]market.Provider, string, error) {
	r, err := c.query.Providers(ctx, &marketpb.QueryProvidersRequest{Pagination: pageOf(p)})
	return many("providers", r.GetProviders(), r.GetPagination(), err, marketpb.ToProvider)
}

// Certificate implements [market.RegistryReader].
func (c *Client) Certificate(ctx context.Context, id market.CertificateID) (market.Certificate, error) {
	r, err := c.query.Certificate(ctx, &marketpb.QueryCertificateRequest{Owner: string(id.Owner), Serial: id.Serial})
	return one("certificate", r.GetCertificate(), err, marketpb.ToCertificate)
}

// Certificates implements [market.RegistryReader].
func (c *Client) Certificates(ctx context.Context, f market.CertificateFilter, p market.Page) ([]market.Certificate, string, error) {
	r, err := c.query.Certificates(ctx, &marketpb.QueryCertificatesRequest{
		Owner: string(f.Owner), Serial: f.Serial, State: marketpb.CertificateState(f.State), Pagination: pageOf(p),
	})
	return many("certificates", r.GetCertificates(), r.GetPagination(), err, marketpb.ToCertificate)
}

// Audits implements [market.RegistryReader].
func (c *Client) Audits(ctx context.Context, f market.AuditFilter, p market.Page) ([]market.Audit, string, error) {
	r, err := c.query.Audits(ctx, &marketpb.QueryAuditsRequest{Provider: string(f.Provider), Auditor: string(f.Auditor), Pagination: pageOf(p)})
	return many("audits", r.GetAudits(), r.GetPagination(), err, marketpb.ToAudit)
}
