package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// EndpointMigrator is a back end that can move leased addresses between leases.
type EndpointMigrator interface {
	// MigrateEndpoints moves the addresses of exactly these endpoints from other
	// deployments of the same tenant to this lease, and returns one result per
	// name, in order. ErrNotFound for a lease that is not there.
	MigrateEndpoints(ctx context.Context, to market.LeaseID, names []string) ([]api.EndpointMoved, error)
}

// AddressKeeper is a back end that keeps leased addresses for tenants, also
// between leases. Names that the tenant does not hold are ErrNotFound.
type AddressKeeper interface {
	// HeldIPs returns what a tenant has.
	HeldIPs(ctx context.Context, owner market.Address) (api.HeldIPs, error)
	// ParkIP has an address kept when its lease closes. The retainer that pays for
	// it must be open on the market; else it is ErrState with a rule.
	ParkIP(ctx context.Context, owner market.Address, name string) (api.HeldIP, error)
	// ReleaseIP ends that, and the retainer.
	ReleaseIP(ctx context.Context, owner market.Address, name string) (api.HeldIP, error)
	// LimitSources says who may reach a port.
	LimitSources(ctx context.Context, owner market.Address, name string, limit api.SourceLimit) error
}

// addressRoutes are the lines of the table that are about leased addresses.
func addressRoutes(lease string) []Route {
	const one = "/ips/{endpoint}"
	return []Route{
		{Method: http.MethodPost, Pattern: lease + "/endpoints", Scope: api.ScopeIPMigrate, in: doc[api.EndpointMigration](), limit: MaxMigration, out: doc[api.EndpointMigrationResult](), serve: (*Gateway).migrateEndpoints},
		{Method: http.MethodGet, Pattern: "/ips", Scope: api.ScopeStatus, out: doc[api.HeldIPs](), serve: (*Gateway).heldIPs},
		{Method: http.MethodPost, Pattern: one + "/park", Scope: api.ScopeIPMigrate, out: doc[api.HeldIP](), serve: (*Gateway).parkIP},
		{Method: http.MethodPost, Pattern: one + "/release", Scope: api.ScopeIPMigrate, out: doc[api.HeldIP](), serve: (*Gateway).releaseIP},
		{Method: http.MethodPut, Pattern: one + "/sources", Scope: api.ScopeIPMigrate, in: doc[api.SourceLimit](), limit: MaxMigration, serve: (*Gateway).limitSources},
	}
}

func (g *Gateway) migrateEndpoints(w http.ResponseWriter, q *query) error {
	b, ok := g.cfg.Backend.(EndpointMigrator)
	if !ok {
		return fmt.Errorf("gateway: migration of endpoints: %w", errors.ErrUnsupported)
	}
	var in api.EndpointMigration
	if err := readJSON(q.Body, &in); err != nil {
		return err
	}
	if len(in.Endpoints) == 0 || len(in.Endpoints) > api.MaxEndpoints {
		return fmt.Errorf("%w: want 1 to %d endpoints", api.ErrMalformed, api.MaxEndpoints)
	}
	if err := g.mayTake(q, in.Endpoints); err != nil {
		return err
	}
	results, err := b.MigrateEndpoints(q.Context(), q.lease, in.Endpoints)
	if err != nil {
		return err
	}
	g.answer(w, q.Request, http.StatusOK, api.EndpointMigrationResult{Results: results})
	return nil
}

// mayTake checks that the credential is for the services that get the endpoints,
// and for the deployments and services that they are taken from.
func (g *Gateway) mayTake(q *query, names []string) error {
	b, ok := g.cfg.Backend.(AddressKeeper)
	if !ok {
		return nil
	}
	held, err := b.HeldIPs(q.Context(), q.principal.tenant)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := g.mayMove(q, q.deployment, q.lease.GSeq, name); err != nil {
			return err
		}
	}
	for _, ip := range held.IPs {
		if ip.Holder == nil || !slices.Contains(names, ip.Endpoint) {
			continue
		}
		if err := g.mayMove(q, *ip.Holder, 0, ip.Endpoint); err != nil {
			return err
		}
	}
	return nil
}

// mayMove checks that the credential is for a deployment, and for every service of
// its groups, or of one of them, that uses an endpoint.
func (g *Gateway) mayMove(q *query, id market.DeploymentID, gseq uint32, name string) error {
	access := api.Access{Scope: q.scope, Provider: g.cfg.Provider, DSeq: id.DSeq, GSeq: gseq}
	if err := g.authorize(q.principal, access); err != nil {
		return err
	}
	m, err := g.cfg.Backend.Manifest(q.Context(), id)
	if err != nil && !errors.Is(err, market.ErrNotFound) {
		return err
	}
	for i, group := range m {
		access.GSeq = uint32(i) + 1 // groups are numbered in the order of the manifest
		for _, s := range group.Services {
			uses := slices.ContainsFunc(s.Expose, func(e manifest.Expose) bool { return e.IP == name })
			if access.Service = s.Name; !uses || gseq != 0 && gseq != access.GSeq {
				continue
			}
			if err := g.authorize(q.principal, access); err != nil {
				return err
			}
		}
	}
	return nil
}

// keeper returns the back end's way of keeping addresses.
func (g *Gateway) keeper() (AddressKeeper, error) {
	b, ok := g.cfg.Backend.(AddressKeeper)
	if !ok {
		return nil, fmt.Errorf("gateway: leased addresses: %w", errors.ErrUnsupported)
	}
	return b, nil
}

func (g *Gateway) heldIPs(w http.ResponseWriter, q *query) error {
	b, err := g.keeper()
	if err != nil {
		return err
	}
	held, err := b.HeldIPs(q.Context(), q.principal.tenant)
	if err != nil {
		return err
	}
	g.answer(w, q.Request, http.StatusOK, held)
	return nil
}

func (g *Gateway) parkIP(w http.ResponseWriter, q *query) error {
	b, err := g.keeper()
	if err != nil {
		return err
	}
	ip, err := b.ParkIP(q.Context(), q.principal.tenant, q.PathValue("endpoint"))
	if err != nil {
		return err
	}
	g.answer(w, q.Request, http.StatusOK, ip)
	return nil
}

func (g *Gateway) releaseIP(w http.ResponseWriter, q *query) error {
	b, err := g.keeper()
	if err != nil {
		return err
	}
	ip, err := b.ReleaseIP(q.Context(), q.principal.tenant, q.PathValue("endpoint"))
	if err != nil {
		return err
	}
	g.answer(w, q.Request, http.StatusOK, ip)
	return nil
}

func (g *Gateway) limitSources(w http.ResponseWriter, q *query) error {
	b, err := g.keeper()
	if err != nil {
		return err
	}
	var in api.SourceLimit
	if err := readJSON(q.Body, &in); err != nil {
		return err
	}
	if err := b.LimitSources(q.Context(), q.principal.tenant, q.PathValue("endpoint"), in); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// readableIPs leaves out the ports of services that the credential is not for,
// and endpoints of which nothing is left.
func readableIPs(ips []api.LeasedIP, may func(service string) bool) []api.LeasedIP {
	var out []api.LeasedIP
	for _, ip := range ips {
		all := len(ip.Ports)
		ip.Ports = slices.DeleteFunc(slices.Clone(ip.Ports), func(p api.LeasedPort) bool { return !may(p.Service) })
		if len(ip.Ports) > 0 || all == 0 {
			out = append(out, ip)
		}
	}
	return out
}
