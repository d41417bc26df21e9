package keeper

import (
	"context"
	"errors"

	"github.com/cosmos/cosmos-sdk/types/query"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/marketpb"
	"github.com/moorage-dev/moorage/market/machine"
)

var _ marketpb.QueryServer = queryServer{}

// queryServer answers queries from the state that the context shows.
type queryServer struct{ keeper *Keeper }

// NewQueryServer returns the server of the market's queries.
func NewQueryServer(k *Keeper) marketpb.QueryServer { return queryServer{k} }

func (s queryServer) state(ctx context.Context) machine.State { return s.keeper.State(ctx) }

// answer gives an error the gRPC code of its sentinel.
func answer[T any](v *T, err error) (*T, error) {
	if err == nil {
		return v, nil
	}
	code := codes.Internal
	switch {
	case errors.Is(err, market.ErrNotFound):
		code = codes.NotFound
	case errors.Is(err, market.ErrInvalid):
		code = codes.InvalidArgument
	}
	return nil, status.Error(code, marketpb.WireError(err).Error())
}

// page reads the part of a page request that the market supports.
func page(r *query.PageRequest) (market.Page, error) {
	switch {
	case r == nil:
		return market.Page{}, nil
	case r.Offset != 0 || r.CountTotal || r.Reverse:
		return market.Page{}, market.Refuse(market.ErrInvalid, "page", "offset, count_total and reverse are not supported: go on with the key")
	case r.Limit > market.MaxPageLimit:
		return market.Page{}, market.Refuse(market.ErrInvalid, "page-limit", "limit %d is not within 1 to %d", r.Limit, market.MaxPageLimit)
	}
	return market.Page{Token: string(r.Key), Limit: int(r.Limit)}, nil
}

// list reads a page and converts it.
func list[V, P any](r *query.PageRequest, read func(market.Page) ([]V, string, error), convert func(V) P) ([]P, *query.PageResponse, error) {
	p, err := page(r)
	if err != nil {
		return nil, nil, err
	}
	values, next, err := read(p)
	if err != nil {
		return nil, nil, err
	}
	out := make([]P, len(values))
	for i, v := range values {
		out[i] = convert(v)
	}
	return out, &query.PageResponse{NextKey: []byte(next)}, nil
}

// Params implements [marketpb.QueryServer].
func (s queryServer) Params(ctx context.Context, _ *marketpb.QueryParamsRequest) (*marketpb.QueryParamsResponse, error) {
	p, err := s.keeper.Params(ctx)
	return answer(&marketpb.QueryParamsResponse{Params: marketpb.FromParams(p)}, err)
}

// Balances implements [marketpb.QueryServer].
func (s queryServer) Balances(ctx context.Context, r *marketpb.QueryBalancesRequest) (*marketpb.QueryBalancesResponse, error) {
	account, err := bank{ctx, s.keeper.config}.account(market.Address(r.Address))
	if err != nil {
		return answer[marketpb.QueryBalancesResponse](nil, err)
	}
	return &marketpb.QueryBalancesResponse{Balances: s.keeper.config.Bank.SpendableCoins(ctx, account)}, nil
}

// Deployment implements [marketpb.QueryServer].
func (s queryServer) Deployment(ctx context.Context, r *marketpb.QueryDeploymentRequest) (*marketpb.QueryDeploymentResponse, error) {
	v, err := s.state(ctx).Deployments.Get(marketpb.IDParts{Owner: r.Owner, Dseq: r.Dseq}.Deployment())
	return answer(&marketpb.QueryDeploymentResponse{Deployment: marketpb.FromDeployment(v)}, err)
}

// Deployments implements [marketpb.QueryServer].
func (s queryServer) Deployments(ctx context.Context, r *marketpb.QueryDeploymentsRequest) (*marketpb.QueryDeploymentsResponse, error) {
	f := market.DeploymentFilter{Owner: market.Address(r.Owner), DSeq: r.Dseq, State: market.DeploymentState(r.State)}
	out, next, err := list(r.Pagination, func(p market.Page) ([]market.Deployment, string, error) {
		return s.state(ctx).ListDeployments(f, p)
	}, marketpb.FromDeployment)
	return answer(&marketpb.QueryDeploymentsResponse{Deployments: out, Pagination: next}, err)
}

// Groups implements [marketpb.QueryServer].
func (s queryServer) Groups(ctx context.Context, r *marketpb.QueryGroupsRequest) (*marketpb.QueryGroupsResponse, error) {
	groups, err := s.state(ctx).ListGroups(marketpb.IDParts{Owner: r.Owner, Dseq: r.Dseq}.Deployment())
	out := make([]marketpb.Group, len(groups))
	for i, g := range groups {
		out[i] = marketpb.FromGroup(g)
	}
	return answer(&marketpb.QueryGroupsResponse{Groups: out}, err)
}

// Account implements [marketpb.QueryServer].
func (s queryServer) Account(ctx context.Context, r *marketpb.QueryAccountRequest) (*marketpb.QueryAccountResponse, error) {
	v, err := s.state(ctx).Accounts.Get(marketpb.IDParts{Owner: r.Owner, Dseq: r.Dseq}.Deployment())
	return answer(&marketpb.QueryAccountResponse{Account: marketpb.FromAccount(v)}, err)
}

// Order implements [marketpb.QueryServer].
func (s queryServer) Order(ctx context.Context, r *marketpb.QueryOrderRequest) (*marketpb.QueryOrderResponse, error) {
	v, err := s.state(ctx).Orders.Get(marketpb.IDParts{Owner: r.Owner, Dseq: r.Dseq, Gseq: r.Gseq, Oseq: r.Oseq}.Order())
	return answer(&marketpb.QueryOrderResponse{Order: marketpb.FromOrder(v)}, err)
}

// Orders implements [marketpb.QueryServer].
func (s queryServer) Orders(ctx context.Context, r *marketpb.QueryOrdersRequest) (*marketpb.QueryOrdersResponse, error) {
	f := market.OrderFilter{Owner: market.Address(r.Owner), DSeq: r.Dseq, GSeq: r.Gseq, OSeq: r.Oseq, State: market.OrderState(r.State)}
	out, next, err := list(r.Pagination, func(p market.Page) ([]market.Order, string, error) {
		return s.state(ctx).ListOrders(f, p)
	}, marketpb.FromOrder)
	return answer(&marketpb.QueryOrdersResponse{Orders: out, Pagination: next}, err)
}

// Bid implements [marketpb.QueryServer].
func (s queryServer) Bid(ctx context.Context, r *marketpb.QueryBidRequest) (*marketpb.QueryBidResponse, error) {
	v, err := s.state(ctx).Bids.Get(marketpb.IDParts(*r).Bid())
	return answer(&marketpb.QueryBidResponse{Bid: marketpb.FromBid(v)}, err)
}

// Bids implements [marketpb.QueryServer].
func (s queryServer) Bids(ctx context.Context, r *marketpb.QueryBidsRequest) (*marketpb.QueryBidsResponse, error) {
	f := market.BidFilter{
		Owner: market.Address(r.Owner), DSeq: r.Dseq, GSeq: r.Gseq, OSeq: r.Oseq,
		Provider: market.Address(r.Provider), State: market.BidState(r.State),
	}
	out, next, err := list(r.Pagination, func(p market.Page) ([]market.Bid, string, error) {
		return s.state(ctx).ListBids(f, p)
	}, marketpb.FromBid)
	return answer(&marketpb.QueryBidsResponse{Bids: out, Pagination: next}, err)
}

// Lease implements [marketpb.QueryServer].
func (s queryServer) Lease(ctx context.Context, r *marketpb.QueryLeaseRequest) (*marketpb.QueryLeaseResponse, error) {
	v, err := s.state(ctx).Leases.Get(marketpb.IDParts(*r).Bid().Lease())
	return answer(&marketpb.QueryLeaseResponse{Lease: marketpb.FromLease(v)}, err)
}

// Leases implements [marketpb.QueryServer].
func (s queryServer) Leases(ctx context.Context, r *marketpb.QueryLeasesRequest) (*marketpb.QueryLeasesResponse, error) {
	f := market.LeaseFilter{
		Owner: market.Address(r.Owner), DSeq: r.Dseq, GSeq: r.Gseq, OSeq: r.Oseq,
		Provider: market.Address(r.Provider), State: market.LeaseState(r.State), Live: r.Live,
	}
	out, next, err := list(r.Pagination, func(p market.Page) ([]market.Lease, string, error) {
		return s.state(ctx).ListLeases(f, p)
	}, marketpb.FromLease)
	return answer(&marketpb.QueryLeasesResponse{Leases: out, Pagination: next}, err)
}

// Payment implements [marketpb.QueryServer].
func (s queryServer) Payment(ctx context.Context, r *marketpb.QueryPaymentRequest) (*marketpb.QueryPaymentResponse, error) {
	v, err := s.state(ctx).Payments.Get(marketpb.IDParts(*r).Bid().Lease())
	return answer(&marketpb.QueryPaymentResponse{Payment: marketpb.FromPayment(v)}, err)
}

// Retainer implements [marketpb.QueryServer].
func (s queryServer) Retainer(ctx context.Context, r *marketpb.QueryRetainerRequest) (*marketpb.QueryRetainerResponse, error) {
	v, err := s.state(ctx).Retainers.Get(marketpb.ToRetainerID(marketpb.RetainerID(*r)))
	return answer(&marketpb.QueryRetainerResponse{Retainer: marketpb.FromRetainer(v)}, err)
}

// Retainers implements [marketpb.QueryServer].
func (s queryServer) Retainers(ctx context.Context, r *marketpb.QueryRetainersRequest) (*marketpb.QueryRetainersResponse, error) {
	f := market.RetainerFilter{
		Owner: market.Address(r.Owner), Provider: market.Address(r.Provider), State: market.RetainerState(r.State), Kind: r.Kind, Name: r.Name,
	}
	out, next, err := list(r.Pagination, func(p market.Page) ([]market.Retainer, string, error) {
		return s.state(ctx).ListRetainers(f, p)
	}, marketpb.FromRetainer)
	return answer(&marketpb.QueryRetainersResponse{Retainers: out, Pagination: next}, err)
}

// Provider implements [marketpb.QueryServer].
func (s queryServer) Provider(ctx context.Context, r *marketpb.QueryProviderRequest) (*marketpb.QueryProviderResponse, error) {
	v, err := s.state(ctx).Providers.Get(market.Address(r.Owner))
	return answer(&marketpb.QueryProviderResponse{Provider: marketpb.FromProvider(v)}, err)
}

// Providers implements [marketpb.QueryServer].
func (s queryServer) Providers(ctx context.Context, r *marketpb.QueryProvidersRequest) (*marketpb.QueryProvidersResponse, error) {
	out, next, err := list(r.Pagination, s.state(ctx).ListProviders, marketpb.FromProvider)
	return answer(&marketpb.QueryProvidersResponse{Providers: out, Pagination: next}, err)
}

// Certificate implements [marketpb.QueryServer].
func (s queryServer) Certificate(ctx context.Context, r *marketpb.QueryCertificateRequest) (*marketpb.QueryCertificateResponse, error) {
	v, err := s.state(ctx).Certificates.Get(market.CertificateID{Owner: market.Address(r.Owner), Serial: r.Serial})
	return answer(&marketpb.QueryCertificateResponse{Certificate: marketpb.FromCertificate(v)}, err)
}

// Certificates implements [marketpb.QueryServer].
func (s queryServer) Certificates(ctx context.Context, r *marketpb.QueryCertificatesRequest) (*marketpb.QueryCertificatesResponse, error) {
	f := market.CertificateFilter{Owner: market.Address(r.Owner), Serial: r.Serial, State: market.CertificateState(r.State)}
	out, next, err := list(r.Pagination, func(p market.Page) ([]market.Certificate, string, error) {
		return s.state(ctx).ListCertificates(f, p)
	}, marketpb.FromCertificate)
	return answer(&marketpb.QueryCertificatesResponse{Certificates: out, Pagination: next}, err)
}

// Audits implements [marketpb.QueryServer].
func (s queryServer) Audits(ctx context.Context, r *marketpb.QueryAuditsRequest) (*marketpb.QueryAuditsResponse, error) {
	f := market.AuditFilter{Provider: market.Address(r.Provider), Auditor: market.Address(r.Auditor)}
	out, next, err := list(r.Pagination, func(p market.Page) ([]market.Audit, string, error) {
		return s.state(ctx).ListAudits(f, p)
	}, marketpb.FromAudit)
	return answer(&marketpb.QueryAuditsResponse{Audits: out, Pagination: next}, err)
}
