//go:build cgo

package runc

import (
	"context"
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

	"golang.org/x/sys/unix"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/runc/internal/fabric"
	"github.com/moorage-dev/moorage/cluster/runtime/runc/internal/plan"
)

// lostReason is given for a container that ended with nobody to see how.
const lostReason = "lost: its shim ended, perhaps the machine restarted"

// saved is what the agent keeps of a container: plan.SpecFile.
type saved struct {
	Spec    runtime.Spec
	Address netip.Addr
	// Address6 goes with Address; invalid without IPv6.
	Address6 netip.Addr
	Veth     string
	IDBase   uint32
}

func (r *Runtime) containerDir(name string) string {
	return filepath.Join(r.cfg.Dir, "containers", name)
}

// shimAlive reports whether the folder's shim holds its lock. It asks without
// taking the lock, which would be in the way of a shim that just starts.
func shimAlive(dir string) bool {
	f, err := os.Open(filepath.Join(dir, plan.LockFile))
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	held := unix.Flock_t{Type: unix.F_RDLCK}
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &held) == nil && held.Type != unix.F_UNLCK
}

// load reads what is to be known of a container, or ErrNotFound.
func (r *Runtime) load(name string) (runtime.Container, saved, error) {
	dir := r.containerDir(name)
	var s saved
	if runtime.CheckName(name) != nil {
		return runtime.Container{}, s, notFound("container", name)
	}
	if err := plan.Read(dir, plan.SpecFile, &s); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = notFound("container", name)
		}
		return runtime.Container{}, s, err
	}
	c := runtime.Container{
		Name: name, Labels: s.Spec.Labels, Image: s.Spec.Image, State: runtime.Created,
		Address: s.Address, Address6: s.Address6, Network: s.Spec.Network,
	}
	alive := shimAlive(dir) // before the files: it writes them while alive
	var running plan.Running
	if plan.Read(dir, plan.RunningFile, &running) == nil {
		c.State, c.PID, c.StartedAt = runtime.Running, running.PID, running.StartedAt
	}
	var exit plan.Exit
	if plan.Read(dir, plan.ExitFile, &exit) == nil {
		c.State, c.PID, c.ExitCode, c.Reason = runtime.Exited, 0, exit.Code, exit.Reason
		c.StartedAt, c.FinishedAt = exit.StartedAt, exit.FinishedAt
	} else if c.State == runtime.Running && !alive {
		c.State, c.PID, c.ExitCode, c.Reason = runtime.Exited, 0, -1, lostReason
	}
	return c, s, nil
}

func notFound(what, name string) error {
	return fmt.Errorf("runc: %s %.80q: %w", what, name, runtime.ErrNotFound)
}

// Inspect implements runtime.Runtime.
func (r *Runtime) Inspect(ctx context.Context, name string) (runtime.Container, error) {
	if err := errors.Join(r.closed(), ctx.Err()); err != nil {
		return runtime.Container{}, err
	}
	c, _, err := r.load(name)
	return c, err
}

// List implements runtime.Runtime.
func (r *Runtime) List(ctx context.Context) ([]runtime.Container, error) {
	if err := errors.Join(r.closed(), ctx.Err()); err != nil {
		return nil, err
	}
	names, err := r.folders("containers")
	if err != nil {
		return nil, err
	}
	var out []runtime.Container
	for _, name := range names {
		c, _, err := r.load(name)
		if errors.Is(err, runtime.ErrNotFound) {
			continue // removed since listed, or not begun
		}
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// folders lists a folder of the state directory, sorted.
func (r *Runtime) folders(kind string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(r.cfg.Dir, kind))
	if err != nil {
		return nil, fmt.Errorf("runc: %w", err)
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() && runtime.CheckName(e.Name()) == nil {
			out = append(out, e.Name())
		}
	}
	slices.Sort(out)
	return out, nil
}

// recover takes over what an earlier process left.
func (r *Runtime) recover() error {
	if err := r.loadNetworks(); err != nil {
		return err
	}
	names, err := r.folders("containers")
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := r.recoverContainer(name); err != nil {
			return fmt.Errorf("runc: container %s of an earlier run: %w", name, err)
		}
	}
	return r.recoverNetworks()
}

func (r *Runtime) recoverContainer(name string) error {
	c, s, err := r.load(name)
	if err != nil || c.State == runtime.Created {
		r.log.Info("removing a container whose start was interrupted", "name", name)
		return r.clear(context.Background(), name, s)
	}
	r.claim(name, s)
	if c.State == runtime.Exited {
		return r.bury(name, c)
	}
	r.watch(name)
	return nil
}

// bury makes sure that a container that has ended left no process behind, and
// writes down the end of one that nobody saw.
func (r *Runtime) bury(name string, c runtime.Container) error {
	if c.Reason != lostReason {
		return nil
	}
	if err := killCgroup(r.cgroup(name)); err != nil {
		return err
	}
	return plan.Write(r.containerDir(name), plan.ExitFile, plan.Exit{
		Code: c.ExitCode, Reason: c.Reason, StartedAt: c.StartedAt, FinishedAt: now(),
	})
}

// claim notes addresses and IDs as used.
func (r *Runtime) claim(name string, s saved) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := r.networks[s.Spec.Network]; n != nil {
		n.users[s.Address] = user{name, s.Spec.Service}
	}
	if s.IDBase != 0 {
		r.slots[s.IDBase] = name
	}
}

func (r *Runtime) release(name string, s saved) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := r.networks[s.Spec.Network]; n != nil && n.users[s.Address].container == name {
		delete(n.users, s.Address)
	}
	if r.slots[s.IDBase] == name {
		delete(r.slots, s.IDBase)
	}
}

// clear removes all of a container, killing what runs.
func (r *Runtime) clear(ctx context.Context, name string, s saved) error {
	dir := r.containerDir(name)
	if err := r.kill(ctx, name); err != nil {
		return err
	}
	if s.Veth != "" {
		if err := fabric.DeleteVeth(s.Veth); err != nil {
			return err
		}
	}
	r.release(name, s)
	// The specification goes first: without it the container is no more, whatever
	// happens to the rest.
	if err := os.Remove(filepath.Join(dir, plan.SpecFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(dir)
}

// kill ends a container by its shim, or by its cgroup if it has none.
func (r *Runtime) kill(ctx context.Context, name string) error {
	dir := r.containerDir(name)
	for deadline := now().Add(shimExitTime); shimAlive(dir); {
		// A shim that is about to start has no socket yet: ask again.
		if err := ask(ctx, dir, plan.Request{Op: plan.OpKill}); ctx.Err() != nil {
			return ctx.Err()
		} else if err != nil && !errors.Is(err, errShimGone) {
			return err
		}
		if now().After(deadline) {
			killShim(dir)
		}
		time.Sleep(killStep)
	}
	return killCgroup(r.cgroup(name))
}

// killShim kills a shim that does not answer. As it holds its lock, the process
// ID in it is its own and nobody else's.
func killShim(dir string) {
	data, err := os.ReadFile(filepath.Join(dir, plan.LockFile))
	if err != nil {
		return
	}
	if pid, err := strconv.Atoi(strings.TrimSpace(string(data))); err == nil && pid > 1 && shimAlive(dir) {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}

// nextSlot takes a range of host IDs, 0 if containers have none.
func (r *Runtime) nextSlot(name string) (uint32, error) {
	if !r.ids {
		return 0, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	first := instanceSlot(r.instance)
	for i := range uint32(MaxIDSlots) {
		base := r.cfg.IDBase + (first+i)%MaxIDSlots*IDsPerContainer
		if _, used := r.slots[base]; !used {
			r.slots[base] = name
			return base, nil
		}
	}
	return 0, fmt.Errorf("runc: all %d ranges of user IDs are in use", MaxIDSlots)
}

// instanceSlot spreads instances over the ranges, so that two on one machine
// rarely give out the same IDs.
func instanceSlot(instance string) uint32 {
	var n uint32
	for _, c := range []byte(instance) {
		n = n*31 + uint32(c)
	}
	return n % MaxIDSlots
}
