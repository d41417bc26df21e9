package market

import (
	"context"
	"iter"
	"time"
)

// Client is a market as a program sees it: on a chain, in memory, anywhere. All
// methods are safe for concurrent use. Errors wrap the sentinels of this
// package.
type Client interface {
	Reader
	Writer
	Watcher
}

// Reader reads committed state. A method for one thing returns an error that
// wraps [ErrNotFound] when it does not exist. A list is sorted by ID and comes
// in pages, each with the token to go on from, "" at the end. A host bounds its
// work: a page may be shorter than its limit, even empty, and still have a
// token. [All] reads a list to its end.
type Reader interface {
	ChainReader
	DeploymentReader
	OrderReader
	LeaseReader
	RetainerReader
	RegistryReader
}

// ChainReader reads facts about the host.
type ChainReader interface {
	// Head returns the newest committed height.
	Head(ctx context.Context) (Head, error)
	// Params returns the rules in force.
	Params(ctx context.Context) (Params, error)
	// Balances returns what an account could spend now, outside escrow.
	Balances(ctx context.Context, a Address) (Coins, error)
}

// DeploymentReader reads deployments, groups and escrow accounts.
type DeploymentReader interface {
	Deployment(ctx context.Context, id DeploymentID) (Deployment, error)
	Deployments(ctx context.Context, f DeploymentFilter, p Page) ([]Deployment, string, error)
	// Groups returns all groups of a deployment.
	Groups(ctx context.Context, id DeploymentID) ([]Group, error)
	Account(ctx context.Context, id DeploymentID) (Account, error)
}

// OrderReader reads orders and bids.
type OrderReader interface {
	Order(ctx context.Context, id OrderID) (Order, error)
	Orders(ctx context.Context, f OrderFilter, p Page) ([]Order, string, error)
	Bid(ctx context.Context, id BidID) (Bid, error)
	Bids(ctx context.Context, f BidFilter, p Page) ([]Bid, string, error)
}

// LeaseReader reads leases and their payments.
type LeaseReader interface {
	Lease(ctx context.Context, id LeaseID) (Lease, error)
	Leases(ctx context.Context, f LeaseFilter, p Page) ([]Lease, string, error)
	Payment(ctx context.Context, id LeaseID) (Payment, error)
}

// RetainerReader reads retainers.
type RetainerReader interface {
	Retainer(ctx context.Context, id RetainerID) (Retainer, error)
	Retainers(ctx context.Context, f RetainerFilter, p Page) ([]Retainer, string, error)
}

// RegistryReader reads providers, what auditors say of them, and certificates.
type RegistryReader interface {
	Provider(ctx context.Context, owner Address) (Provider, error)
	Providers(ctx context.Context, p Page) ([]Provider, string, error)
	Certificate(ctx context.Context, id CertificateID) (Certificate, error)
	Certificates(ctx context.Context, f CertificateFilter, p Page) ([]Certificate, string, error)
	// Audits returns what auditors say of providers, expired words too.
	Audits(ctx context.Context, f AuditFilter, p Page) ([]Audit, string, error)
}

// Writer submits messages.
type Writer interface {
	// Submit has the messages carried out together, all or none, and returns
	// once they are in a committed block. It signs with the client's key: every
	// message's signer must be [Writer.Address]. A refusal wraps a sentinel (and
	// is a [RuleError] where the market said no); an error wrapping
	// [ErrUnavailable] means it is certain that nothing was carried out.
	Submit(ctx context.Context, msgs ...Msg) (Receipt, error)
	// Address is the account the client signs for.
	Address() Address
}

// Watcher follows the market.
type Watcher interface {
	// Watch yields every block from height from on, in order, each once, also
	// across lost connections, until the context ends or the caller stops. With
	// from 0 it begins after the current head. It ends with an error only when
	// going on is impossible (for instance heights that the host has discarded).
	Watch(ctx context.Context, from int64) iter.Seq2[Block, error]
}

// Head is the newest committed block.
type Head struct {
	ChainID string    `json:"chain_id"`
	Height  int64     `json:"height"`
	Time    time.Time `json:"time"`
}

// Receipt says where messages were carried out.
type Receipt struct {
	// TxID names the transaction on hosts that have such names.
	TxID   string `json:"tx_id,omitempty"`
	Height int64  `json:"height"`
	// Fee is what the signer paid to the host for it.
	Fee Coins `json:"fee,omitempty"`
}

// MaxPageLimit bounds [Page.Limit].
const MaxPageLimit = 1000

// DefaultPageLimit is used for [Page.Limit] 0.
const DefaultPageLimit = 100

// Page asks for a part of a list.
type Page struct {
	// Token is where to go on, as returned with the part before; "" begins.
	Token string
	// Limit is the most to return, 1 to [MaxPageLimit]; 0 means [DefaultPageLimit].
	Limit int
}

// All reads a list page after page, for example
//
//	market.All(func(p market.Page) ([]market.Order, string, error) { return r.Orders(ctx, f, p) })
//
// It ends after the first error, which it yields with a zero value.
func All[T any](list func(Page) ([]T, string, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		p := Page{Limit: MaxPageLimit}
		for {
			items, next, err := list(p)
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if err != nil {
				var zero T
				yield(zero, err)
				return
			}
			if next == "" {
				return
			}
			p.Token = next
		}
	}
}

// DeploymentFilter selects deployments. Zero fields match all; see [OrderFilter].
type DeploymentFilter struct {
	Owner Address
	DSeq  uint64
	State DeploymentState
}

// OrderFilter selects orders. Zero fields match all. A part of an ID is refused
// without those before it: DSeq without an owner, GSeq without a DSeq, OSeq without
// a GSeq.
type OrderFilter struct {
	Owner Address
	DSeq  uint64
	GSeq  uint32
	OSeq  uint32
	State OrderState
}

// BidFilter selects bids. Zero fields match all; see [OrderFilter].
type BidFilter struct {
	Owner    Address
	DSeq     uint64
	GSeq     uint32
	OSeq     uint32
	Provider Address
	State    BidState
}

// LeaseFilter selects leases. Zero fields match all; see [OrderFilter].
type LeaseFilter struct {
	Owner    Address
	DSeq     uint64
	GSeq     uint32
	OSeq     uint32
	Provider Address
	State    LeaseState
	// Live matches leases that are not closed, active and closing.
	Live bool
}

// RetainerFilter selects retainers. Zero fields match all.
type RetainerFilter struct {
	Owner    Address
	Provider Address
	State    RetainerState
	// Kind and Name are those of the ID.
	Kind, Name string
}

// CertificateFilter selects certificates. Zero fields match all; a serial number
// without an owner is refused.
type CertificateFilter struct {
	Owner  Address
	Serial string
	State  CertificateState
}

// AuditFilter selects what auditors say of providers. Zero fields match all.
type AuditFilter struct {
	Provider Address
	Auditor  Address
}
