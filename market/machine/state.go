package machine

import (
	"iter"
	"time"

	"github.com/moorage-dev/moorage/market"
)

// Key names a row of a [Table]. Its binary key is injective, and rows sort by
// it.
type Key interface {
	// AppendKey appends the binary key to b and returns the longer slice.
	AppendKey(b []byte) []byte
}

// Table is what the machine needs of storage: rows by key, in the order of the
// keys' bytes. A host's table is bound to the block being made, so that what is
// Set is what Get and Scan see next. The machine calls one method at a time.
//
// Rows are values. Slices inside a row are never changed in place by the
// machine, and a table must hand out rows that the host will not change either;
// it may share them.
type Table[K Key, V any] interface {
	// Get returns a row, or an error wrapping [market.ErrNotFound].
	Get(k K) (V, error)
	// Set writes a row, replacing what was there.
	Set(k K, v V) error
	// Delete removes a row. It is no error when there is none.
	Delete(k K) error
	// Scan yields the rows whose binary key begins with prefix and is greater
	// than after, in ascending order. Empty slices mean every row and the
	// beginning. It ends after the first error. The machine does not write to
	// the table while it scans it.
	Scan(prefix, after []byte) iter.Seq2[V, error]
}

// State is everything the market remembers. Timers and Refs follow from the
// other tables; see [Import].
type State struct {
	Deployments  Table[market.DeploymentID, market.Deployment]
	Groups       Table[market.GroupID, market.Group]
	Orders       Table[market.OrderID, market.Order]
	Bids         Table[market.BidID, market.Bid]
	Leases       Table[market.LeaseID, market.Lease]
	Accounts     Table[market.DeploymentID, market.Account]
	Payments     Table[market.LeaseID, market.Payment]
	Retainers    Table[market.RetainerID, market.Retainer]
	Providers    Table[market.Address, market.Provider]
	Certificates Table[market.CertificateID, market.Certificate]
	Audits       Table[market.AuditID, market.Audit]
	// Timers holds what the market does by itself at a height. Key and row are
	// the same.
	Timers Table[Timer, Timer]
	// Refs are indexes. Key and row are the same.
	Refs Table[Ref, Ref]
}

// Moment is the block being made.
type Moment struct {
	// Height is at least 1 and grows by one from block to block.
	Height int64
	// Time is the time written in the block, UTC. It never goes back.
	Time time.Time
}

// TimerKind says what is to be done. Do not renumber.
type TimerKind uint8

// Kinds of timer.
const (
	// TimerOrder closes an order that no bid has won.
	TimerOrder TimerKind = 1
	// TimerAccount settles an account: where its funds run out, or to close the
	// leases it cannot pay when its grace ends.
	TimerAccount TimerKind = 2
	// TimerScale drops a request to scale that was not answered.
	TimerScale TimerKind = 3
	// TimerNotice closes a lease whose notice is over.
	TimerNotice TimerKind = 4
	// TimerRetainer settles a retainer where it runs dry or expires.
	TimerRetainer TimerKind = 5
)

// Timer is an entry of the queue of things the market does by itself.
type Timer struct {
	// Height is when it is due, at the end of that block.
	Height int64     `json:"height"`
	Kind   TimerKind `json:"kind"`
	// ID is the order; for an account only its deployment part is set, for a
	// retainer nothing.
	ID market.OrderID `json:"id"`
	// Retainer is set for retainers only.
	Retainer market.RetainerID `json:"retainer,omitzero"`
}

// RefKind says what an index is for. Do not renumber.
type RefKind uint8

// Indexes.
const (
	// RefOpenOrder lists orders in state open. The provider is not set.
	RefOpenOrder RefKind = 1
	// RefOpenPayment lists payments that are not closed, by account.
	RefOpenPayment RefKind = 2
	// RefOpenBid lists bids in state open, by order.
	RefOpenBid RefKind = 3
	// RefLiveBid lists bids in state open or won, by provider.
	RefLiveBid RefKind = 4
	// RefProviderBid lists all bids, by provider.
	RefProviderBid RefKind = 5
	// RefOpenRetainer lists retainers in state open, by provider.
	RefOpenRetainer RefKind = 6
	// RefProviderRetainer lists all retainers, by provider.
	RefProviderRetainer RefKind = 7
	// RefOwedPayment lists payments that are closed and of which something is
	// unpaid, by account.
	RefOwedPayment RefKind = 8
	// RefActiveDeployment lists deployments in state active. Of the ID only the
	// deployment part is set.
	RefActiveDeployment RefKind = 9
	// RefAuditorAudit lists audits by auditor, who stands in the place of the owner.
	RefAuditorAudit RefKind = 10
)

// Ref is an entry of an index: the ID of what it points to.
type Ref struct {
	Kind RefKind        `json:"kind"`
	ID   market.LeaseID `json:"id"`
	// Retainer is set, and ID is not, for retainers.
	Retainer market.RetainerID `json:"retainer,omitzero"`
}

// Bank moves money between accounts and the market's pot, in which the market
// holds deposits and unpaid earnings. Amounts are never zero.
type Bank interface {
	// Take moves c from an account into the pot. When the account has too little
	// the error wraps [market.ErrInsufficientFunds].
	Take(from market.Address, c market.Coin) error
	// Give moves c from the pot to an account. The machine gives only to those
	// who signed a message before; a bank that may refuse a receiver must have a
	// place for such money, since EndBlock gives too.
	Give(to market.Address, c market.Coin) error
	// Fee moves c from the pot to whoever runs the market.
	Fee(c market.Coin) error
}
