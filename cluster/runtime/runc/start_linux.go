//go:build cgo

package runc

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/image"
	"github.com/moorage-dev/moorage/cluster/runtime/internal/hosts"
	"github.com/moorage-dev/moorage/cluster/runtime/runc/internal/fabric"
	"github.com/moorage-dev/moorage/cluster/runtime/runc/internal/plan"
)

// Start implements runtime.Runtime.
func (r *Runtime) Start(ctx context.Context, spec runtime.Spec) (runtime.Container, error) {
	if err := errors.Join(r.closed(), spec.Validate()); err != nil {
		return runtime.Container{}, err
	}
	unlock, err := r.names.Lock(ctx, spec.Name)
	if err != nil {
		return runtime.Container{}, err
	}
	defer unlock()
	if c, _, err := r.load(spec.Name); !errors.Is(err, runtime.ErrNotFound) {
		return c, err
	}
	if spec.Network != "" { // SetHosts must not pass between making the file and counting it
		done, err := r.names.Lock(ctx, networkKey(spec.Network))
		if err != nil {
			return runtime.Container{}, err
		}
		defer done()
	}
	if err := r.start(ctx, spec); err != nil {
		return runtime.Container{}, err
	}
	r.watch(spec.Name)
	r.hub.Publish(spec.Name)
	c, _, err := r.load(spec.Name)
	return c, err
}

// start makes the container's folder and has the shim start it.
func (r *Runtime) start(ctx context.Context, spec runtime.Spec) (err error) {
	im, err := r.images.Image(spec.Image)
	if err != nil {
		return err
	}
	s := saved{Spec: spec}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.clear(context.Background(), spec.Name, s))
		}
	}()
	if s.IDBase, err = r.nextSlot(spec.Name); err != nil {
		return err
	}
	p, err := r.plan(&s, im)
	if err != nil {
		return err
	}
	if err := r.admit(ctx, spec.Network); err != nil {
		return err
	}
	dir := r.containerDir(spec.Name)
	if err := r.fill(dir, s); err != nil {
		return err
	}
	if err := plan.Write(dir, plan.PlanFile, p); err != nil {
		return err
	}
	if err := plan.Write(dir, plan.SpecFile, s); err != nil {
		return err
	}
	_, err = r.shim.start(dir)
	return err
}

// plan decides everything about a container.
func (r *Runtime) plan(s *saved, im image.Details) (plan.Plan, error) {
	spec := s.Spec
	p := plan.Plan{
		Protocol: plan.Protocol, Name: spec.Name, ShimCgroup: r.cgroupRoot() + "/shims",
		Layers: im.Layers, User: im.User,
		DiskBytes: spec.Resources.DiskBytes, LogBytes: spec.Resources.LogBytes,
	}
	if p.LogBytes == 0 {
		p.LogBytes = runtime.DefaultLogBytes
	}
	if s.IDBase != 0 {
		p.IDs = &plan.IDRange{Base: s.IDBase, Size: IDsPerContainer}
	}
	var err error
	if p.StopSignal, err = stopSignal(im.StopSignal); err != nil {
		return p, err
	}
	if p.Network, err = r.join(s); err != nil {
		return p, err
	}
	if p.Volumes, err = r.openVolumes(spec); err != nil {
		return p, err
	}
	p.OCI, err = ociSpec(r, *s, im)
	return p, err
}

// join gives the container an address and an interface's name.
func (r *Runtime) join(s *saved) (*plan.Wire, error) {
	if s.Spec.Network == "" {
		return nil, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.networks[s.Spec.Network]
	if n == nil {
		return nil, notFound("network", s.Spec.Network)
	}
	addr, err := n.FreeAddr(n.taken)
	if err != nil {
		return nil, fmt.Errorf("runc: network %s: %w", n.Name, err)
	}
	n.users[addr] = user{s.Spec.Name, s.Spec.Service}
	var unique [3]byte
	_, _ = rand.Read(unique[:])
	s.Address, s.Address6, s.Veth = addr, n.Address6(addr), "mv"+r.instance+hex.EncodeToString(unique[:])
	return &plan.Wire{
		Bridge: r.fabric.Bridge(n.Segment), Veth: s.Veth, Gateway: n.Gateway(), MTU: fabric.MTU(),
		Address: netip.PrefixFrom(addr, n.Prefix.Bits()), Address6: s.Address6, Gateway6: n.Gateway6(),
	}, nil
}

// fill makes the container's folder and the files that it sees of it.
func (r *Runtime) fill(dir string, s saved) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	files := map[string]string{
		plan.HostsFile:  hosts.Render(hostname(s.Spec), s.Address, r.hostsOf(s.Spec.Network)),
		plan.ResolvFile: resolvFile(r.resolv),
		plan.NameFile:   hostname(s.Spec) + "\n",
	}
	for name, content := range files {
		if err := hosts.Write(filepath.Join(dir, name), content); err != nil {
			return err
		}
	}
	return nil
}

// Stop implements runtime.Runtime.
func (r *Runtime) Stop(ctx context.Context, name string, grace time.Duration) error {
	if err := r.closed(); err != nil {
		return err
	}
	unlock, err := r.names.Lock(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	c, _, err := r.load(name)
	if errors.Is(err, runtime.ErrNotFound) || err == nil && c.State == runtime.Exited {
		return nil
	}
	if err != nil {
		return err
	}
	err = ask(ctx, r.containerDir(name), plan.Request{Op: plan.OpStop, Grace: grace})
	if errors.Is(err, errShimGone) { // it ended while we asked
		return r.kill(ctx, name)
	}
	return err
}

// Remove implements runtime.Runtime.
func (r *Runtime) Remove(ctx context.Context, name string) error {
	if err := r.closed(); err != nil {
		return err
	}
	if runtime.CheckName(name) != nil {
		return nil
	}
	unlock, err := r.names.Lock(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	_, s, err := r.load(name)
	if errors.Is(err, runtime.ErrNotFound) {
		if _, err := os.Stat(r.containerDir(name)); err != nil {
			return nil
		}
	}
	err = r.clear(ctx, name, s)
	r.hub.Publish(name)
	return err
}

// Watch implements runtime.Runtime.
func (r *Runtime) Watch(ctx context.Context) iter.Seq2[string, error] { return r.hub.Watch(ctx) }

// Purge removes all containers, networks, volumes and rules of this runtime from
// the machine. Images stay.
func (r *Runtime) Purge(ctx context.Context) error {
	var errs []error
	containers, err := r.folders("containers")
	errs = append(errs, err)
	for _, name := range containers {
		errs = append(errs, r.Remove(ctx, name))
	}
	for _, name := range r.networkNames() {
		errs = append(errs, r.DeleteNetwork(ctx, name))
	}
	volumes, err := r.Volumes(ctx)
	errs = append(errs, err)
	for _, name := range volumes {
		errs = append(errs, r.RemoveVolume(ctx, name))
	}
	for _, name := range []string{r.cgroupRoot() + "/shims", r.cgroupRoot()} {
		errs = append(errs, removeCgroup(cgroupDirs(name)))
	}
	r.tidyCgroups()
	return errors.Join(errs...)
}

// tidyCgroups removes the instance's cgroups that are empty, and the one that all
// instances share if this was the last.
func (r *Runtime) tidyCgroups() {
	for _, name := range []string{r.cgroupRoot() + "/shims", r.cgroupRoot(), "/moorage"} {
		for _, dir := range cgroupDirs(name) {
			_ = os.Remove(dir)
		}
	}
}
