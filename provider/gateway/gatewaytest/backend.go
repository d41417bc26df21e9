package gatewaytest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// Backend is a provider in memory. It has the leases it is given, takes any
// manifest for them, prints the log lines it is told to, and runs a few commands:
//
//	echo TEXT…   prints the arguments, each on a line
//	cat          prints its input until that ends
//	fail CODE    prints "failing" to the error output and exits with the code
//	size         prints terminal sizes until its input ends
//	flood N      prints N kilobytes
//	hang         prints "hanging" and waits to be killed
//	panic        panics
//
// Safe for concurrent use.
type Backend struct {
	mu        sync.Mutex
	leases    map[market.LeaseID]bool
	manifests map[market.DeploymentID]manifest.Manifest
	fault     error
	lines     []driver.LogLine
	changed   chan struct{}
	begun     int
	killed    int
	restarts  int
	parked    bool
	limits    []api.SourceLimit
}

var (
	_ gateway.Backend  = (*Backend)(nil)
	_ gateway.Logger   = (*Backend)(nil)
	_ gateway.Execer   = (*Backend)(nil)
	_ gateway.Eventer  = (*Backend)(nil)
	_ gateway.Screener = (*Backend)(nil)

	_ gateway.Restarter        = (*Backend)(nil)
	_ gateway.HostnameMigrator = (*Backend)(nil)
	_ gateway.EndpointMigrator = (*Backend)(nil)
	_ gateway.AddressKeeper    = (*Backend)(nil)
)

// NewBackend returns a provider with these leases.
func NewBackend(leases ...market.LeaseID) *Backend {
	b := &Backend{
		leases: map[market.LeaseID]bool{}, manifests: map[market.DeploymentID]manifest.Manifest{},
		changed: make(chan struct{}),
	}
	for _, id := range leases {
		b.leases[id] = true
	}
	return b
}

// Fail makes every method return the error; nil ends that.
func (b *Backend) Fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fault = err
}

// Print adds log lines of service "web", numbered on from the last.
func (b *Backend) Print(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range n {
		i := len(b.lines)
		b.lines = append(b.lines, driver.LogLine{
			Service: "web", Time: time.Unix(int64(i), 0).UTC(), Stderr: i%2 == 1, Text: "line " + strconv.Itoa(i),
		})
	}
	close(b.changed)
	b.changed = make(chan struct{})
}

// Begun counts commands that were begun.
func (b *Backend) Begun() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.begun
}

// Killed counts commands that ended because their context did.
func (b *Backend) Killed() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.killed
}

func (b *Backend) check(id market.LeaseID) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fault != nil {
		return b.fault
	}
	if !b.leases[id] {
		return fmt.Errorf("lease %s: %w", id, market.ErrNotFound)
	}
	return nil
}

// Status implements [gateway.Backend].
func (b *Backend) Status(context.Context) (api.ProviderStatus, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return api.ProviderStatus{State: api.ProviderReady, Leases: len(b.leases)}, b.fault
}

// PutManifest implements [gateway.Backend].
func (b *Backend) PutManifest(_ context.Context, id market.DeploymentID, m manifest.Manifest) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fault != nil {
		return b.fault
	}
	for l := range b.leases {
		if l.DeploymentID == id {
			b.manifests[id] = m
			return nil
		}
	}
	return fmt.Errorf("deployment %s: %w", id, market.ErrNotFound)
}

// Manifest implements [gateway.Backend].
func (b *Backend) Manifest(_ context.Context, id market.DeploymentID) (manifest.Manifest, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m, ok := b.manifests[id]
	if !ok {
		return nil, fmt.Errorf("manifest of %s: %w", id, market.ErrNotFound)
	}
	return m, b.fault
}

// LeaseStatus implements [gateway.Backend].
func (b *Backend) LeaseStatus(_ context.Context, id market.LeaseID) (api.LeaseStatus, error) {
	if err := b.check(id); err != nil {
		return api.LeaseStatus{}, err
	}
	st := driver.Status{Lease: id, Revision: 1, State: driver.Ready, Services: []driver.ServiceStatus{{
		Name: "web", Wanted: 1, Running: 1, Ready: 1, State: driver.Ready,
		URIs:     []string{"http://web.example"},
		Ports:    []driver.ForwardedPort{{Host: "node.example", ExternalPort: 30001, Port: 80, Proto: manifest.TCP}},
		Replicas: []driver.ReplicaStatus{{Index: 0, Node: "node-1", State: driver.Ready}},
	}}}
	return api.LeaseFromDriver(id, api.PhaseActive, "", st), nil
}

// Events implements [gateway.Eventer]: the phase, then a change per printed line.
func (b *Backend) Events(ctx context.Context, id market.LeaseID) iter.Seq2[api.Event, error] {
	return func(yield func(api.Event, error) bool) {
		if err := b.check(id); err != nil {
			yield(api.Event{}, err)
			return
		}
		if !yield(api.Event{Kind: api.EventPhaseChanged, State: string(api.PhaseActive)}, nil) {
			return
		}
		for l := range b.follow(ctx, 0) {
			if !yield(api.Event{Kind: api.EventServiceChanged, Service: l.Service, Message: l.Text}, nil) {
				return
			}
		}
	}
}

// Screen implements [gateway.Screener]: it would bid on groups named "yes".
func (b *Backend) Screen(_ context.Context, _ market.Address, groups []market.GroupSpec) ([]api.Offer, error) {
	var out []api.Offer
	for _, g := range groups {
		o := api.Offer{Group: g.Name, Bid: g.Name == "yes"}
		if !o.Bid {
			o.Reasons = []api.Reason{{Rule: "no-node", Detail: "no node has room"}}
		}
		out = append(out, o)
	}
	return out, nil
}

// Restart implements [gateway.Restarter] for service "web".
func (b *Backend) Restart(_ context.Context, id market.LeaseID, service string) error {
	if err := b.check(id); err != nil {
		return err
	}
	if service != "web" {
		return fmt.Errorf("service %s: %w", service, market.ErrNotFound)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.restarts++
	return nil
}

// Restarts counts restarts of service "web".
func (b *Backend) Restarts() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.restarts
}

// MigrateHostnames implements [gateway.HostnameMigrator]: names that begin with
// "held." cannot be moved, the others come from service "web" of lease 7/1/1 to
// service "web".
func (b *Backend) MigrateHostnames(_ context.Context, to market.LeaseID, names []string, may gateway.MayChange) ([]api.HostnameMoved, error) {
	if err := b.check(to); err != nil {
		return nil, err
	}
	if !may(to, "web") || !may(Lease(to.Owner), "web") {
		return nil, api.ErrForbidden
	}
	out := make([]api.HostnameMoved, len(names))
	for i, name := range names {
		out[i] = api.HostnameMoved{Hostname: name, Moved: !strings.HasPrefix(name, "held.")}
		if !out[i].Moved {
			out[i].Rule, out[i].Detail = "hostname-taken", "another tenant has it"
		}
	}
	return out, nil
}

// Logs implements [gateway.Logger].
func (b *Backend) Logs(ctx context.Context, id market.LeaseID, o driver.LogOptions) iter.Seq2[driver.LogLine, error] {
	return func(yield func(driver.LogLine, error) bool) {
		if err := b.check(id); err != nil {
			yield(driver.LogLine{}, err)
			return
		}
		b.mu.Lock()
		lines := slices.Clone(b.lines)
		b.mu.Unlock()
		from := 0
		if o.Tail >= 0 {
			from = max(0, len(lines)-o.Tail)
		}
		for _, l := range lines[from:] {
			if (o.Service == "" || o.Service == l.Service) && !yield(l, nil) {
				return
			}
		}
		if !o.Follow {
			return
		}
		for l := range b.follow(ctx, len(lines)) {
			if !yield(l, nil) {
				return
			}
		}
	}
}

func (b *Backend) follow(ctx context.Context, from int) iter.Seq[driver.LogLine] {
	return func(yield func(driver.LogLine) bool) {
		for at := from; ; {
			b.mu.Lock()
			lines, changed := b.lines, b.changed
			b.mu.Unlock()
			for ; at < len(lines); at++ {
				if !yield(lines[at]) {
					return
				}
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}

// Exec implements [gateway.Execer].
func (b *Backend) Exec(ctx context.Context, id market.LeaseID, x driver.Exec) (int, error) {
	if err := b.check(id); err != nil {
		return 0, err
	}
	if x.Service != "web" {
		return 0, fmt.Errorf("service %q: %w", x.Service, driver.ErrNotFound)
	}
	b.mu.Lock()
	b.begun++
	b.mu.Unlock()
	code, err := b.run(ctx, x)
	if ctx.Err() != nil {
		b.mu.Lock()
		b.killed++
		b.mu.Unlock()
		return 0, context.Cause(ctx)
	}
	return code, err
}

func (b *Backend) run(ctx context.Context, x driver.Exec) (int, error) {
	switch x.Command[0] {
	case "echo":
		for _, a := range x.Command[1:] {
			if _, err := fmt.Fprintln(x.Stdout, a); err != nil {
				return 0, err
			}
		}
		return 0, nil
	case "cat":
		if x.Stdin == nil {
			return 0, nil
		}
		_, err := io.Copy(x.Stdout, x.Stdin)
		return 0, err
	case "fail":
		_, _ = fmt.Fprintln(x.Stderr, "failing")
		return strconv.Atoi(x.Command[1])
	case "size":
		return 0, printSizes(ctx, x)
	case "flood":
		return 0, flood(x)
	case "hang":
		_, _ = fmt.Fprintln(x.Stdout, "hanging")
		<-ctx.Done()
		return 0, nil
	case "panic":
		panic("asked to")
	}
	return 127, nil
}

func printSizes(ctx context.Context, x driver.Exec) error {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, x.Stdin)
	}()
	for {
		select {
		case s := <-x.Resize:
			if _, err := fmt.Fprintf(x.Stdout, "%dx%d\n", s.Width, s.Height); err != nil {
				return err
			}
		case <-ended:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

func flood(x driver.Exec) error {
	kilobytes, err := strconv.Atoi(x.Command[1])
	if err != nil {
		return errors.Join(driver.ErrInvalid, err)
	}
	block := make([]byte, 1<<10)
	for i := range kilobytes {
		for j := range block {
			block[j] = byte('a' + (i+j)%26)
		}
		if _, err := x.Stdout.Write(block); err != nil {
			return err
		}
	}
	return nil
}
