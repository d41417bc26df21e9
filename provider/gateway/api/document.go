package api

import (
	"time"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/market"
)

// Version is the answer to GET /version.
type Version struct {
	// API is the version of this interface.
	API string `json:"api"`
	// Software is the provider's build, as its operator names it.
	Software string `json:"software,omitempty"`
}

// APIVersion is [Version.API].
const APIVersion = "v1"

// Address is the answer to GET /address.
type Address struct {
	Address market.Address `json:"address"`
}

// ProviderStatus is what anybody may know of a provider: GET /status. Keep
// facts about single tenants out of it.
type ProviderStatus struct {
	Provider market.Address `json:"provider"`
	ChainID  string         `json:"chain_id,omitempty"`
	// Height is the newest block the provider has worked through.
	Height int64 `json:"height"`
	// State says whether the provider takes new leases.
	State ProviderState `json:"state"`
	// Message explains a state other than ready, for a person.
	Message    string            `json:"message,omitempty"`
	Attributes market.Attributes `json:"attributes,omitempty"`
	// Leases counts active leases, Bids open bids, Orders orders under decision.
	Leases int `json:"leases"`
	Bids   int `json:"bids"`
	Orders int `json:"orders"`
	// Refusals counts the open orders that are not bid on, per reason. An order
	// may have several.
	Refusals map[string]int `json:"refusals,omitempty"`
	// Inventory is nil when the cluster cannot be seen.
	Inventory *Inventory `json:"inventory,omitempty"`
}

// ProviderState says whether a provider takes new leases.
type ProviderState string

// States of a provider.
const (
	// ProviderReady bids.
	ProviderReady ProviderState = "ready"
	// ProviderDraining keeps its leases and bids no more.
	ProviderDraining ProviderState = "draining"
	// ProviderUnready cannot serve: it starts, or a part of it cannot be reached.
	ProviderUnready ProviderState = "unready"
)

// Inventory sums the nodes of a cluster.
type Inventory struct {
	Nodes       int        `json:"nodes"`
	Allocatable Quantities `json:"allocatable"`
	Available   Quantities `json:"available"`
}

// Quantities are amounts of each kind of resource.
type Quantities struct {
	MilliCores     uint64 `json:"milli_cores"`
	MemoryBytes    uint64 `json:"memory_bytes"`
	EphemeralBytes uint64 `json:"ephemeral_bytes"`
	// PersistentBytes has bytes per storage class.
	PersistentBytes map[string]uint64 `json:"persistent_bytes,omitempty"`
	// GPUs has cards per "vendor/model".
	GPUs map[string]uint64 `json:"gpus,omitempty"`
}

// Phase is where a lease stands at its provider. Do not rename.
type Phase string

// Phases of a lease.
const (
	// PhaseAwaitingManifest: the lease is won, the tenant has yet to send the manifest.
	PhaseAwaitingManifest Phase = "awaiting-manifest"
	// PhaseDeploying: the manifest is accepted, not everything runs yet.
	PhaseDeploying Phase = "deploying"
	// PhaseActive: everything that was asked for runs.
	PhaseActive Phase = "active"
	// PhaseFailing: something ended or cannot start; the provider keeps trying.
	PhaseFailing Phase = "failing"
	// PhaseUnknown: the cluster cannot be seen at the moment.
	PhaseUnknown Phase = "unknown"
	// PhaseClosing: being taken down.
	PhaseClosing Phase = "closing"
)

// LeaseStatus is the answer to GET /lease/{dseq}/{gseq}/{oseq}/status.
type LeaseStatus struct {
	Lease market.LeaseID `json:"lease"`
	Phase Phase          `json:"phase"`
	// Reason explains the phase, for a person; "" when active.
	Reason string `json:"reason,omitempty"`
	// Revision and Hash say which manifest runs; 0 before the first.
	Revision uint64 `json:"revision"`
	Hash     string `json:"hash,omitempty"`
	// Services are sorted by name; empty until something is deployed.
	Services []ServiceStatus `json:"services"`
	// IPs are the leased addresses that the manifest asks for, sorted by endpoint.
	IPs []LeasedIP `json:"ips,omitempty"`
	// Funds says when the deployment's funds run out; nil when that is not in sight.
	Funds *Funds `json:"funds,omitempty"`
	// Notice says when the lease ends because the provider takes it back.
	Notice *Notice `json:"notice,omitempty"`
	// Scale is the provider's last answer to a request to scale; nil for none.
	Scale *ScaleAnswer `json:"scale,omitempty"`
}

// Notice says when a lease ends by the provider's wish. Until then it runs.
type Notice struct {
	// EndsAtHeight is the block at which it ends, EndsAt when that is expected.
	EndsAtHeight int64     `json:"ends_at_height"`
	EndsAt       time.Time `json:"ends_at"`
	// Reason is the text of the reason that the provider gave.
	Reason string `json:"reason"`
}

// ScaleAnswer is a provider's answer to a request to scale.
type ScaleAnswer struct {
	// Number is that of the request.
	Number    uint32 `json:"number"`
	Confirmed bool   `json:"confirmed"`
	// Reasons say why it was declined.
	Reasons []Reason `json:"reasons,omitempty"`
}

// Funds says when the funds of a deployment run out if nobody deposits.
type Funds struct {
	// RunOutHeight is the first block that is not paid for; RunOutTime when it is
	// expected.
	RunOutHeight int64     `json:"run_out_height"`
	RunOutTime   time.Time `json:"run_out_time"`
	// Overdrawn says that they have run out already: the lease closes at
	// RunOutHeight.
	Overdrawn bool `json:"overdrawn,omitempty"`
}

// ServiceStatus is what is observed of one service.
type ServiceStatus struct {
	Name  string `json:"name"`
	State string `json:"state"`
	// Reason says for a person why the service is not ready.
	Reason string `json:"reason,omitempty"`
	// Wanted, Running and Ready count replicas of the newest revision.
	Wanted  uint32 `json:"wanted"`
	Running uint32 `json:"running"`
	Ready   uint32 `json:"ready"`
	// URIs are where HTTP exposes are reached, with scheme.
	URIs []string `json:"uris,omitempty"`
	// Hostnames are the names that the tenant asked for, in order.
	Hostnames []Hostname `json:"hostnames,omitempty"`
	// Ports are sorted by container port.
	Ports []ForwardedPort `json:"forwarded_ports,omitempty"`
	// Replicas are sorted by index.
	Replicas []ReplicaStatus `json:"replicas,omitempty"`
}

// Hostname says whether a service has a name that the tenant asked for.
type Hostname struct {
	Hostname string        `json:"hostname"`
	State    HostnameState `json:"state"`
	// Holder is the lease that has the name while it is withheld.
	Holder *market.LeaseID `json:"holder,omitempty"`
	// Reason says for a person why the name is withheld, and what to do.
	Reason string `json:"reason,omitempty"`
}

// HostnameState says who has a host name. Do not rename.
type HostnameState string

// States of a host name.
const (
	// HostnameBound leads to the service.
	HostnameBound HostnameState = "bound"
	// HostnameWithheld leads to another lease of the tenant.
	HostnameWithheld HostnameState = "withheld"
)

// HostnameMigration asks to move names to a lease:
// POST /lease/{dseq}/{gseq}/{oseq}/hostnames.
type HostnameMigration struct {
	// Hostnames are what to move; the lease's manifest must ask for each.
	Hostnames []string `json:"hostnames"`
}

// MaxHostnames bounds [HostnameMigration.Hostnames].
const MaxHostnames = 256

// HostnameMigrationResult has an entry for each name, in the order asked.
type HostnameMigrationResult struct {
	Results []HostnameMoved `json:"results"`
}

// HostnameMoved says what became of one name.
type HostnameMoved struct {
	Hostname string `json:"hostname"`
	// Moved says that the name leads to the lease now and did not before.
	Moved bool `json:"moved"`
	// From is the lease that had it before, if one had.
	From *market.LeaseID `json:"from,omitempty"`
	// Rule and Detail say why the name could not be moved; "" when the lease has it.
	Rule   string `json:"rule,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// ForwardedPort is a port outside that leads to a container port.
type ForwardedPort struct {
	Host         string `json:"host"`
	ExternalPort uint16 `json:"external_port"`
	Port         uint16 `json:"port"`
	Proto        string `json:"proto"`
}

// ReplicaStatus is what is observed of one container. The node's name is the
// provider's affair and not in it.
type ReplicaStatus struct {
	Index     uint32    `json:"index"`
	State     string    `json:"state"`
	Reason    string    `json:"reason,omitempty"`
	Restarts  uint32    `json:"restarts"`
	StartedAt time.Time `json:"started_at,omitzero"`
}

// Service returns the status of one service and whether it is there.
func (s LeaseStatus) Service(name string) (ServiceStatus, bool) {
	for _, one := range s.Services {
		if one.Name == name {
			return one, true
		}
	}
	return ServiceStatus{}, false
}

// LeaseFromDriver makes the document out of what a cluster reports. A zero
// status gives a document without services.
func LeaseFromDriver(id market.LeaseID, phase Phase, reason string, st driver.Status) LeaseStatus {
	out := LeaseStatus{
		Lease: id, Phase: phase, Reason: reason, Revision: st.Revision,
		Services: make([]ServiceStatus, 0, len(st.Services)),
	}
	if st.Hash != (market.Hash{}) {
		out.Hash = st.Hash.String()
	}
	for _, s := range st.Services {
		out.Services = append(out.Services, serviceFromDriver(s))
	}
	return out
}

func serviceFromDriver(s driver.ServiceStatus) ServiceStatus {
	out := ServiceStatus{
		Name: s.Name, State: s.State.String(), Reason: s.Reason,
		Wanted: s.Wanted, Running: s.Running, Ready: s.Ready,
		URIs: append([]string(nil), s.URIs...),
	}
	for _, p := range s.Ports {
		out.Ports = append(out.Ports, ForwardedPort{p.Host, p.ExternalPort, p.Port, string(p.Proto)})
	}
	for _, r := range s.Replicas {
		out.Replicas = append(out.Replicas, ReplicaStatus{r.Index, r.State.String(), r.Reason, r.Restarts, r.StartedAt})
	}
	return out
}

// LogLine is one line a container printed.
type LogLine struct {
	Service string    `json:"service"`
	Replica uint32    `json:"replica"`
	Time    time.Time `json:"time"`
	// Stderr tells the two streams apart.
	Stderr bool `json:"stderr,omitempty"`
	// Text has no newline. Bytes that are not UTF-8 are replaced.
	Text string `json:"text"`
}

// Event is a change in the life of a lease at its provider.
type Event struct {
	Time time.Time `json:"time"`
	// Kind is a stable kebab-case name: phase-changed, service-changed,
	// manifest-accepted, funds-changed, notice, scale-answered,
	// closing.
	Kind string `json:"kind"`
	// Service is set where the event is about one.
	Service string `json:"service,omitempty"`
	// State is the new phase or state.
	State string `json:"state,omitempty"`
	// Message is for a person.
	Message string `json:"message,omitempty"`
}

// Kinds of [Event].
const (
	EventManifestAccepted = "manifest-accepted"
	EventPhaseChanged     = "phase-changed"
	EventServiceChanged   = "service-changed"
	EventClosing          = "closing"
	EventFundsChanged     = "funds-changed"
	EventAddressChanged   = "address-changed"
	EventNotice           = "notice"
	EventScaleAnswered    = "scale-answered"
)

// Screening asks a provider what it would bid: POST /screening.
type Screening struct {
	Groups []market.GroupSpec `json:"groups"`
}

// Offer is the answer for one group, in the order asked.
type Offer struct {
	Group string `json:"group"`
	// Bid says whether the provider would bid now.
	Bid bool `json:"bid"`
	// Price is what it would ask, when it would bid.
	Price *market.Price `json:"price,omitempty"`
	// Reasons say why not.
	Reasons []Reason `json:"reasons,omitempty"`
}

// Reason is one ground for a refusal.
type Reason struct {
	// Rule is a stable kebab-case name, for example "attribute-missing".
	Rule   string `json:"rule"`
	Detail string `json:"detail"`
}

// ScreeningResult is the answer to a [Screening].
type ScreeningResult struct {
	Offers []Offer `json:"offers"`
}
