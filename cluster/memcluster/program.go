package memcluster

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/netpolicy"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// Program is what an image does. Every part may be nil.
type Program struct {
	// Start returns what a replica prints when it starts; only Stderr and Text
	// count.
	Start func(p Process) []driver.LogLine
	// Exec runs a command and returns its exit code. It returns soon after the
	// context ends. nil means that no command is found: exit code 127.
	Exec func(ctx context.Context, p Process, x driver.Exec) int
	// HTTP serves the ports that the service exposes. nil refuses.
	HTTP func(p Process) http.Handler
}

// Process is one replica as its program sees it.
type Process struct {
	Lease   market.LeaseID
	Service string
	Replica uint32
	// Env is what [driver.Workload.AddressEnv] says, then that of the manifest; of
	// two with one name the last counts.
	Env []string
	// Args are Command and Args of the manifest.
	Args  []string
	world *World
}

// Getenv returns the value of an environment entry, "" when there is none.
func (p Process) Getenv(name string) string {
	for _, e := range slices.Backward(p.Env) {
		if k, v, _ := strings.Cut(e, "="); k == name {
			return v
		}
	}
	return ""
}

// Get fetches a URL as the replica would. Services of its own lease are found
// by name, on the ports they expose; nothing else is.
func (p Process) Get(ctx context.Context, rawURL string) (body string, err error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", err
	}
	port, _ := strconv.Atoi(u.Port())
	return p.world.get(ctx, caller{p.Lease, netpolicy.Of(p.Service)}, u.Hostname(), uint32(port), u)
}

func (w *World) process(id market.LeaseID, s manifest.Service, index uint32) Process {
	return Process{
		Lease: id, Service: s.Name, Replica: index, Env: s.Env,
		Args: append(append([]string(nil), s.Command...), s.Args...), world: w,
	}
}

// Get fetches a URL of [driver.ServiceStatus.URIs] or a forwarded TCP port, as
// somebody outside would.
func (w *World) Get(ctx context.Context, rawURL string) (body string, err error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", err
	}
	id, service, port, err := w.resolve(u)
	if err != nil {
		return "", err
	}
	return w.get(ctx, caller{id, netpolicy.Endpoint{Role: netpolicy.Node}}, service, port, u)
}

// resolve finds the service behind a public URL.
func (w *World) resolve(u *url.URL) (id market.LeaseID, service string, port uint32, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	outside, _ := strconv.Atoi(u.Port())
	for _, id := range w.list() {
		l := w.leases[id]
		for _, s := range l.workload.Group.Services {
			for _, e := range s.Expose {
				if e.HTTP() && outside == 0 && (w.hostname(id, s.Name) == u.Hostname() || contains(e.Hosts, u.Hostname())) {
					return id, s.Name, e.Port, nil
				}
				if p := l.ports[portKey{s.Name, uint16(e.Port), e.Proto}]; outside != 0 && int(p) == outside && u.Hostname() == w.cfg.PublicHost {
					return id, s.Name, e.Port, nil
				}
			}
		}
	}
	return id, "", 0, fmt.Errorf("memcluster: nothing at %s", u.Host)
}

func contains(hosts []string, name string) bool {
	for _, h := range hosts {
		if strings.EqualFold(h, name) {
			return true
		}
	}
	return false
}

// caller is who asks a service of a lease.
type caller struct {
	lease market.LeaseID
	netpolicy.Endpoint
}

// get asks the handler of a service's first ready replica.
func (w *World) get(ctx context.Context, from caller, name string, port uint32, u *url.URL) (string, error) {
	h, err := w.handler(from, name, port)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return "", err
	}
	rec := &recorder{header: make(http.Header), code: http.StatusOK}
	h.ServeHTTP(rec, req)
	if rec.code != http.StatusOK {
		return rec.body.String(), fmt.Errorf("memcluster: %s: status %d", u, rec.code)
	}
	return rec.body.String(), nil
}

func (w *World) handler(from caller, name string, port uint32) (http.Handler, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	id := from.lease
	l := w.leases[id]
	if l == nil || l.services[name] == nil {
		return nil, fmt.Errorf("memcluster: %.80q does not resolve", name)
	}
	s := l.services[name]
	refused := fmt.Errorf("memcluster: %.80s port %d: connection refused", name, port)
	allowed := func(e manifest.Expose) bool {
		flow := netpolicy.Flow{From: from.Endpoint, To: netpolicy.Of(name), Port: netpolicy.Port{Protocol: manifest.TCP, Number: uint16(e.Port)}}
		return (e.Port == port || e.External() == port) && l.policy.Evaluate(flow).Allowed()
	}
	if !slices.ContainsFunc(s.spec.Expose, allowed) {
		return nil, refused
	}
	for _, s := range []*service{s, s.before} {
		if s == nil {
			continue
		}
		if r := s.firstReady(); r != nil && w.cfg.Programs[s.spec.Image].HTTP != nil {
			return w.cfg.Programs[s.spec.Image].HTTP(w.process(id, s.spec, r.index)), nil
		}
	}
	return nil, refused
}

// firstReady returns a replica that takes clients, nil when there is none.
func (s *service) firstReady() *replica {
	for _, r := range s.replicas {
		if s.broken == "" && r.ready(time.Now()) {
			return r
		}
	}
	return nil
}

// recorder keeps a response.
type recorder struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(code int)        { r.code = code }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }

// exec runs a command in a replica.
func (w *World) exec(ctx context.Context, id market.LeaseID, x driver.Exec) (int, error) {
	p, program, err := w.replica(id, x)
	if err != nil {
		return 0, err
	}
	if x.Stdin == nil {
		x.Stdin = strings.NewReader("")
	}
	if x.Stdout == nil {
		x.Stdout = io.Discard
	}
	if x.Stderr == nil {
		x.Stderr = io.Discard
	}
	if x.TTY {
		x.Stderr = x.Stdout
	}
	if program.Exec == nil {
		fmt.Fprintf(x.Stderr, "%s: not found\n", x.Command[0])
		const notFound = 127
		return notFound, nil
	}
	code := program.Exec(ctx, p, x)
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return code, nil
}

func (w *World) replica(id market.LeaseID, x driver.Exec) (Process, Program, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.leases[id]
	switch {
	case len(x.Command) == 0:
		return Process{}, Program{}, fmt.Errorf("%w: empty command", driver.ErrInvalid)
	case l == nil:
		return Process{}, Program{}, driver.ErrNotFound
	}
	s := l.services[x.Service]
	if s == nil || int(x.Replica) >= len(s.replicas) {
		return Process{}, Program{}, fmt.Errorf("%w: replica %d of service %.63q", driver.ErrNotFound, x.Replica, x.Service)
	}
	if s.broken != "" {
		return Process{}, Program{}, fmt.Errorf("%w: replica %d of service %.63q is not running", driver.ErrNotFound, x.Replica, x.Service)
	}
	return w.process(id, s.spec, x.Replica), w.cfg.Programs[s.spec.Image], nil
}
