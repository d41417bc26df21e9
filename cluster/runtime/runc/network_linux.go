//go:build cgo

package runc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/internal/hosts"
	"github.com/moorage-dev/moorage/cluster/runtime/internal/subnet"
	"github.com/moorage-dev/moorage/cluster/runtime/runc/internal/fabric"
	"github.com/moorage-dev/moorage/cluster/runtime/runc/internal/plan"
)

// networkKey is the lock of a network's name, apart from containers'.
func networkKey(name string) string { return "network/" + name }

// loadNetworks reads which networks there are.
func (r *Runtime) loadNetworks() error {
	files, err := os.ReadDir(filepath.Join(r.cfg.Dir, "networks"))
	if err != nil {
		return fmt.Errorf("runc: %w", err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".json") || strings.HasPrefix(f.Name(), ".") {
			continue
		}
		var s fabric.Segment
		if err := plan.Read(filepath.Join(r.cfg.Dir, "networks"), f.Name(), &s); err != nil {
			return err
		}
		r.networks[s.Name] = &segment{Segment: s, users: map[netip.Addr]user{}}
	}
	return nil
}

// recoverNetworks makes bridges and rules as they were, and removes strays.
// Containers have been claimed: rules that knew none would cut them off.
func (r *Runtime) recoverNetworks() error {
	segments := r.segments()
	if err := r.fabric.Strays(segments); err != nil {
		return fmt.Errorf("runc: %w", err)
	}
	if len(segments) == 0 {
		return r.clearRules(context.Background())
	}
	if err := r.weaveAll(context.Background()); err != nil {
		return err
	}
	if err := r.ready(context.Background(), segments...); err != nil {
		return err
	}
	if err := r.fabric.IsolatePorts(); err != nil {
		return fmt.Errorf("runc: %w", err)
	}
	return nil
}

// segments copies all networks, sorted by index.
func (r *Runtime) segments() []fabric.Segment {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []fabric.Segment
	for _, s := range r.networks {
		out = append(out, s.Segment)
	}
	slices.SortFunc(out, func(a, b fabric.Segment) int { return a.Index - b.Index })
	return out
}

func (r *Runtime) networkNames() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.networks))
}

// EnsureNetwork implements runtime.Networker.
func (r *Runtime) EnsureNetwork(ctx context.Context, name string) (runtime.Network, error) {
	if err := errors.Join(r.closed(), runtime.CheckName(name)); err != nil {
		return runtime.Network{}, err
	}
	unlock, err := r.names.Lock(ctx, networkKey(name))
	if err != nil {
		return runtime.Network{}, err
	}
	defer unlock()
	r.fabricMu.Lock()
	defer r.fabricMu.Unlock()
	r.mu.Lock()
	have := r.networks[name]
	r.mu.Unlock()
	if have != nil { // somebody may have flushed the machine's rules
		return view(have.Segment), r.wire(ctx, have.Segment)
	}
	s, err := r.newNetwork(ctx, name)
	return view(s), err
}

func view(s fabric.Segment) runtime.Network {
	if s.Name == "" {
		return runtime.Network{}
	}
	return runtime.Network{Name: s.Name, Prefix: s.Prefix, Gateway: s.Gateway()}
}

// newNetwork makes a network; rules are in force before anything can be on it.
func (r *Runtime) newNetwork(ctx context.Context, name string) (fabric.Segment, error) {
	unlock, err := fabric.LockMachine()
	if err != nil {
		return fabric.Segment{}, fmt.Errorf("runc: %w", err)
	}
	defer unlock()
	s, err := r.chooseRange(name)
	if err != nil {
		return fabric.Segment{}, fmt.Errorf("runc: network %s: %w", name, err)
	}
	if err := plan.Write(filepath.Join(r.cfg.Dir, "networks"), name+".json", s); err != nil {
		return fabric.Segment{}, err
	}
	r.mu.Lock()
	r.networks[name] = &segment{Segment: s, users: map[netip.Addr]user{}}
	r.mu.Unlock()
	if err := r.wire(ctx, s); err != nil {
		return fabric.Segment{}, errors.Join(err, r.dropNetwork(context.WithoutCancel(ctx), s))
	}
	return s, nil
}

func (r *Runtime) chooseRange(name string) (fabric.Segment, error) {
	taken, err := fabric.Taken()
	if err != nil {
		return fabric.Segment{}, err
	}
	s := fabric.Segment{Name: name}
	used := map[int]bool{}
	for _, o := range r.segments() {
		taken = append(taken, o.Prefix)
		if o.Prefix6.IsValid() {
			taken = append(taken, o.Prefix6)
		}
		used[o.Index] = true
	}
	for s.Index = 1; used[s.Index]; s.Index++ {
	}
	if s.Index > fabric.MaxSegments {
		return s, errors.New("too many networks")
	}
	if s.Prefix, err = subnet.Free(r.cfg.Pool, taken); err == nil && r.cfg.Pool6.IsValid() {
		s.Prefix6, err = subnet.Free6(r.cfg.Pool6, taken)
	}
	return s, err
}

func (r *Runtime) dropNetwork(ctx context.Context, s fabric.Segment) error {
	if err := r.fabric.DeleteBridge(s); err != nil {
		return err
	}
	if err := r.unweave(ctx, s.Name); err != nil {
		return err
	}
	err := os.Remove(filepath.Join(r.cfg.Dir, "networks", s.Name+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// DeleteNetwork implements runtime.Networker.
func (r *Runtime) DeleteNetwork(ctx context.Context, name string) error {
	if err := r.closed(); err != nil {
		return err
	}
	unlock, err := r.names.Lock(ctx, networkKey(name))
	if err != nil {
		return err
	}
	defer unlock()
	r.fabricMu.Lock()
	defer r.fabricMu.Unlock()
	r.mu.Lock()
	n := r.networks[name]
	var users []string
	if n != nil {
		users = n.containers()
	}
	r.mu.Unlock()
	if n == nil {
		return nil
	}
	if len(users) > 0 {
		return fmt.Errorf("runc: network %s still has container %s", name, users[0])
	}
	if err := r.dropNetwork(ctx, n.Segment); err != nil {
		return fmt.Errorf("runc: network %s: %w", name, err)
	}
	return nil
}

// SetHosts implements runtime.Networker.
func (r *Runtime) SetHosts(ctx context.Context, network string, names map[string][]netip.Addr) error {
	if err := errors.Join(r.closed(), hosts.Check(names)); err != nil {
		return err
	}
	unlock, err := r.names.Lock(ctx, networkKey(network))
	if err != nil {
		return err
	}
	defer unlock()
	r.mu.Lock()
	n := r.networks[network]
	if n == nil {
		r.mu.Unlock()
		return notFound("network", network)
	}
	n.Hosts = hosts.Clone(names)
	s, users := n.Segment, n.containers()
	r.mu.Unlock()
	if err := plan.Write(filepath.Join(r.cfg.Dir, "networks"), network+".json", s); err != nil {
		return err
	}
	for _, name := range users {
		if err := r.rewriteHosts(name, s.Hosts); err != nil {
			return err
		}
	}
	return nil
}

func (r *Runtime) hostsOf(network string) map[string][]netip.Addr {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := r.networks[network]; n != nil {
		return n.Hosts // replaced as a whole, never changed
	}
	return nil
}

// rewriteHosts changes the file in place, as the container has it mounted.
func (r *Runtime) rewriteHosts(container string, names map[string][]netip.Addr) error {
	dir := r.containerDir(container)
	var s saved
	err := plan.Read(dir, plan.SpecFile, &s)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // being removed
	}
	if err != nil {
		return err
	}
	err = hosts.Rewrite(filepath.Join(dir, plan.HostsFile), hosts.Render(hostname(s.Spec), s.Address, names))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
