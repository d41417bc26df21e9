package render

import (
	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// Options are what an operator decides. The driver's configuration fills them.
type Options struct {
	Instance string
	// Domain is under which HTTP services get names; PublicHost is where forwarded
	// ports are reached.
	Domain, PublicHost string
	// Router says how HTTP is routed.
	Router Router
	// LoadBalancer opens forwarded ports by a Service of that type instead of node
	// ports; Annotations are put on it.
	LoadBalancer            bool
	LoadBalancerAnnotations map[string]string

	Overcommit inventory.Overcommit
	// StorageClasses maps classes of the market to those of the cluster. A class
	// that is not in it keeps its name; "default" is the cluster's default.
	StorageClasses map[string]string

	// RuntimeClass is for every pod, GPURuntimeClass for those with cards of a
	// vendor, TEERuntimeClass for those that ask for a trusted environment.
	RuntimeClass    string
	GPURuntimeClass map[string]string
	TEERuntimeClass map[string]string

	// NonRoot tells whether an image must run as another user than root; nil is
	// none.
	NonRoot func(image string) bool
	// UserNamespaces gives pods users of their own.
	UserNamespaces bool
	// PullPolicy is "" for Always with tags and IfNotPresent with digests.
	PullPolicy string
	// PullSecret names a Secret of type kubernetes.io/dockerconfigjson that is
	// already in every namespace, for images without credentials of their own.
	PullSecret string
	// DrainSeconds is how long an old replica goes on answering after routers were
	// told; GraceSeconds how long it may take to end.
	DrainSeconds, GraceSeconds int64
	PriorityClass              string
	// Probe makes the readiness probe of a service; nil is TCPProbe.
	Probe func(manifest.Service) *Probe
	// Policies renders the network policies of a workload; nil is none.
	Policies func(driver.Workload) ([]Object, error)
}

// Router says how HTTP is routed. The zero value routes nothing.
type Router struct {
	// Ingress is the class of Ingress objects; "" makes none.
	Ingress string
	// Annotations are put on every Ingress or HTTPRoute.
	Annotations map[string]string
	// Gateway is the Gateway that HTTPRoutes hang on; nil makes none.
	Gateway *Gateway
	// TLS adds HTTPS: at the Ingress by Secrets that Issuer makes (a cert-manager
	// ClusterIssuer; "" leaves it to the controller's own certificate), at a
	// Gateway by its listeners.
	TLS    bool
	Issuer string
	// Port is in URIs when it is not 0.
	Port uint16
}

// Gateway names a Gateway, and a listener of it unless Section is "".
type Gateway struct{ Namespace, Name, Section string }

// Probe is how readiness is asked. It is the seam for probes that tenants define.
type Probe struct {
	// TCP is the container port to connect to.
	TCP uint32
	// PeriodSeconds is between two looks.
	PeriodSeconds int32
}

// PortKey names a forwarded port.
type PortKey struct {
	Service string
	Port    uint16
	Proto   manifest.Protocol
}

// Resolution is what was found out about the cluster when a workload was
// accepted. It is kept with the workload, so that a change of the cluster alone
// restarts nobody.
type Resolution struct {
	// GPU has for each service with cards where they are.
	GPU map[string]GPUChoice `json:"gpu,omitempty"`
}

// GPUChoice says how the cards of a service are asked for.
type GPUChoice struct {
	// Vendor is "nvidia", "amd" or another vendor's name.
	Vendor string `json:"vendor"`
	// Label and Values select nodes; no values selects all.
	Label  string   `json:"label,omitempty"`
	Values []string `json:"values,omitempty"`
	// Class is the device class when cards are claimed (dynamic resource
	// allocation); "" asks for the device plugin's resource.
	Class string `json:"class,omitempty"`
	// Selectors are CEL expressions over devices of the class.
	Selectors []string `json:"selectors,omitempty"`
}

// Input is all that a rendering depends on.
type Input struct {
	Workload   driver.Workload
	Resolution Resolution
	// Ports are the numbers outside, as far as known.
	Ports map[PortKey]uint16
	// Tight has the services of which a new replica finds no room beside the old
	// ones, so that old ones must go first.
	Tight map[string]bool
	// State is what the driver keeps in the state Secret.
	State []byte
}

// IsStateful reports whether a service has persistent volumes.
func IsStateful(s manifest.Service) bool {
	for _, v := range s.Resources.Storage {
		if v.Persistent() && v.Class() != classRAM {
			return true
		}
	}
	return false
}
