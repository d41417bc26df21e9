package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/internal/hosts"
	"github.com/moorage-dev/moorage/cluster/runtime/internal/subnet"
)

// maxAttempts bounds choosing a range that the engine takes.
const maxAttempts = 16

// networkKey is the lock of a network's name, apart from containers'.
func networkKey(name string) string { return "network/" + name }

// EnsureNetwork implements runtime.Networker.
func (r *Runtime) EnsureNetwork(ctx context.Context, name string) (runtime.Network, error) {
	if err := runtime.CheckName(name); err != nil {
		return runtime.Network{}, err
	}
	ctx, done, err := r.begin(ctx)
	if err != nil {
		return runtime.Network{}, err
	}
	defer done()
	unlock, err := r.locks.Lock(ctx, "networks") // ranges are chosen one at a time
	if err != nil {
		return runtime.Network{}, err
	}
	defer unlock()
	n, err := r.network(ctx, name)
	if !errors.Is(err, runtime.ErrNotFound) {
		return n, err
	}
	if err := r.create(ctx, name); err != nil {
		return runtime.Network{}, err
	}
	return r.network(ctx, name)
}

func (r *Runtime) network(ctx context.Context, name string) (runtime.Network, error) {
	if r.podman {
		return r.lookPodman(ctx, name)
	}
	got, err := r.engine.NetworkInspect(ctx, r.full(name), client.NetworkInspectOptions{})
	if errdefs.IsNotFound(err) {
		return runtime.Network{}, notFound("network", name)
	}
	if err != nil {
		return runtime.Network{}, fail(ctx, "network", name, err)
	}
	n := runtime.Network{Name: name}
	for _, c := range got.Network.IPAM.Config {
		if c.Subnet.IsValid() && c.Subnet.Addr().Is4() {
			n.Prefix, n.Gateway = c.Subnet, c.Gateway
		}
	}
	return n, nil
}

// create makes a bridge network in a range of our own pool: engines' own pools
// hold about thirty networks.
func (r *Runtime) create(ctx context.Context, name string) error {
	taken, _, err := r.listNetworks(ctx)
	if err != nil {
		return err
	}
	for range maxAttempts {
		p, err := subnet.Free(r.cfg.Pool, taken)
		if err != nil {
			return fmt.Errorf("docker: network %s: %w", name, err)
		}
		err = r.createIn(ctx, name, p)
		if err == nil {
			return nil
		}
		if !takenRange(err) {
			return fail(ctx, "create network", name, err)
		}
		taken = append(taken, p) // a range of the host that the engine does not list
	}
	return fmt.Errorf("docker: network %s: the host uses ranges all over %s", name, r.cfg.Pool)
}

// listNetworks gives the ranges of all networks, and the names of ours.
func (r *Runtime) listNetworks(ctx context.Context) (ranges []netip.Prefix, ours []string, err error) {
	add := func(labels map[string]string, subnets ...netip.Prefix) {
		ranges = append(ranges, subnets...)
		if labels[labelInstance] == r.cfg.Instance {
			ours = append(ours, labels[labelNetwork])
		}
	}
	if r.podman {
		list, err := r.podmanList(ctx)
		for _, n := range list {
			add(n.Labels)
			for _, s := range n.Subnets {
				add(nil, s.Subnet)
			}
		}
		return ranges, ours, err
	}
	list, err := r.engine.NetworkList(ctx, client.NetworkListOptions{})
	if err != nil {
		return nil, nil, fail(ctx, "list", "networks", err)
	}
	for _, n := range list.Items {
		add(n.Labels)
		for _, c := range n.IPAM.Config {
			if c.Subnet.IsValid() {
				add(nil, c.Subnet)
			}
		}
	}
	return ranges, ours, nil
}

func (r *Runtime) createIn(ctx context.Context, name string, p netip.Prefix) error {
	labels := map[string]string{labelInstance: r.cfg.Instance, labelNetwork: name}
	if r.podman {
		return r.createWalled(ctx, r.full(name), p, labels)
	}
	_, err := r.engine.NetworkCreate(ctx, r.full(name), client.NetworkCreateOptions{
		Driver: "bridge", Labels: labels,
		IPAM: &network.IPAM{Driver: "default", Config: []network.IPAMConfig{{Subnet: p, Gateway: p.Addr().Next()}}},
	})
	return err
}

// takenRange reports an error that another range may cure.
func takenRange(err error) bool {
	text := strings.ToLower(err.Error())
	return strings.Contains(text, "overlap") || strings.Contains(text, "conflicts with") || strings.Contains(text, "already used")
}

// checkNetwork is ErrNotFound for a network that is not there.
func (r *Runtime) checkNetwork(ctx context.Context, name string) error {
	if name == "" {
		return nil
	}
	_, err := r.network(ctx, name)
	return err
}

// DeleteNetwork implements runtime.Networker.
func (r *Runtime) DeleteNetwork(ctx context.Context, name string) error {
	if runtime.CheckName(name) != nil {
		return nil
	}
	ctx, done, err := r.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	unlock, err := r.locks.Lock(ctx, networkKey(name))
	if err != nil {
		return err
	}
	defer unlock()
	users, err := r.users(ctx, name)
	if err != nil {
		return err
	}
	if len(users) > 0 {
		return fmt.Errorf("docker: network %s still has container %s", name, users[0])
	}
	if _, err := r.engine.NetworkRemove(ctx, r.full(name), client.NetworkRemoveOptions{}); err != nil && !errdefs.IsNotFound(err) {
		return fail(ctx, "delete network", name, err)
	}
	if err := os.Remove(r.namesFile(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("docker: %w", err)
	}
	return nil
}

// users are the containers of a network, running or not, sorted.
func (r *Runtime) users(ctx context.Context, name string) ([]string, error) {
	list, err := r.engine.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: r.ours().Add("label", labelNetwork+"="+name)})
	if err != nil {
		return nil, fail(ctx, "list containers of", name, err)
	}
	var out []string
	for _, c := range list.Items {
		out = append(out, c.Labels[labelName])
	}
	slices.Sort(out)
	return out, nil
}

// SetHosts implements runtime.Networker.
func (r *Runtime) SetHosts(ctx context.Context, name string, names map[string][]netip.Addr) error {
	if err := hosts.Check(names); err != nil {
		return err
	}
	ctx, done, err := r.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	unlock, err := r.locks.Lock(ctx, networkKey(name))
	if err != nil {
		return err
	}
	defer unlock()
	if runtime.CheckName(name) != nil {
		return notFound("network", name)
	}
	if err := r.checkNetwork(ctx, name); err != nil {
		return err
	}
	data, err := json.Marshal(names)
	if err != nil {
		return fmt.Errorf("docker: %w", err)
	}
	if err := os.WriteFile(r.namesFile(name), data, 0o600); err != nil {
		return fmt.Errorf("docker: %w", err)
	}
	return r.tellAll(ctx, name)
}

// tellAll rewrites the names in all containers of the network.
func (r *Runtime) tellAll(ctx context.Context, network string) error {
	users, err := r.users(ctx, network)
	if err != nil {
		return err
	}
	for _, u := range users {
		got, err := r.engine.ContainerInspect(ctx, r.full(u), client.ContainerInspectOptions{})
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fail(ctx, "inspect", u, err)
		}
		if err := r.writeHosts(u, got.Container.Config.Hostname, r.view(u, got.Container).Address, network); err != nil {
			return fmt.Errorf("docker: hosts of %s: %w", u, err)
		}
	}
	return nil
}

func (r *Runtime) namesFile(network string) string {
	return filepath.Join(r.cfg.Dir, "networks", network+".json")
}

func (r *Runtime) readNames(network string) (map[string][]netip.Addr, error) {
	if network == "" {
		return nil, nil
	}
	data, err := os.ReadFile(r.namesFile(network))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names map[string][]netip.Addr
	return names, json.Unmarshal(data, &names)
}

// makeVolumes makes a spec's volumes with our label.
func (r *Runtime) makeVolumes(ctx context.Context, s runtime.Spec) error {
	for _, m := range s.Mounts {
		if m.Volume == "" {
			continue
		}
		_, err := r.engine.VolumeCreate(ctx, client.VolumeCreateOptions{
			Name: r.full(m.Volume), Labels: map[string]string{labelInstance: r.cfg.Instance, labelName: m.Volume},
		})
		if err != nil {
			return fail(ctx, "volume", m.Volume, err)
		}
	}
	return nil
}

// RemoveVolume implements runtime.VolumeRemover. One in use is an error.
func (r *Runtime) RemoveVolume(ctx context.Context, name string) error {
	if runtime.CheckName(name) != nil {
		return nil
	}
	ctx, done, err := r.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	if _, err := r.engine.VolumeRemove(ctx, r.full(name), client.VolumeRemoveOptions{}); err != nil && !errdefs.IsNotFound(err) {
		return fail(ctx, "remove volume", name, err)
	}
	return nil
}

// Volumes implements runtime.VolumeRemover.
func (r *Runtime) Volumes(ctx context.Context) ([]string, error) {
	ctx, done, err := r.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	list, err := r.engine.VolumeList(ctx, client.VolumeListOptions{Filters: r.ours()})
	if err != nil {
		return nil, fail(ctx, "list", "volumes", err)
	}
	var out []string
	for _, v := range list.Items {
		out = append(out, v.Labels[labelName])
	}
	slices.Sort(out)
	return out, nil
}

// watchDisk ends containers whose writable layer is over its bound, as long as
// the runtime is open.
func (r *Runtime) watchDisk() {
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-time.After(DiskInterval):
		}
		list, err := r.engine.ContainerList(r.ctx, client.ContainerListOptions{Filters: r.ours()})
		if err != nil {
			continue // the engine is away; callers see that themselves
		}
		for _, c := range list.Items {
			bound, err := strconv.ParseInt(c.Labels[labelDisk], 10, 64)
			if err == nil && bound > 0 && r.use(c.ID) > bound {
				r.overDisk(c.Labels[labelName])
			}
		}
	}
}

// use is the size of a container's writable layer, 0 if unknown.
func (r *Runtime) use(id string) int64 {
	got, err := r.engine.ContainerInspect(r.ctx, id, client.ContainerInspectOptions{Size: true})
	if err != nil || got.Container.SizeRw == nil {
		return 0
	}
	return *got.Container.SizeRw
}

func (r *Runtime) overDisk(name string) {
	if runtime.CheckName(name) != nil {
		return
	}
	err := r.blame(name, "disk limit exceeded")
	if err == nil {
		_, err = r.engine.ContainerKill(r.ctx, r.full(name), client.ContainerKillOptions{Signal: "KILL"})
	}
	if err != nil && r.ctx.Err() == nil {
		r.log.Error("cannot end a container over its disk limit", "name", name, "error", err)
	}
}

// Purge removes all containers, networks and volumes of this instance.
func (r *Runtime) Purge(ctx context.Context) error {
	names, err := r.names(ctx)
	errs := []error{err}
	for _, name := range names {
		errs = append(errs, r.Remove(ctx, name))
	}
	_, networks, err := r.listNetworks(ctx)
	errs = append(errs, err)
	for _, n := range networks {
		errs = append(errs, r.DeleteNetwork(ctx, n))
	}
	volumes, err := r.Volumes(ctx)
	errs = append(errs, err)
	for _, v := range volumes {
		errs = append(errs, r.RemoveVolume(ctx, v))
	}
	return errors.Join(errs...)
}
