package memruntime

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/netpolicy"
)

// Runtime is one agent's view of a [Machine]; see [Machine.Open]. Safe for
// concurrent use.
type Runtime struct {
	machine *Machine
	ctx     context.Context //nolint:containedctx // ends with Close, cuts long calls
	cancel  context.CancelFunc
}

var (
	_ runtime.Runtime       = (*Runtime)(nil)
	_ runtime.VolumeRemover = (*Runtime)(nil)

	_ runtime.PolicyEnforcer = (*Runtime)(nil)
)

// errClosed is what a closed runtime answers.
var errClosed = errors.New("memruntime: closed")

// do runs one call under the machine's lock, with faults.
func (r *Runtime) do(ctx context.Context, op Op, name string, work func(m *Machine) error) error {
	if r.ctx.Err() != nil {
		return errClosed
	}
	after, err := r.machine.enter(ctx, op, name)
	if err != nil {
		return err
	}
	r.machine.mu.Lock()
	defer r.machine.mu.Unlock()
	if r.machine.closed {
		return errClosed
	}
	if err := work(r.machine); err != nil {
		return err
	}
	return after
}

// Pull implements runtime.ImageStore from the machine's registry.
func (r *Runtime) Pull(ctx context.Context, p runtime.PullRequest) (out runtime.Image, err error) {
	err = r.do(ctx, OpPull, p.Reference, func(m *Machine) error {
		im, ok := m.registry[p.Reference]
		if !ok {
			return fmt.Errorf("memruntime: image %s: no such image: %w", p.Reference, runtime.ErrImage)
		}
		if im.Username != "" && (p.Credentials == nil || p.Credentials.Username != im.Username || p.Credentials.Password != im.Password) {
			return fmt.Errorf("memruntime: image %s: credentials refused: %w", p.Reference, runtime.ErrImage)
		}
		m.pulled[im.Digest] = im
		out = runtime.Image{Digest: im.Digest, Bytes: im.Bytes, Ports: slices.Clone(im.Ports)}
		return nil
	})
	if err == nil && p.Progress != nil {
		p.Progress(out.Bytes, out.Bytes)
	}
	return out, err
}

// Start implements runtime.Runtime.
func (r *Runtime) Start(ctx context.Context, spec runtime.Spec) (out runtime.Container, err error) {
	if err := spec.Validate(); err != nil {
		return out, err
	}
	err = r.do(ctx, OpStart, spec.Name, func(m *Machine) error {
		c := m.containers[spec.Name]
		if c == nil {
			if c, err = m.start(spec); err != nil {
				return err
			}
			m.hub.Publish(spec.Name)
		}
		out = c.view()
		return nil
	})
	return out, err
}

// Stop implements runtime.Runtime.
func (r *Runtime) Stop(ctx context.Context, name string, grace time.Duration) error {
	var c *container
	err := r.do(ctx, OpStop, name, func(m *Machine) error {
		if c = m.containers[name]; c != nil {
			c.askStop()
		}
		return nil
	})
	if err != nil || c == nil {
		return err
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-c.done:
		return nil
	case <-t.C:
	case <-ctx.Done():
	}
	c.end(137)
	return nil
}

// end kills and records it.
func (c *container) end(code int) {
	c.machine.mu.Lock()
	c.finish(code, "")
	c.machine.mu.Unlock()
	c.kill()
	c.machine.hub.Publish(c.spec.Name)
}

// Remove implements runtime.Runtime.
func (r *Runtime) Remove(ctx context.Context, name string) error {
	return r.do(ctx, OpRemove, name, func(m *Machine) error {
		if c := m.containers[name]; c != nil {
			c.finish(137, "")
			c.kill()
			delete(m.containers, name)
			m.hub.Publish(name)
		}
		return nil
	})
}

// Inspect implements runtime.Runtime.
func (r *Runtime) Inspect(ctx context.Context, name string) (out runtime.Container, err error) {
	err = r.do(ctx, OpInspect, name, func(m *Machine) error {
		c := m.containers[name]
		if c == nil {
			return fmt.Errorf("memruntime: container %s: %w", name, runtime.ErrNotFound)
		}
		out = c.view()
		return nil
	})
	return out, err
}

// List implements runtime.Runtime.
func (r *Runtime) List(ctx context.Context) (out []runtime.Container, err error) {
	err = r.do(ctx, OpList, "", func(m *Machine) error {
		for _, name := range slices.Sorted(maps.Keys(m.containers)) {
			out = append(out, m.containers[name].view())
		}
		return nil
	})
	return out, err
}

// Watch implements runtime.Runtime.
func (r *Runtime) Watch(ctx context.Context) iter.Seq2[string, error] {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(r.ctx, cancel)
	names := r.machine.hub.Watch(ctx)
	return func(yield func(string, error) bool) {
		defer cancel()
		defer stop()
		if err := r.do(ctx, OpWatch, "", func(*Machine) error { return nil }); err != nil {
			if ctx.Err() == nil {
				yield("", err)
			}
			return
		}
		names(yield)
	}
}

// Logs implements runtime.Streams.
func (r *Runtime) Logs(ctx context.Context, name string, o runtime.LogOptions) iter.Seq2[runtime.LogLine, error] {
	return func(yield func(runtime.LogLine, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(r.ctx, cancel)()
		var book *logBook
		err := r.do(ctx, OpLogs, name, func(m *Machine) error {
			c := m.containers[name]
			if c == nil {
				return fmt.Errorf("memruntime: container %s: %w", name, runtime.ErrNotFound)
			}
			book = c.logs
			return nil
		})
		if err != nil {
			yield(runtime.LogLine{}, err)
			return
		}
		book.read(ctx, o, yield)
	}
}

// Exec implements runtime.Streams.
func (r *Runtime) Exec(ctx context.Context, name string, x runtime.Exec) (int, error) {
	var c *container
	err := r.do(ctx, OpExec, name, func(m *Machine) error {
		if c = m.containers[name]; c == nil {
			return fmt.Errorf("memruntime: container %s: %w", name, runtime.ErrNotFound)
		}
		if len(x.Command) == 0 {
			return fmt.Errorf("memruntime: exec in %s: %w: no command", name, runtime.ErrInvalid)
		}
		if c.state != runtime.Running {
			return fmt.Errorf("memruntime: exec in %s: %w", name, runtime.ErrNotRunning)
		}
		return nil
	})
	if err != nil {
		return -1, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)()
	code := c.exec(ctx, x)
	if err := ctx.Err(); err != nil {
		return -1, err
	}
	return code, nil
}

// Close implements runtime.Runtime.
func (r *Runtime) Close() error {
	r.cancel()
	return nil
}

// EnsureNetwork implements runtime.Networker.
func (r *Runtime) EnsureNetwork(ctx context.Context, name string) (out runtime.Network, err error) {
	if err := runtime.CheckName(name); err != nil {
		return out, err
	}
	err = r.do(ctx, OpEnsureNetwork, name, func(m *Machine) error {
		n, err := m.ensureNetwork(name)
		if err == nil {
			out = runtime.Network{Name: n.name, Prefix: n.prefix, Gateway: n.gateway}
		}
		return err
	})
	return out, err
}

// DeleteNetwork implements runtime.Networker.
func (r *Runtime) DeleteNetwork(ctx context.Context, name string) error {
	return r.do(ctx, OpDeleteNetwork, name, func(m *Machine) error {
		for _, c := range m.containers {
			if c.spec.Network == name {
				return fmt.Errorf("memruntime: network %s: container %s is on it", name, c.spec.Name)
			}
		}
		delete(m.networks, name)
		return nil
	})
}

// SetHosts implements runtime.Networker.
func (r *Runtime) SetHosts(ctx context.Context, name string, hosts map[string][]netip.Addr) error {
	return r.do(ctx, OpSetHosts, name, func(m *Machine) error {
		n := m.networks[name]
		if n == nil {
			return fmt.Errorf("memruntime: network %s: %w", name, runtime.ErrNotFound)
		}
		n.hosts = make(map[string][]netip.Addr, len(hosts))
		for host, addrs := range hosts {
			n.hosts[host] = slices.SortedFunc(slices.Values(addrs), netip.Addr.Compare)
		}
		return nil
	})
}

// Surroundings implements runtime.PolicyEnforcer: there is nothing around.
func (r *Runtime) Surroundings() netpolicy.Surroundings { return netpolicy.Surroundings{} }

// SetPolicy implements runtime.PolicyEnforcer.
func (r *Runtime) SetPolicy(ctx context.Context, name string, p *netpolicy.Policy) error {
	return r.do(ctx, OpSetPolicy, name, func(m *Machine) error {
		n := m.networks[name]
		if n == nil {
			return fmt.Errorf("memruntime: network %s: %w", name, runtime.ErrNotFound)
		}
		n.policy = p
		return nil
	})
}

// RemoveVolume implements runtime.VolumeRemover.
func (r *Runtime) RemoveVolume(ctx context.Context, name string) error {
	return r.do(ctx, OpRemoveVolume, name, func(m *Machine) error {
		delete(m.volumes, name)
		return nil
	})
}

// Volumes implements runtime.VolumeRemover.
func (r *Runtime) Volumes(ctx context.Context) (out []string, err error) {
	err = r.do(ctx, OpVolumes, "", func(m *Machine) error {
		out = slices.Sorted(maps.Keys(m.volumes))
		return nil
	})
	return out, err
}
