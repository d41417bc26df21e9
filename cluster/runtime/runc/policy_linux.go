//go:build cgo

package runc

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"

	"github.com/moorage-dev/moorage/cluster/runtime/runc/internal/fabric"
	"github.com/moorage-dev/moorage/cluster/runtime/runc/internal/plan"
	"github.com/moorage-dev/moorage/internal/nft"
	"github.com/moorage-dev/moorage/netpolicy"
	"github.com/moorage-dev/moorage/netpolicy/nftpolicy"
)

// Surroundings implements runtime.PolicyEnforcer.
func (r *Runtime) Surroundings() netpolicy.Surroundings {
	s := netpolicy.Surroundings{
		Own: []netip.Prefix{r.cfg.Pool.Masked()}, Open: slices.Clone(r.cfg.PrivateEgress), Resolvers: slices.Clone(r.resolv),
	}
	if r.cfg.Pool6.IsValid() {
		s.Own = append(s.Own, r.cfg.Pool6.Masked())
	}
	return s
}

// SetPolicy implements runtime.PolicyEnforcer.
func (r *Runtime) SetPolicy(ctx context.Context, network string, p *netpolicy.Policy) error {
	if err := r.closed(); err != nil {
		return err
	}
	unlock, err := r.names.Lock(ctx, networkKey(network))
	if err != nil {
		return err
	}
	defer unlock()
	r.mu.Lock()
	n := r.networks[network]
	var s fabric.Segment
	same := false
	if n != nil {
		same = n.woven != nil && p != nil && reflect.DeepEqual(n.Policy, p)
		n.Policy = p
		s = n.Segment
	}
	r.mu.Unlock()
	switch {
	case n == nil:
		return notFound("network", network)
	case same:
		return nil
	}
	if err := plan.Write(filepath.Join(r.cfg.Dir, "networks"), network+".json", s); err != nil {
		return err
	}
	r.fabricMu.Lock()
	defer r.fabricMu.Unlock()
	return r.weave(ctx, network)
}

// admit makes the rules know a container that is about to start.
func (r *Runtime) admit(ctx context.Context, network string) error {
	r.mu.Lock()
	n := r.networks[network]
	governed := n != nil && n.Policy != nil
	r.mu.Unlock()
	if !governed { // every container is as good as any other
		return nil
	}
	r.fabricMu.Lock()
	defer r.fabricMu.Unlock()
	return r.weave(ctx, network)
}

// wire puts a network's rules into force, then makes its bridge. The caller holds
// fabricMu.
func (r *Runtime) wire(ctx context.Context, s fabric.Segment) error {
	if err := r.weave(ctx, s.Name); err != nil {
		return err
	}
	return r.ready(ctx, s)
}

// ready makes the machine forward packets, and the bridges. The rules that judge
// the packets are in force before.
func (r *Runtime) ready(ctx context.Context, bridges ...fabric.Segment) error {
	if err := errors.Join(r.fabric.LetThrough(ctx), fabric.EnableForwarding(r.cfg.Pool6.IsValid())); err != nil {
		return fmt.Errorf("runc: %w", err)
	}
	for _, s := range bridges {
		if err := r.fabric.EnsureBridge(s); err != nil {
			return fmt.Errorf("runc: network %s: %w", s.Name, err)
		}
	}
	return nil
}

// pattern is how the rules shall have a network. The caller holds mu.
func (r *Runtime) pattern(s *segment) (nftpolicy.Network, error) {
	var members []nftpolicy.Member
	for a, u := range s.users {
		members = append(members, nftpolicy.Member{Address: a, Service: u.service})
	}
	slices.SortFunc(members, func(a, b nftpolicy.Member) int { return a.Address.Compare(b.Address) })
	return r.fabric.Network(s.Segment, members)
}

// weave brings the rules of one network up to date; of all, if the kernel's are
// not as they were left. The caller holds fabricMu.
func (r *Runtime) weave(ctx context.Context, network string) error {
	r.mu.Lock()
	s, woven := r.networks[network], false
	for _, o := range r.networks {
		woven = woven || o.woven != nil
	}
	if s == nil || !woven {
		r.mu.Unlock()
		return r.weaveAll(ctx)
	}
	old := s.woven
	now, err := r.pattern(s)
	r.mu.Unlock()
	if err != nil {
		return fmt.Errorf("runc: network rules: %w", err)
	}
	if err := r.replace(ctx, old, &now); err != nil { // somebody may have flushed the machine's rules
		r.log.InfoContext(ctx, "network rules are made anew", "reason", err)
		return r.weaveAll(ctx)
	}
	r.mu.Lock()
	s.woven = &now
	r.mu.Unlock()
	return nil
}

// replace changes the rules of one network.
func (r *Runtime) replace(ctx context.Context, old, now *nftpolicy.Network) error {
	script, err := r.fabric.Table().Replace(old, now)
	if err != nil {
		return err
	}
	return nft.Run(ctx, script)
}

// weaveAll puts the whole table into the kernel. The caller holds fabricMu, or
// nobody else can.
func (r *Runtime) weaveAll(ctx context.Context) error {
	r.mu.Lock()
	var networks []nftpolicy.Network
	var faults []error
	by := make(map[*segment]*nftpolicy.Network, len(r.networks))
	for _, s := range r.networks {
		now, err := r.pattern(s)
		faults = append(faults, err)
		networks, by[s] = append(networks, now), &now
	}
	r.mu.Unlock()
	err := errors.Join(faults...)
	if err == nil {
		var script string
		if script, err = r.fabric.Table(networks...).Ruleset(); err == nil {
			err = nft.Run(ctx, script)
		}
	}
	if err != nil {
		return fmt.Errorf("runc: network rules: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for s, n := range by {
		s.woven = n
	}
	return nil
}

// unweave forgets a network and takes its rules out; the last takes the table
// along. The caller holds fabricMu.
func (r *Runtime) unweave(ctx context.Context, network string) error {
	r.mu.Lock()
	s := r.networks[network]
	delete(r.networks, network)
	left := len(r.networks)
	r.mu.Unlock()
	switch {
	case left == 0:
		return r.clearRules(ctx)
	case s == nil || s.woven == nil:
		return nil
	case r.replace(ctx, s.woven, nil) != nil:
		return r.weaveAll(ctx)
	}
	return nil
}

// clearRules takes everything out of the kernel.
func (r *Runtime) clearRules(ctx context.Context) error {
	if err := errors.Join(r.fabric.CallBack(ctx), nft.DeleteTable(ctx, r.fabric.TableName())); err != nil {
		return fmt.Errorf("runc: network rules: %w", err)
	}
	return nil
}
