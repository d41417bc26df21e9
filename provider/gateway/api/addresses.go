package api

import (
	"net/netip"
	"time"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/market"
)

// LeasedIP says what a lease has of a leased address that its manifest asks for.
type LeasedIP struct {
	// Endpoint is the name in the tenant's document.
	Endpoint string  `json:"endpoint"`
	State    IPState `json:"state"`
	// Addresses are the endpoint's, IPv4 first; also while another deployment of
	// the tenant has them.
	Addresses []netip.Addr `json:"addresses"`
	// Holder is the deployment that has the address while it is withheld.
	Holder *market.DeploymentID `json:"holder,omitempty"`
	// Rule and Reason say why the state is not bound, and what to do.
	Rule   string `json:"rule,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Retained says that the address is parked, at a price, when the lease closes.
	Retained bool `json:"retained,omitempty"`
	// Ports have an entry for each service, port and address, sorted by external
	// port, protocol and address.
	Ports []LeasedPort `json:"ports"`
}

// IPState says whether a lease has an address. Do not rename.
type IPState string

// States of a leased address at a lease.
const (
	// IPBound is the lease's.
	IPBound IPState = "bound"
	// IPWithheld is another deployment's of the same tenant.
	IPWithheld IPState = "withheld"
	// IPRefused cannot be had as it was asked for; the rule says why.
	IPRefused IPState = "refused"
	// IPPending is not decided yet.
	IPPending IPState = "pending"
)

// LeasedPort is a port of a leased address.
type LeasedPort struct {
	Address      netip.Addr `json:"address"`
	Service      string     `json:"service"`
	ExternalPort uint16     `json:"external_port"`
	Port         uint16     `json:"port"`
	Proto        string     `json:"proto"`
	// State is announced, pending or failing; withheld or refused when the port is
	// not the lease's.
	State string `json:"state"`
	// Reason says for a person why the state is not announced.
	Reason string `json:"reason,omitempty"`
	// Node answers for the address; "" when none does or that is not known.
	Node string `json:"node,omitempty"`
	// Egress says that connections of the service leave from the address;
	// EgressReason why not, where that was asked for.
	Egress       bool   `json:"egress"`
	EgressReason string `json:"egress_reason,omitempty"`
	// Sources are the prefixes that clients may have; none is all.
	Sources []netip.Prefix `json:"sources,omitempty"`
}

// EndpointMigration asks to move leased addresses to a lease:
// POST /lease/{dseq}/{gseq}/{oseq}/endpoints.
type EndpointMigration struct {
	// Endpoints are the names of what to move, and nothing else is moved; the
	// lease's manifest must ask for each.
	Endpoints []string `json:"endpoints"`
}

// MaxEndpoints bounds [EndpointMigration.Endpoints].
const MaxEndpoints = iplease.MaxClaimsPerOrder

// EndpointMigrationResult has an entry for each name, in the order asked.
type EndpointMigrationResult struct {
	Results []EndpointMoved `json:"results"`
}

// EndpointMoved says what became of one endpoint.
type EndpointMoved struct {
	Endpoint string `json:"endpoint"`
	// Moved says that the address leads to the lease now and did not before.
	Moved bool `json:"moved"`
	// Addresses are the endpoint's: the same before and after.
	Addresses []netip.Addr `json:"addresses"`
	// From is the deployment that had it before.
	From *market.DeploymentID `json:"from,omitempty"`
	// GapMicros is the longest that the address can have answered from neither
	// side, in microseconds: from the moment the announcer was told to the moment it
	// had done it.
	GapMicros int64 `json:"gap_micros,omitempty"`
	// Rule and Detail say why it was not moved; "" when the lease has it.
	Rule   string `json:"rule,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// Rules of endpoints that cannot be had or moved.
const (
	RuleEndpointWithheld  = "endpoint-withheld"
	RuleEndpointNotAsked  = "endpoint-not-asked"
	RuleEndpointNotHeld   = "endpoint-not-held"
	RuleEndpointNotReady  = "endpoint-not-ready"
	RuleEndpointMoving    = "endpoint-moving"
	RuleEndpointMismatch  = "endpoint-mismatch"
	RuleEndpointConflict  = "endpoint-port-conflict"
	RuleEndpointInvalid   = "endpoint-invalid"
	RuleEndpointAnnounce  = "endpoint-announcer"
	RuleEndpointExhausted = "addresses-exhausted"
	// RuleEndpointKept: the only address is parked under another endpoint name.
	RuleEndpointKept = "endpoint-kept"
	// RuleEndpointUnfinished: the provider could not store the move; it is taken back
	// or finished later.
	RuleEndpointUnfinished = "endpoint-unfinished"
	RuleParkNotOffered     = "park-not-offered"
	RuleParkNotPaid        = "park-not-paid"
)

// HeldIP is an address that a tenant has at a provider, whatever for.
type HeldIP struct {
	Endpoint  string       `json:"endpoint"`
	Addresses []netip.Addr `json:"addresses"`
	// State is bound, parked or cooling.
	State string `json:"state"`
	// Holder is the deployment that has it while it is bound.
	Holder *market.DeploymentID `json:"holder,omitempty"`
	// Retained says that it is or will be parked; RetainedUntil is the height at
	// which that ends, 0 while it is paid for.
	Retained      bool  `json:"retained"`
	RetainedUntil int64 `json:"retained_until,omitempty"`
	// Until is when a cooling address goes back to the pool.
	Until time.Time `json:"until,omitzero"`
}

// HeldIPs is the answer to GET /ips.
type HeldIPs struct {
	// IPs are sorted by endpoint.
	IPs []HeldIP `json:"ips"`
	// ParkPrices are what the provider asks at least for keeping one endpoint, per
	// block, in each denomination it takes; none when it keeps nothing.
	ParkPrices []market.Price `json:"park_prices"`
}

// RetainerKind is the kind of the retainers that pay for parked addresses; their
// name is the endpoint's.
const RetainerKind = "ip"

// SourceLimit says who may reach a port of an endpoint: PUT /ips/{endpoint}/sources.
type SourceLimit struct {
	Proto        string `json:"proto"`
	ExternalPort uint16 `json:"external_port"`
	// Sources are the prefixes that clients may have; none lifts the limit.
	Sources []netip.Prefix `json:"sources"`
}
