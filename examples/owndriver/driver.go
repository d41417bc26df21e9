package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// Functions is a cluster whose images are Go functions. It is a handler itself:
// whoever serves it serves every HTTP service of every lease, each under a host
// name of its own. It shows all that a driver must do. What it runs ends with the
// process, so it is for trying things out, or for a program that leases out its
// own functions.
type Functions struct {
	images  map[string]Image
	node    inventory.Node
	address string

	mu     sync.Mutex // guards all below
	ledger *inventory.Ledger
	leases map[market.LeaseID]*running
	closed bool
}

// Image makes a container: what answers its requests, from its environment.
type Image func(env map[string]string) http.Handler

var (
	_ driver.Driver = (*Functions)(nil)
	_ http.Handler  = (*Functions)(nil)
)

// running is a lease and what answers for each service.
type running struct {
	workload driver.Workload
	services map[string]*container
}

type container struct {
	service manifest.Service
	handler http.Handler // nil without an image
	started time.Time
}

// NewFunctions makes an empty cluster of one node. The address is where the
// caller serves it.
func NewFunctions(images map[string]Image, node inventory.Node, address string) (*Functions, error) {
	ledger, err := inventory.New([]inventory.Node{node}, inventory.Overcommit{})
	return &Functions{
		images: images, node: node, address: address, ledger: ledger, leases: map[market.LeaseID]*running{},
	}, err
}

// begin is the beginning of every method.
func (f *Functions) begin(ctx context.Context) error {
	if f.closed {
		return driver.ErrClosed
	}
	return ctx.Err()
}

// Apply implements [driver.Driver].
func (f *Functions) Apply(ctx context.Context, w driver.Workload) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(ctx); err != nil {
		return err
	}
	if err := w.Validate(); err != nil {
		return err
	}
	old := f.leases[w.Lease]
	if old != nil && w.Revision <= old.workload.Revision {
		return nil
	}
	if _, reasons := f.ledger.Reserve(w.Lease.String(), w.Spec()); len(reasons) > 0 {
		return fmt.Errorf("%w: %s", driver.ErrExhausted, reasons[0])
	}
	next := &running{workload: w.Clone(), services: map[string]*container{}}
	for _, s := range next.workload.Group.Services {
		next.services[s.Name] = f.start(old, s)
	}
	f.leases[w.Lease] = next
	return nil
}

// start makes a container, or keeps the one that runs if nothing has changed.
func (f *Functions) start(old *running, s manifest.Service) *container {
	if old != nil {
		if c := old.services[s.Name]; c != nil && same(c.service, s) {
			return c
		}
	}
	c := &container{service: s, started: time.Now()}
	if image := f.images[s.Image]; image != nil {
		env := map[string]string{}
		for _, e := range s.Env {
			name, value, _ := strings.Cut(e, "=")
			env[name] = value
		}
		c.handler = image(env)
	}
	return c
}

// same reports whether two services are alike, by the encoding that the market's
// hash is made of.
func same(a, b manifest.Service) bool {
	text := func(s manifest.Service) string {
		return string(manifest.Manifest{{Services: []manifest.Service{s}}}.AppendCanonical(nil))
	}
	return text(a) == text(b)
}

// ServeHTTP hands a request to the service that its host name leads to.
func (f *Functions) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		name = r.Host
	}
	if h := f.route(strings.ToLower(name)); h != nil {
		h.ServeHTTP(w, r)
		return
	}
	http.NotFound(w, r)
}

func (f *Functions) route(name string) http.Handler {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, r := range f.leases {
		for _, c := range r.services {
			if slices.Contains(hostnames(id, c.service), name) {
				return c.handler
			}
		}
	}
	return nil
}

// hostnames are the names of a service: its own, and those it asks for. A driver
// that has many leases claims names for one of them only, see
// [driver.ExclusiveHostnames].
func hostnames(id market.LeaseID, s manifest.Service) []string {
	var out []string
	for _, e := range s.Expose {
		if e.HTTP() {
			for _, name := range e.Hosts {
				out = append(out, strings.ToLower(name))
			}
		}
	}
	if slices.ContainsFunc(s.Expose, manifest.Expose.HTTP) {
		out = append(out, fmt.Sprintf("%s-%d-%d-%d.localhost", s.Name, id.DSeq, id.GSeq, id.OSeq))
	}
	return out
}

// Delete implements [driver.Driver].
func (f *Functions) Delete(ctx context.Context, id market.LeaseID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(ctx); err != nil {
		return err
	}
	f.ledger.Release(id.String())
	delete(f.leases, id)
	return nil
}

// Status implements [driver.Driver].
func (f *Functions) Status(ctx context.Context, id market.LeaseID) (driver.Status, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(ctx); err != nil {
		return driver.Status{}, err
	}
	r, ok := f.leases[id]
	if !ok {
		return driver.Status{}, fmt.Errorf("lease %s: %w", id, driver.ErrNotFound)
	}
	out := driver.Status{Lease: id, Revision: r.workload.Revision, Hash: r.workload.Hash, State: driver.Ready}
	for _, name := range slices.Sorted(maps.Keys(r.services)) {
		one := f.status(id, r.services[name])
		out.State = max(out.State, one.State) // failing is above ready
		out.Services = append(out.Services, one)
	}
	return out, nil
}

// status is that of one service. One handler stands for all its replicas.
func (f *Functions) status(id market.LeaseID, c *container) driver.ServiceStatus {
	s := c.service
	out := driver.ServiceStatus{Name: s.Name, Wanted: s.Count, Running: s.Count, Ready: s.Count, State: driver.Ready}
	if c.handler == nil {
		out.Running, out.Ready = 0, 0
		out.State, out.Reason = driver.Failing, fmt.Sprintf("image %q is not available", s.Image)
	}
	_, port, _ := net.SplitHostPort(f.address)
	for _, name := range hostnames(id, s) {
		out.URIs = append(out.URIs, "http://"+net.JoinHostPort(name, port))
	}
	for i := range s.Count {
		out.Replicas = append(out.Replicas, driver.ReplicaStatus{
			Index: i, Node: f.node.Name, State: out.State, Reason: out.Reason, StartedAt: c.started,
		})
	}
	return out
}

// List implements [driver.Driver].
func (f *Functions) List(ctx context.Context) ([]market.LeaseID, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(ctx); err != nil {
		return nil, err
	}
	byText := func(a, b market.LeaseID) int { return strings.Compare(a.String(), b.String()) }
	return slices.SortedFunc(maps.Keys(f.leases), byText), nil
}

// Nodes implements [driver.Driver].
func (f *Functions) Nodes(ctx context.Context) ([]inventory.Node, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return []inventory.Node{f.node}, f.begin(ctx)
}

// Close implements [driver.Driver].
func (f *Functions) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return nil
}
