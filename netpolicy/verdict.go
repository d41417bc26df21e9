package netpolicy

import "net/netip"

// Reason is why a flow is allowed or denied. Do not renumber.
type Reason uint8

// Reasons to allow.
const (
	// Unconcerned: neither end is of the lease.
	Unconcerned Reason = 1
	// SameService: both ends are replicas of one service.
	SameService Reason = 2
	// ToService: the port is exposed to the service that asks.
	ToService Reason = 3
	// ToLease: the port is exposed to every service of the lease.
	ToLease Reason = 4
	// FromRouter: the port is served by the HTTP router.
	FromRouter Reason = 5
	// FromNode: the node may reach its containers.
	FromNode Reason = 6
	// FromAnywhere: the port is open to the world.
	FromAnywhere Reason = 7
	// FromSource: the port is open to listed sources, and this is one.
	FromSource Reason = 8
	// ToResolver: a name server.
	ToResolver Reason = 9
	// ToControlPlane: the service may read about itself.
	ToControlPlane Reason = 10
	// ToPublic: an address of the wide world.
	ToPublic Reason = 11
	// ToOpenRange: a range that the provider opened.
	ToOpenRange Reason = 12
)

// Reasons to deny.
const (
	// UnknownService: the lease has no such service.
	UnknownService Reason = 20
	// NotExposed: the service does not expose the port.
	NotExposed Reason = 21
	// NotExposedTo: the port is exposed, but not to who asks.
	NotExposedTo Reason = 22
	// NotASource: the port is open to listed sources, and this is none.
	NotASource Reason = 23
	// ToNode: the node is out of reach.
	ToNode Reason = 24
	// ToOwnRange: the provider's own range.
	ToOwnRange Reason = 25
	// ToDeniedRange: a range that nobody's containers may reach; see [Denied].
	ToDeniedRange Reason = 26
	// NoAddress: the address is missing or malformed.
	NoAddress Reason = 27
)

// Allows reports whether the reason is one to allow.
func (r Reason) Allows() bool { return r >= Unconcerned && r <= ToOpenRange }

// String says the reason as a clause.
func (r Reason) String() string {
	if text, ok := allowText(r); ok {
		return text
	}
	switch r {
	case UnknownService:
		return "the lease has no such service"
	case NotExposed:
		return "the service does not expose this port"
	case NotExposedTo:
		return "the port is exposed, but to others"
	case NotASource:
		return "the address is not among the port's sources"
	case ToNode:
		return "the node is out of reach"
	case ToOwnRange:
		return "the range is the provider's own"
	case ToDeniedRange:
		return "the range is not public"
	case NoAddress:
		return "there is no address"
	default:
		return "unknown"
	}
}

func allowText(r Reason) (string, bool) {
	switch r {
	case Unconcerned:
		return "no end is of the lease", true
	case SameService:
		return "replicas of one service", true
	case ToService:
		return "exposed to this service", true
	case ToLease:
		return "exposed to every service", true
	case FromRouter:
		return "exposed as HTTP", true
	case FromNode:
		return "from the container's node", true
	case FromAnywhere:
		return "open to the world", true
	case FromSource:
		return "among the port's sources", true
	case ToResolver:
		return "a name server", true
	case ToControlPlane:
		return "the service may read about itself", true
	case ToPublic:
		return "a public address", true
	case ToOpenRange:
		return "the provider opened the range", true
	default:
		return "", false
	}
}

// Verdict is the answer for a flow.
type Verdict struct {
	Reason Reason
	// Range is the denied, own or open range that decided, else invalid.
	Range netip.Prefix
}

// Allowed reports whether the flow may be.
func (v Verdict) Allowed() bool { return v.Reason.Allows() }

// String says verdict and reason, and of a denied range whose it is.
func (v Verdict) String() string {
	text := "denied: " + v.Reason.String()
	if v.Allowed() {
		text = "allowed: " + v.Reason.String()
	}
	if !v.Range.IsValid() {
		return text
	}
	text += ": " + v.Range.String()
	if v.Reason == ToDeniedRange {
		for _, r := range Denied() {
			if r.Prefix.Overlaps(v.Range) {
				return text + " (" + r.What + ", " + r.Source + ")"
			}
		}
	}
	return text
}
