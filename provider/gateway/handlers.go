package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

func (g *Gateway) version(w http.ResponseWriter, q *query) error {
	g.answer(w, q.Request, http.StatusOK, api.Version{API: api.APIVersion, Software: g.cfg.Software})
	return nil
}

func (g *Gateway) address(w http.ResponseWriter, q *query) error {
	g.answer(w, q.Request, http.StatusOK, api.Address{Address: g.cfg.Provider})
	return nil
}

func (g *Gateway) status(w http.ResponseWriter, q *query) error {
	st, err := g.cfg.Backend.Status(q.Context())
	if err != nil {
		return err
	}
	st.Provider = g.cfg.Provider
	g.answer(w, q.Request, http.StatusOK, st)
	return nil
}

func (g *Gateway) openAPI(w http.ResponseWriter, q *query) error {
	g.answer(w, q.Request, http.StatusOK, openAPIDocument())
	return nil
}

func (g *Gateway) putManifest(w http.ResponseWriter, q *query) error {
	m, err := manifest.Read(q.Body)
	if err != nil {
		return fmt.Errorf("%w: %w", api.ErrMalformed, err)
	}
	if err := g.cfg.Backend.PutManifest(q.Context(), q.deployment, m); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (g *Gateway) getManifest(w http.ResponseWriter, q *query) error {
	m, err := g.cfg.Backend.Manifest(q.Context(), q.deployment)
	if err != nil {
		return err
	}
	g.answer(w, q.Request, http.StatusOK, readable(m, q.mayRead(g.cfg.Provider)))
	return nil
}

// readable returns a copy without registry passwords and without the services
// that the credential is not for. The tenant has them; whoever else holds a token
// to read the manifest need not.
func readable(m manifest.Manifest, may func(gseq uint32, service string) bool) manifest.Manifest {
	out := slices.Clone(m)
	for i := range out {
		gseq := uint32(i) + 1 // groups are numbered in the order of the manifest
		out[i].Services = slices.DeleteFunc(slices.Clone(out[i].Services), func(s manifest.Service) bool {
			return !may(gseq, s.Name)
		})
		for j := range out[i].Services {
			s := &out[i].Services[j]
			if s.Credentials != nil {
				c := *s.Credentials
				c.Password = ""
				s.Credentials = &c
			}
		}
	}
	return out
}

func (g *Gateway) leaseStatus(w http.ResponseWriter, q *query) error {
	st, err := g.cfg.Backend.LeaseStatus(q.Context(), q.lease)
	if err != nil {
		return err
	}
	may := q.mayRead(g.cfg.Provider)
	st.Services = slices.DeleteFunc(slices.Clone(st.Services), func(s api.ServiceStatus) bool {
		return !may(q.lease.GSeq, s.Name)
	})
	if st.Services == nil {
		st.Services = []api.ServiceStatus{}
	}
	st.IPs = readableIPs(st.IPs, func(service string) bool { return may(q.lease.GSeq, service) })
	g.answer(w, q.Request, http.StatusOK, st)
	return nil
}

func (g *Gateway) serviceStatus(w http.ResponseWriter, q *query) error {
	st, err := g.cfg.Backend.LeaseStatus(q.Context(), q.lease)
	if err != nil {
		return err
	}
	name := q.PathValue("service")
	s, ok := st.Service(name)
	if !ok {
		return fmt.Errorf("gateway: service %.64q of lease %s: %w", name, q.lease, market.ErrNotFound)
	}
	g.answer(w, q.Request, http.StatusOK, s)
	return nil
}

func (g *Gateway) screen(w http.ResponseWriter, q *query) error {
	s, ok := g.cfg.Backend.(Screener)
	if !ok {
		return fmt.Errorf("gateway: bid screening: %w", errors.ErrUnsupported)
	}
	var in api.Screening
	if err := readJSON(q.Body, &in); err != nil {
		return err
	}
	offers, err := s.Screen(q.Context(), q.principal.tenant, in.Groups)
	if err != nil {
		return err
	}
	g.answer(w, q.Request, http.StatusOK, api.ScreeningResult{Offers: offers})
	return nil
}

func readJSON(r io.Reader, into any) error {
	dec := json.NewDecoder(r)
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return unread(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: want one JSON document", api.ErrMalformed)
	}
	return nil
}

// unread says why a body could not be read: it was too large, it is not JSON, or
// the caller went away or is too slow.
func unread(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return err
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("gateway: read body: %w: %w", context.DeadlineExceeded, err)
	}
	return fmt.Errorf("%w: %w", api.ErrMalformed, err)
}

func (g *Gateway) restart(w http.ResponseWriter, q *query) error {
	b, ok := g.cfg.Backend.(Restarter)
	if !ok {
		return fmt.Errorf("gateway: restart: %w", errors.ErrUnsupported)
	}
	if err := b.Restart(q.Context(), q.lease, q.PathValue("service")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (g *Gateway) migrateHostnames(w http.ResponseWriter, q *query) error {
	b, ok := g.cfg.Backend.(HostnameMigrator)
	if !ok {
		return fmt.Errorf("gateway: migration of host names: %w", errors.ErrUnsupported)
	}
	var in api.HostnameMigration
	if err := readJSON(q.Body, &in); err != nil {
		return err
	}
	if len(in.Hostnames) == 0 || len(in.Hostnames) > api.MaxHostnames {
		return fmt.Errorf("%w: want 1 to %d host names", api.ErrMalformed, api.MaxHostnames)
	}
	results, err := b.MigrateHostnames(q.Context(), q.lease, in.Hostnames, q.mayChange)
	if err != nil {
		return err
	}
	g.answer(w, q.Request, http.StatusOK, api.HostnameMigrationResult{Results: results})
	return nil
}
