package kube

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/cluster/kube/internal/render"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// Defaults of [Config].
const (
	DefaultInstance     = "default"
	DefaultDomain       = "localhost"
	DefaultPublicHost   = "localhost"
	DefaultDrainSeconds = 5
	DefaultGraceSeconds = 30
	DefaultStaleAfter   = 30 * time.Second
	DefaultWorkers      = 8
	DefaultQPS          = 100
)

// Config describes a cluster and how leases run on it. REST is required; the
// zero value of every other field is its default.
type Config struct {
	// REST says how to reach the API server, with credentials that have at least
	// the rights of [ClusterRole]. It is copied. Unless QPS is set,
	// [DefaultQPS] calls per second are made at most.
	REST *rest.Config
	// Instance tells several providers on one cluster apart, [DefaultInstance] if
	// "". A driver sees and touches nothing of other instances.
	Instance string

	// Domain is under which HTTP services get names, [DefaultDomain] if "".
	Domain string
	// PublicHost is where clients reach ports of nodes, [DefaultPublicHost] if "".
	PublicHost string
	// Router says how HTTP comes in. With neither Ingress nor Gateway, HTTP
	// services are reached from inside alone.
	Router Router
	// LoadBalancer opens forwarded ports by Services of type LoadBalancer, with
	// LoadBalancerAnnotations, instead of node ports.
	LoadBalancer            bool
	LoadBalancerAnnotations map[string]string

	// Overcommit scales what may be promised. Requests become smaller by it;
	// limits stay what the tenant pays for.
	Overcommit inventory.Overcommit
	// StorageClasses maps classes of the market ("beta2") to those of the cluster.
	// A class that is not in it keeps its name; "default" is the cluster's default.
	StorageClasses map[string]string
	// StorageBytes says how much a class of the market has in the whole cluster, in
	// bytes, for classes whose driver does not report it (CSIStorageCapacity).
	StorageBytes map[string]uint64

	// RuntimeClass is for all pods, GPURuntimeClass for those with cards of a
	// vendor, TEERuntimeClass for trusted environments by type ("cpu", "cpu-gpu").
	RuntimeClass    string
	GPURuntimeClass map[string]string
	TEERuntimeClass map[string]string
	// DeviceClasses are for cards by vendor, where the cluster has such a class
	// (dynamic resource allocation); nil is gpu.nvidia.com, gpu.amd.com and
	// gpu.intel.com. Without the class the device plugin's resource is used.
	DeviceClasses map[string]string

	// NonRoot tells whether an image must run as another user than root; nil is
	// none. A lease of which every image must is held to the restricted standard
	// of pod security, others to the baseline; all else of the restricted
	// standard is always rendered.
	NonRoot func(image string) bool
	// UserNamespaces gives pods users of their own. The nodes must be able to.
	UserNamespaces bool
	// PullPolicy is Always, IfNotPresent or Never; "" is Always for tags and
	// IfNotPresent for digests.
	PullPolicy string
	// PullSecret names a Secret of type kubernetes.io/dockerconfigjson in every
	// lease's namespace, for images without credentials of their own. The operator
	// puts it there.
	PullSecret    string
	PriorityClass string
	// Probe makes readiness probes; nil is [TCPProbe].
	Probe func(manifest.Service) *Probe
	// Policies encloses leases with network policies; nil leaves the network of
	// the cluster as it is.
	Policies *Policies

	// DrainSeconds is how long a replica goes on answering after routers were told
	// that it ends, [DefaultDrainSeconds] if 0, none if negative. GraceSeconds is
	// how long it may take to end after that, [DefaultGraceSeconds] if 0.
	DrainSeconds, GraceSeconds int64

	// SplitLogs asks for the two streams of a log apart. The cluster must have the
	// feature PodLogsQuerySplitStreams (alpha in 1.37), else every line comes twice.
	SplitLogs bool

	// StaleAfter is how old what was seen of the cluster may be before methods say
	// that it cannot be seen, [DefaultStaleAfter] if 0.
	StaleAfter time.Duration
	// Workers bounds the leases that are brought in order at the same time,
	// [DefaultWorkers] if 0.
	Workers int
	// Logger gets transitions; nil discards.
	Logger *slog.Logger
}

// Router says how HTTP comes in.
type Router = render.Router

// Gateway names a Gateway and, unless Section is "", a listener of it.
type Gateway = render.Gateway

// Probe is how readiness is asked.
type Probe = render.Probe

// TCPProbe connects to the first port that is open to the world, HTTP first,
// else to the first TCP port. A service without TCP ports is ready when it runs.
func TCPProbe(s manifest.Service) *Probe { return render.TCPProbe(s) }

// complete checks the configuration and enters the defaults. The error names
// every fault.
func (c *Config) complete() error {
	setDefault(&c.Instance, DefaultInstance)
	setDefault(&c.Domain, DefaultDomain)
	setDefault(&c.PublicHost, DefaultPublicHost)
	setDefault(&c.DrainSeconds, DefaultDrainSeconds)
	setDefault(&c.GraceSeconds, DefaultGraceSeconds)
	setDefault(&c.StaleAfter, DefaultStaleAfter)
	setDefault(&c.Workers, DefaultWorkers)
	c.DrainSeconds = max(c.DrainSeconds, 0)
	c.Domain = strings.ToLower(c.Domain)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.DeviceClasses == nil {
		c.DeviceClasses = map[string]string{"nvidia": "gpu.nvidia.com", "amd": "gpu.amd.com", "intel": "gpu.intel.com"}
	}
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf("kube: config: "+format, args...))
		}
	}
	check(c.REST != nil, "how to reach the API server is required")
	check(driver.ValidLabel(c.Instance), "instance %q is no DNS label", c.Instance)
	check(driver.ValidHostname(c.Domain), "%q is no domain", c.Domain)
	check(c.GraceSeconds > 0, "grace of %d s: it must be at least 1", c.GraceSeconds)
	check(c.StaleAfter > 0, "stale after %s: it must be more than 0", c.StaleAfter)
	check(c.Workers > 0, "%d workers: at least 1", c.Workers)
	check(c.Router.Gateway == nil || c.Router.Gateway.Name != "" && c.Router.Gateway.Namespace != "", "a gateway has a namespace and a name")
	switch c.PullPolicy {
	case "", "Always", "IfNotPresent", "Never":
	default:
		check(false, "pull policy %q is not Always, IfNotPresent or Never", c.PullPolicy)
	}
	if _, err := inventory.New(nil, c.Overcommit); err != nil {
		faults = append(faults, fmt.Errorf("kube: config: %w", err))
	}
	return errors.Join(faults...)
}

// options are those of the rendering.
func (c *Config) options() *render.Options {
	return &render.Options{
		Instance: c.Instance, Domain: c.Domain, PublicHost: c.PublicHost, Router: c.Router,
		LoadBalancer: c.LoadBalancer, LoadBalancerAnnotations: c.LoadBalancerAnnotations,
		Overcommit: c.Overcommit, StorageClasses: c.StorageClasses,
		RuntimeClass: c.RuntimeClass, GPURuntimeClass: c.GPURuntimeClass, TEERuntimeClass: c.TEERuntimeClass,
		NonRoot: c.NonRoot, UserNamespaces: c.UserNamespaces, PullPolicy: c.PullPolicy, PullSecret: c.PullSecret,
		DrainSeconds: c.DrainSeconds, GraceSeconds: c.GraceSeconds, PriorityClass: c.PriorityClass, Probe: c.Probe,
	}
}

func setDefault[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}
