package gateway

import (
	"context"
	"iter"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// Backend is what a gateway serves: a provider, seen from its front door.
//
// The gateway has proved who asks before it calls, and every ID it passes has
// the asking tenant as owner and the gateway's provider as provider, so a
// back end need not check that again; an ID that is not a lease it serves is
// [market.ErrNotFound] (or [driver.ErrNotFound]).
//
// Errors are matched with [errors.Is] against the sentinels of packages market
// and cluster/driver and sent as the status of [api.FromError]: not found is
// 404, invalid and mismatch 422, state and conflict 409, exhausted, transient
// and unavailable 503. A [market.RuleError] gives its rule and detail to the
// tenant; list several faults with go-multierror. Any other error is logged and
// sent as a plain 500.
//
// Logs of a back end that is also a [driver.LogStreamer], commands of one that
// is a [driver.Execer], events of an [Eventer], bid screening of a [Screener],
// restarts of a [Restarter] and the migration of host names of a
// [HostnameMigrator], of leased addresses of an [EndpointMigrator] and an
// [AddressKeeper] are served as well; without them the routes answer 501.
//
// All methods may be called concurrently and must return soon after the context
// ends.
type Backend interface {
	// Status returns what anybody may know. It is called for requests without a
	// credential: it must be cheap.
	Status(ctx context.Context) (api.ProviderStatus, error)
	// PutManifest takes the manifest for all leases that this provider holds in
	// the deployment, checks it against the hash and the groups on the market,
	// and returns once it is durably accepted, not once it runs. No lease is
	// ErrNotFound; a wrong hash or groups is ErrMismatch; sending the accepted
	// manifest again is no error. m is the back end's to keep.
	PutManifest(ctx context.Context, id market.DeploymentID, m manifest.Manifest) error
	// Manifest returns the manifest that was accepted, or ErrNotFound. The
	// gateway takes registry passwords out before it sends it.
	Manifest(ctx context.Context, id market.DeploymentID) (manifest.Manifest, error)
	// LeaseStatus returns where a lease stands. [api.LeaseFromDriver] makes the
	// document out of a [driver.Status]. A lease without a manifest has
	// [api.PhaseAwaitingManifest]; a cluster that cannot be seen has
	// [api.PhaseUnknown] and is no error.
	LeaseStatus(ctx context.Context, id market.LeaseID) (api.LeaseStatus, error)
}

// Eventer is a back end that tells what happens to a lease.
type Eventer interface {
	// Events yields what is happening to a lease, beginning with its present
	// phase as an [api.EventPhaseChanged], until the context ends or the lease is
	// gone. ErrNotFound as in LeaseStatus.
	Events(ctx context.Context, id market.LeaseID) iter.Seq2[api.Event, error]
}

// Screener is a back end that says what it would bid.
type Screener interface {
	// Screen returns one offer per group, in the same order. Nothing is reserved.
	Screen(ctx context.Context, tenant market.Address, groups []market.GroupSpec) ([]api.Offer, error)
}

// Restarter is a back end that can restart a service.
type Restarter interface {
	// Restart replaces every replica of a service by a new one, and returns once
	// that is durably wanted. ErrNotFound for a lease or service that is not there.
	Restart(ctx context.Context, id market.LeaseID, service string) error
}

// HostnameMigrator is a back end that can move host names between leases.
type HostnameMigrator interface {
	// MigrateHostnames moves names from other leases of the same tenant to this
	// one, and returns one result per name, in order. ErrNotFound for a lease that
	// is not there. Names are in the form a tenant wrote them. may says whether the
	// credential is for a service of a lease: it must be for those that lose a name
	// and those that get it, else nothing is moved and the error wraps
	// [api.ErrForbidden].
	MigrateHostnames(ctx context.Context, to market.LeaseID, names []string, may MayChange) ([]api.HostnameMoved, error)
}

// MayChange reports whether a credential is for a service of a lease. It may be
// called at any time during the call that it is an argument of.
type MayChange func(id market.LeaseID, service string) bool

// Logger and Execer are the optional abilities that a back end shares with
// drivers.
type (
	// Logger is a back end that can read what workloads print.
	Logger = driver.LogStreamer
	// Execer is a back end that can run a command in a replica.
	Execer = driver.Execer
)
