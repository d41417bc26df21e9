package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/internal/hosts"
)

const (
	hostsFile  = "hosts"
	reasonFile = "reason" // why we ended it, if we did
	// logFiles is how many files share the bound of kept logs.
	logFiles = 4
	// oomAdjust makes the kernel take a container's process before the agent.
	oomAdjust = 100
	// retryTime is the pause after the engine's event stream broke.
	retryTime = time.Second
	// cleanTime bounds taking back a start that failed.
	cleanTime = 30 * time.Second
)

// capabilities are the usual few, as in package runc.
func capabilities() []string {
	return []string{
		"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "AUDIT_WRITE",
	}
}

// Start implements runtime.Runtime.
func (r *Runtime) Start(ctx context.Context, spec runtime.Spec) (runtime.Container, error) {
	if err := spec.Validate(); err != nil {
		return runtime.Container{}, err
	}
	ctx, done, err := r.begin(ctx)
	if err != nil {
		return runtime.Container{}, err
	}
	defer done()
	unlock, err := r.locks.Lock(ctx, spec.Name)
	if err != nil {
		return runtime.Container{}, err
	}
	defer unlock()
	c, err := r.inspect(ctx, spec.Name)
	if err == nil && c.State != runtime.Created {
		return c, nil
	}
	if err != nil && !errors.Is(err, runtime.ErrNotFound) {
		return runtime.Container{}, err
	}
	if err := r.start(ctx, spec); err != nil {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
		defer cancel()
		return runtime.Container{}, errors.Join(err, r.remove(clean, spec.Name))
	}
	return r.inspect(ctx, spec.Name)
}

// start makes the container, unless a start before was interrupted after that,
// and starts it.
func (r *Runtime) start(ctx context.Context, spec runtime.Spec) error {
	unlock, err := r.locks.Lock(ctx, networkKey(spec.Network))
	if err != nil {
		return err
	}
	defer unlock()
	if err := r.checkNetwork(ctx, spec.Network); err != nil {
		return err
	}
	if err := r.makeVolumes(ctx, spec); err != nil {
		return err
	}
	if err := r.writeHosts(spec.Name, hostname(spec), netip.Addr{}, spec.Network); err != nil {
		return fmt.Errorf("docker: %w", err)
	}
	_, err = r.engine.ContainerCreate(ctx, client.ContainerCreateOptions{
		Name: r.full(spec.Name), Config: r.config(spec), HostConfig: r.hostConfig(spec), NetworkingConfig: r.networking(spec),
	})
	if err != nil && !errdefs.IsConflict(err) {
		return startError(ctx, spec.Name, err)
	}
	if _, err := r.engine.ContainerStart(ctx, r.full(spec.Name), client.ContainerStartOptions{}); err != nil {
		return startError(ctx, spec.Name, err)
	}
	c, err := r.inspect(ctx, spec.Name)
	if err != nil {
		return err
	}
	return r.writeHosts(spec.Name, hostname(spec), c.Address, spec.Network)
}

// startError sorts what engines say of a start.
func startError(ctx context.Context, name string, err error) error {
	text := err.Error()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case strings.Contains(text, "No such image") || strings.Contains(text, "no such image"):
		return fmt.Errorf("docker: start %s: the image is not on this machine, pull it first: %w", name, runtime.ErrImage)
	case errdefs.IsInvalidArgument(err) || strings.Contains(text, "executable file not found") ||
		strings.Contains(text, "no such file or directory") || strings.Contains(text, "permission denied: unknown"):
		return fmt.Errorf("docker: start %s: %s: %w", name, text, runtime.ErrInvalid)
	}
	return fmt.Errorf("docker: start %s: %w", name, err)
}

func hostname(s runtime.Spec) string {
	if s.Hostname != "" {
		return s.Hostname
	}
	return s.Name
}

func (r *Runtime) config(s runtime.Spec) *container.Config {
	own, _ := json.Marshal(s.Labels) // a map of strings always can be
	c := &container.Config{
		Image: s.Image, Hostname: hostname(s), Env: s.Env,
		Labels: map[string]string{
			labelInstance: r.cfg.Instance, labelName: s.Name, labelNetwork: s.Network, labelOwn: string(own),
			labelDisk: strconv.FormatUint(s.Resources.DiskBytes, 10),
		},
	}
	if s.Entrypoint != nil {
		c.Entrypoint, c.Cmd = nonEmpty(s.Entrypoint), []string{}
	}
	if s.Args != nil {
		c.Cmd = s.Args
	}
	return c
}

// nonEmpty says "no entrypoint" as engines want it.
func nonEmpty(words []string) []string {
	if len(words) == 0 {
		return []string{""}
	}
	return words
}

func (r *Runtime) hostConfig(s runtime.Spec) *container.HostConfig {
	pids := s.Resources.PIDs
	if pids == 0 {
		pids = runtime.DefaultPIDs
	}
	logs := s.Resources.LogBytes
	if logs == 0 {
		logs = runtime.DefaultLogBytes
	}
	h := &container.HostConfig{
		CapDrop: []string{"ALL"}, CapAdd: capabilities(), SecurityOpt: []string{"no-new-privileges:true"},
		CgroupnsMode: container.CgroupnsModePrivate, IpcMode: container.IPCModePrivate, OomScoreAdj: oomAdjust,
		NetworkMode: "none", RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyDisabled},
		LogConfig: container.LogConfig{Type: "json-file", Config: r.logOptions(logs)},
		Resources: container.Resources{PidsLimit: &pids, NanoCPUs: int64(s.Resources.MilliCores) * 1_000_000},
		Mounts: []mount.Mount{{
			Type: mount.TypeBind, Source: filepath.Join(r.dir(s.Name), hostsFile), Target: "/etc/hosts", ReadOnly: true,
		}},
	}
	if s.Network != "" {
		h.NetworkMode = container.NetworkMode(r.full(s.Network))
	}
	if m := s.Resources.MemoryLimit(); m > 0 {
		h.Resources.Memory, h.Resources.MemorySwap = int64(m), int64(m)
	}
	for _, m := range s.Mounts {
		h.Mounts = append(h.Mounts, r.mount(m))
	}
	return h
}

// logOptions bound kept logs: Docker turns files over, Podman has one and begins it
// anew when it is full.
func (r *Runtime) logOptions(bound uint64) map[string]string {
	if r.podman {
		return map[string]string{"max-size": strconv.FormatUint(bound, 10)}
	}
	return map[string]string{"max-size": strconv.FormatUint(max(bound/logFiles, 1), 10), "max-file": strconv.Itoa(logFiles)}
}

func (r *Runtime) mount(m runtime.Mount) mount.Mount {
	if m.Tmpfs {
		return mount.Mount{
			Type: mount.TypeTmpfs, Target: m.Target, ReadOnly: m.ReadOnly,
			TmpfsOptions: &mount.TmpfsOptions{SizeBytes: int64(m.Bytes), Mode: os.ModeSticky | 0o777},
		}
	}
	return mount.Mount{Type: mount.TypeVolume, Source: r.full(m.Volume), Target: m.Target, ReadOnly: m.ReadOnly}
}

func (r *Runtime) networking(s runtime.Spec) *network.NetworkingConfig {
	if s.Network == "" {
		return nil
	}
	return &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{r.full(s.Network): {}}}
}

// Stop implements runtime.Runtime. Engines count grace in whole seconds.
func (r *Runtime) Stop(ctx context.Context, name string, grace time.Duration) error {
	ctx, done, err := r.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	unlock, err := r.locks.Lock(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	c, err := r.inspect(ctx, name)
	if errors.Is(err, runtime.ErrNotFound) || err == nil && c.State != runtime.Running {
		return nil
	}
	if err != nil {
		return err
	}
	if err := r.blame(name, "stopped"); err != nil {
		return err
	}
	seconds := int(min(math.Ceil(grace.Seconds()), math.MaxInt32))
	if _, err := r.engine.ContainerStop(ctx, r.full(name), client.ContainerStopOptions{Timeout: &seconds}); err != nil && !errdefs.IsNotFound(err) {
		return fail(ctx, "stop", name, err)
	}
	return nil
}

// blame writes down why a container is about to be ended.
func (r *Runtime) blame(name, reason string) error {
	if err := os.WriteFile(filepath.Join(r.dir(name), reasonFile), []byte(reason), 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("docker: %w", err)
	}
	return nil
}

// Remove implements runtime.Runtime.
func (r *Runtime) Remove(ctx context.Context, name string) error {
	if runtime.CheckName(name) != nil {
		return nil
	}
	ctx, done, err := r.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	unlock, err := r.locks.Lock(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	return r.remove(ctx, name)
}

func (r *Runtime) remove(ctx context.Context, name string) error {
	_, err := r.engine.ContainerRemove(ctx, r.full(name), client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	if err != nil && !errdefs.IsNotFound(err) {
		return fail(ctx, "remove", name, err)
	}
	if err := os.RemoveAll(r.dir(name)); err != nil {
		return fmt.Errorf("docker: %w", err)
	}
	return nil
}

// Inspect implements runtime.Runtime.
func (r *Runtime) Inspect(ctx context.Context, name string) (runtime.Container, error) {
	ctx, done, err := r.begin(ctx)
	if err != nil {
		return runtime.Container{}, err
	}
	defer done()
	return r.inspect(ctx, name)
}

func (r *Runtime) inspect(ctx context.Context, name string) (runtime.Container, error) {
	if runtime.CheckName(name) != nil {
		return runtime.Container{}, notFound("container", name)
	}
	got, err := r.engine.ContainerInspect(ctx, r.full(name), client.ContainerInspectOptions{})
	if errdefs.IsNotFound(err) {
		return runtime.Container{}, notFound("container", name)
	}
	if err != nil {
		return runtime.Container{}, fail(ctx, "inspect", name, err)
	}
	if got.Container.Config == nil || got.Container.State == nil || got.Container.Config.Labels[labelInstance] != r.cfg.Instance {
		return runtime.Container{}, notFound("container", name)
	}
	return r.view(name, got.Container), nil
}

func (r *Runtime) view(name string, in container.InspectResponse) runtime.Container {
	labels := in.Config.Labels
	c := runtime.Container{Name: name, Image: in.Image, Network: labels[labelNetwork], State: runtime.Running, PID: in.State.Pid}
	_ = json.Unmarshal([]byte(labels[labelOwn]), &c.Labels)
	c.StartedAt, _ = time.Parse(time.RFC3339Nano, in.State.StartedAt)
	switch in.State.Status {
	case container.StateRunning, container.StatePaused, container.StateRestarting:
	case container.StateCreated:
		c.State, c.PID = runtime.Created, 0
	case container.StateExited, container.StateDead, container.StateRemoving:
		c.State, c.PID, c.ExitCode = runtime.Exited, 0, in.State.ExitCode
		c.FinishedAt, _ = time.Parse(time.RFC3339Nano, in.State.FinishedAt)
		c.Reason = r.reason(name, in.State)
	}
	if in.NetworkSettings != nil && c.Network != "" {
		if e := in.NetworkSettings.Networks[r.full(c.Network)]; e != nil {
			c.Address = e.IPAddress
		}
	}
	return c
}

func (r *Runtime) reason(name string, s *container.State) string {
	if s.OOMKilled {
		return "out of memory"
	}
	why, err := os.ReadFile(filepath.Join(r.dir(name), reasonFile))
	if err != nil {
		return ""
	}
	return string(why)
}

// List implements runtime.Runtime.
func (r *Runtime) List(ctx context.Context) ([]runtime.Container, error) {
	ctx, done, err := r.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	names, err := r.names(ctx)
	if err != nil {
		return nil, err
	}
	var out []runtime.Container
	for _, name := range names {
		c, err := r.inspect(ctx, name)
		if errors.Is(err, runtime.ErrNotFound) {
			continue // removed since listed
		}
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// names are those of all our containers, sorted.
func (r *Runtime) names(ctx context.Context) ([]string, error) {
	list, err := r.engine.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: r.ours()})
	if err != nil {
		return nil, fail(ctx, "list", "containers", err)
	}
	names := map[string]bool{}
	for _, c := range list.Items {
		if name := c.Labels[labelName]; runtime.CheckName(name) == nil {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// Watch implements runtime.Runtime by the engine's events. It misses none between
// the call and the first iteration, nor while the engine restarts: events are
// asked for since a time.
func (r *Runtime) Watch(ctx context.Context) iter.Seq2[string, error] {
	since := time.Now()
	return func(yield func(string, error) bool) {
		ctx, done, err := r.begin(ctx)
		if err != nil {
			if ctx != nil && ctx.Err() == nil {
				yield("", err)
			}
			return
		}
		defer done()
		for ctx.Err() == nil {
			if !r.events(ctx, &since, yield) {
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(retryTime):
			}
		}
	}
}

// events yields until the stream breaks (true) or the consumer has enough.
func (r *Runtime) events(ctx context.Context, since *time.Time, yield func(string, error) bool) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream := r.engine.Events(ctx, client.EventsListOptions{
		Since:   fmt.Sprintf("%d.%09d", since.Unix(), since.Nanosecond()),
		Filters: r.ours().Add("type", "container"),
	})
	for {
		select {
		case m := <-stream.Messages:
			if m.TimeNano > 0 {
				*since = time.Unix(0, m.TimeNano)
			}
			if name := m.Actor.Attributes[labelName]; name != "" && !yield(name, nil) {
				return false
			}
		case err := <-stream.Err:
			if ctx.Err() == nil {
				r.log.Debug("the engine's events broke off", "error", err)
			}
			return true
		}
	}
}

// writeHosts writes the file that the container sees as /etc/hosts, in place if
// it is there.
func (r *Runtime) writeHosts(name, hostname string, self netip.Addr, network string) error {
	path := filepath.Join(r.dir(name), hostsFile)
	names, err := r.readNames(network)
	if err != nil {
		return err
	}
	content := hosts.Render(hostname, self, names)
	if err := hosts.Rewrite(path, content); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(r.dir(name), 0o711); err != nil {
		return err
	}
	return hosts.Write(path, content)
}
