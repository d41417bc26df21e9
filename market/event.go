package market

import (
	"encoding/json"
	"time"
)

// EventKind says what happened. Do not renumber.
type EventKind uint8

// Kinds of event. Which fields of [Event] are set follows from the name: an
// order event has an OrderID; a bid, lease or payment event also a provider; an
// account event a DeploymentID. A provider's or audit's event has only the
// provider, a certificate's only the owner. A retainer's event has owner,
// provider and Retainer.
const (
	EventDeploymentCreated  EventKind = 1
	EventDeploymentUpdated  EventKind = 2
	EventDeploymentClosed   EventKind = 3
	EventGroupStarted       EventKind = 4
	EventGroupPaused        EventKind = 5
	EventGroupClosed        EventKind = 6
	EventOrderCreated       EventKind = 7
	EventOrderClosed        EventKind = 8
	EventBidCreated         EventKind = 9
	EventBidClosed          EventKind = 10
	EventLeaseCreated       EventKind = 11
	EventLeaseClosed        EventKind = 12
	EventAccountDeposited   EventKind = 13
	EventAccountOverdrawn   EventKind = 14
	EventPaymentWithdrawn   EventKind = 15
	EventProviderChanged    EventKind = 16
	EventCertificateChanged EventKind = 17
	EventAuditChanged       EventKind = 18
	// EventLeaseClosing: the provider gave notice; see [LeaseClosing].
	EventLeaseClosing EventKind = 19
	// EventScaleRequested: the tenant asked for other counts.
	EventScaleRequested EventKind = 20
	// EventScaleConfirmed: counts and price have changed.
	EventScaleConfirmed EventKind = 21
	// EventScaleDropped: the request was declined, taken back, or it lapsed.
	EventScaleDropped      EventKind = 22
	EventRetainerOpened    EventKind = 23
	EventRetainerDeposited EventKind = 24
	EventRetainerWithdrawn EventKind = 25
	EventRetainerClosed    EventKind = 26
)

// String returns a kebab-case name, for example "order-created".
func (k EventKind) String() string {
	return stateName([]string{
		"", "deployment-created", "deployment-updated", "deployment-closed", "group-started", "group-paused", "group-closed", "order-created", "order-closed", "bid-created", "bid-closed", "lease-created", "lease-closed", "account-deposited", "account-overdrawn", "payment-withdrawn", "provider-changed", "certificate-changed", "audit-changed",
		"lease-closing", "scale-requested", "scale-confirmed", "scale-dropped", "retainer-opened", "retainer-deposited", "retainer-withdrawn", "retainer-closed",
	}, uint8(k))
}

// Event is news from a block. It names what changed and carries no facts:
// whoever receives it reads the state and acts on that.
type Event struct {
	Kind EventKind
	// ID has the parts that the kind calls for, the others are zero.
	ID LeaseID
	// Retainer is set for the events of retainers.
	Retainer RetainerID
}

// eventJSON is the JSON form of an [Event]: the parts of the ID that are set.
type eventJSON struct {
	Kind     EventKind `json:"kind"`
	Owner    Address   `json:"owner,omitempty"`
	DSeq     uint64    `json:"dseq,omitempty"`
	GSeq     uint32    `json:"gseq,omitempty"`
	OSeq     uint32    `json:"oseq,omitempty"`
	Provider Address   `json:"provider,omitempty"`
	// RetainerKind and RetainerName are set for the events of retainers.
	RetainerKind string `json:"retainer_kind,omitempty"`
	RetainerName string `json:"retainer_name,omitempty"`
}

// MarshalJSON implements json.Marshaler: an ID in parts has no text form.
func (e Event) MarshalJSON() ([]byte, error) {
	return json.Marshal(eventJSON{e.Kind, e.ID.Owner, e.ID.DSeq, e.ID.GSeq, e.ID.OSeq, e.ID.Provider, e.Retainer.Kind, e.Retainer.Name})
}

// UnmarshalJSON implements json.Unmarshaler.
func (e *Event) UnmarshalJSON(b []byte) error {
	var v eventJSON
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	group := GroupID{DeploymentID: DeploymentID{Owner: v.Owner, DSeq: v.DSeq}, GSeq: v.GSeq}
	*e = Event{Kind: v.Kind, ID: LeaseID{OrderID: OrderID{GroupID: group, OSeq: v.OSeq}, Provider: v.Provider}}
	if v.RetainerKind != "" {
		e.Retainer = RetainerID{v.Owner, v.Provider, v.RetainerKind, v.RetainerName}
	}
	return nil
}

// Block is what happened at one height.
type Block struct {
	Height int64     `json:"height"`
	Time   time.Time `json:"time"`
	Events []Event   `json:"events"`
}
