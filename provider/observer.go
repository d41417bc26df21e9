package provider

import (
	"fmt"
	"time"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/bidengine"
)

// EventKind says what a provider did or saw. Do not renumber.
type EventKind uint8

// Kinds of [Event].
const (
	// EventRegistered: the provider is on the market with its present facts.
	EventRegistered EventKind = 1
	// EventOrderSeen: an open order is being looked at for the first time.
	EventOrderSeen EventKind = 2
	// EventDeclined: no bid, for the event's reasons.
	EventDeclined EventKind = 3
	// EventBid: a bid is on the market at the event's price.
	EventBid EventKind = 4
	// EventBidEnded: the bid lost, was withdrawn, or its order closed.
	EventBidEnded EventKind = 5
	// EventLeaseWon: a lease is ours; the manifest is awaited.
	EventLeaseWon EventKind = 6
	// EventManifestAccepted: a manifest was checked, stored and handed to the cluster.
	EventManifestAccepted EventKind = 7
	// EventStatus: the workload's status has changed.
	EventStatus EventKind = 8
	// EventLeaseClosed: a lease ended; its workload is gone.
	EventLeaseClosed EventKind = 9
	// EventWithdrawn: earnings of a lease were paid out.
	EventWithdrawn EventKind = 10
	// EventRecovered: after a start, a lease was found again.
	EventRecovered EventKind = 11
	// EventRunsDry: the tenant's funds run out soon, or have; see the event's RunOut.
	EventRunsDry EventKind = 12
	// EventScaled: a request to scale was confirmed, at the event's price.
	EventScaled EventKind = 13
	// EventScaleDeclined: a request to scale was declined, for the event's reasons.
	EventScaleDeclined EventKind = 14
)

// String returns a kebab-case name.
func (k EventKind) String() string {
	names := [...]string{
		"", "registered", "order-seen", "declined", "bid", "bid-ended", "lease-won",
		"manifest-accepted", "status", "lease-closed", "withdrawn", "recovered", "runs-dry", "scaled", "scale-declined",
	}
	if int(k) < len(names) && k > 0 {
		return names[k]
	}
	return fmt.Sprintf("invalid-%d", uint8(k))
}

// Event is something a provider did or saw. Fields that the kind does not call
// for are zero.
type Event struct {
	Kind EventKind
	Time time.Time
	// Lease names the order and, once there is a bid, its provider.
	Lease   market.LeaseID
	Price   market.Price
	Reasons []bidengine.Reason
	// Status is of the workload.
	Status driver.Status
	// Reason says why a lease closed.
	Reason market.CloseReason
	// After is how long a bid took from the first sight of its order.
	After time.Duration
	// RunOut says when funds run out.
	RunOut RunOut
}

// Observer is told what a provider does, for displays, metrics and tests.
type Observer interface {
	// Observe must return at once; it may be called from several goroutines. The
	// event is the observer's to keep.
	Observe(Event)
}

// ObserverFunc makes a function an [Observer].
type ObserverFunc func(Event)

// Observe implements [Observer].
func (f ObserverFunc) Observe(e Event) { f(e) }

// Observers tells several observers, one after another.
type Observers []Observer

// Observe implements [Observer].
func (os Observers) Observe(e Event) {
	for _, o := range os {
		o.Observe(e)
	}
}
