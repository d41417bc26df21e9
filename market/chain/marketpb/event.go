package marketpb

import (
	"strconv"
	"strings"

	"github.com/moorage-dev/moorage/market"
)

// EventPrefix begins the type of every event of the market.
const EventPrefix = "moorage.market.v1.Event"

// eventNames holds the name of each kind of event after the prefix, by number.
func eventNames() []string {
	return []string{
		"", "DeploymentCreated", "DeploymentUpdated", "DeploymentClosed", "GroupStarted", "GroupPaused", "GroupClosed",
		"OrderCreated", "OrderClosed", "BidCreated", "BidClosed", "LeaseCreated", "LeaseClosed", "AccountDeposited",
		"AccountOverdrawn", "PaymentWithdrawn", "ProviderChanged", "CertificateChanged", "AuditChanged",
		"LeaseClosing", "ScaleRequested", "ScaleConfirmed", "ScaleDropped",
		"RetainerOpened", "RetainerDeposited", "RetainerWithdrawn", "RetainerClosed",
	}
}

// EventAttribute is one key and value of an event on the wire.
type EventAttribute struct{ Key, Value string }

// FromEvent returns the type and the attributes of an event, in the form of the
// SDK's typed events: the name of the proto message, and its fields as JSON.
func FromEvent(e market.Event) (kind string, attributes []EventAttribute) {
	names := eventNames()
	if e.Kind == 0 || int(e.Kind) >= len(names) {
		return EventPrefix + "Unknown" + strconv.Itoa(int(e.Kind)), nil
	}
	if r := e.Retainer; r != (market.RetainerID{}) {
		return EventPrefix + names[e.Kind], []EventAttribute{
			{"kind", strconv.Quote(r.Kind)},
			{"name", strconv.Quote(r.Name)},
			{"owner", strconv.Quote(string(r.Owner))},
			{"provider", strconv.Quote(string(r.Provider))},
		}
	}
	return EventPrefix + names[e.Kind], []EventAttribute{
		{"dseq", strconv.Quote(strconv.FormatUint(e.ID.DSeq, 10))},
		{"gseq", strconv.FormatUint(uint64(e.ID.GSeq), 10)},
		{"oseq", strconv.FormatUint(uint64(e.ID.OSeq), 10)},
		{"owner", strconv.Quote(string(e.ID.Owner))},
		{"provider", strconv.Quote(string(e.ID.Provider))},
	}
}

// ToEvent reads an event of the market. It reports false for events of others
// and for malformed ones.
func ToEvent(kind string, attributes []EventAttribute) (market.Event, bool) {
	name, ours := strings.CutPrefix(kind, EventPrefix)
	if !ours || name == "" {
		return market.Event{}, false
	}
	for i, n := range eventNames() {
		if n == name {
			e, ok := readParts(attributes)
			e.Kind = market.EventKind(i)
			return e, ok
		}
	}
	return market.Event{}, false
}

// readParts reads the IDs of an event.
func readParts(attributes []EventAttribute) (market.Event, bool) {
	var p IDParts
	var kind, thing string
	for _, a := range attributes {
		value := strings.Trim(a.Value, `"`)
		var err error
		var n uint64
		switch a.Key {
		case "owner":
			p.Owner = value
		case "provider":
			p.Provider = value
		case "kind":
			kind = value
		case "name":
			thing = value
		case "dseq":
			p.Dseq, err = strconv.ParseUint(value, 10, 64)
		case "gseq":
			n, err = strconv.ParseUint(value, 10, 32)
			p.Gseq = uint32(n)
		case "oseq":
			n, err = strconv.ParseUint(value, 10, 32)
			p.Oseq = uint32(n)
		}
		if err != nil {
			return market.Event{}, false
		}
	}
	e := market.Event{ID: p.Bid().Lease()}
	if kind != "" {
		e.Retainer = market.RetainerID{Owner: e.ID.Owner, Provider: e.ID.Provider, Kind: kind, Name: thing}
	}
	return e, true
}
