//go:build linux && cgo

package shim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/specconv"
	"golang.org/x/sys/unix"

	"github.com/moorage-dev/moorage/cluster/runtime/runc/internal/linelog"
	"github.com/moorage-dev/moorage/cluster/runtime/runc/internal/plan"
)

// drainTime is how long output may still come after the container's end.
const drainTime = 5 * time.Second

// keeper keeps one container.
type keeper struct {
	dir       string
	plan      plan.Plan
	stage     *stage
	logs      *linelog.Writer
	container *libcontainer.Container
	process   *libcontainer.Process
	running   plan.Running
	pumps     sync.WaitGroup
	ended     chan struct{} // closed when exit is recorded

	mu      sync.Mutex
	stopped bool // asked to end
	full    bool // over its disk limit
}

// run is the life of the shim of the container in dir.
func run(dir string) error {
	start := os.NewFile(startPipe, "start")
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGPIPE)
	k := &keeper{dir: dir, ended: make(chan struct{})}
	lock, err := takeLock(dir)
	if err == nil {
		defer func() { _ = lock.Close() }()
		err = k.start()
	}
	if err != nil {
		return errors.Join(tell(start, plan.Started{Error: err.Error(), Invalid: blamesSpec(err)}), err)
	}
	server, err := k.listen()
	if err != nil {
		k.abandon()
		return errors.Join(tell(start, plan.Started{Error: err.Error()}), err)
	}
	if err := tell(start, plan.Started{Running: k.running}); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "the agent left during the start:", err)
	}
	return k.keep(server)
}

func tell(start *os.File, s plan.Started) error {
	return errors.Join(json.NewEncoder(start).Encode(s), start.Close())
}

// takeLock marks the shim as alive for as long as it is.
func takeLock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, plan.LockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		return nil, errors.Join(fmt.Errorf("another shim keeps %s: %w", dir, err), f.Close())
	}
	_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
	return f, err
}

// blamesSpec tells a spec that can never run from a machine that cannot now.
func blamesSpec(err error) bool {
	for _, sign := range []string{"executable file not found", "exec: ", "no such file or directory: unknown", "unable to find user", "unable to find group", "chdir to cwd"} {
		if strings.Contains(err.Error(), sign) {
			return true
		}
	}
	return false
}

// start makes and starts the container; after an error nothing of it is left.
func (k *keeper) start() (err error) {
	if err := plan.Read(k.dir, plan.PlanFile, &k.plan); err != nil {
		return err
	}
	if k.plan.Protocol != plan.Protocol {
		return fmt.Errorf("the agent speaks protocol %d, this shim %d: install both of one version", k.plan.Protocol, plan.Protocol)
	}
	leaveCgroup(k.plan.ShimCgroup)
	if k.stage, err = prepareStage(k.dir, k.plan.IDs); err != nil {
		return err
	}
	defer k.stage.close()
	if k.logs, err = linelog.NewWriter(filepath.Join(k.dir, plan.LogDir), k.plan.LogBytes); err != nil {
		return err
	}
	if err := k.prepare(); err != nil {
		return err
	}
	if err := k.create(); err != nil {
		k.abandon()
		return err
	}
	return nil
}

// prepare completes the configuration with what only the shim's mounts know.
func (k *keeper) prepare() error {
	oci := k.plan.OCI
	root, err := k.stage.root(k.dir, k.plan.Layers, k.hostRoot())
	if err != nil {
		return err
	}
	oci.Root.Path = root
	if err := setUser(oci.Process, root, k.plan.User); err != nil {
		return err
	}
	return k.addVolumes()
}

func (k *keeper) create() error {
	config, err := specconv.CreateLibcontainerConfig(&specconv.CreateOpts{CgroupName: k.plan.Name, Spec: k.plan.OCI})
	if err != nil {
		return err
	}
	if k.container, err = libcontainer.Create(filepath.Join(k.dir, plan.StateDir), k.plan.Name, config); err != nil {
		return err
	}
	k.process = newProcess(k.plan.OCI.Process, true)
	closeWriters, err := k.attachOutput()
	if err != nil {
		return err
	}
	err = k.container.Start(k.process)
	closeWriters()
	if err != nil {
		k.process = nil
		return err
	}
	if err := k.connect(); err != nil {
		return err
	}
	if err := k.container.Exec(); err != nil {
		return err
	}
	k.running.StartedAt = time.Now()
	return plan.Write(k.dir, plan.RunningFile, k.running)
}

func (k *keeper) connect() (err error) {
	if k.running.PID, err = k.process.Pid(); err != nil {
		return err
	}
	if k.plan.Network == nil {
		return nil
	}
	return wire(k.running.PID, *k.plan.Network)
}

// hostRoot is who the container's root is on the host.
func (k *keeper) hostRoot() int {
	if k.plan.IDs == nil {
		return 0
	}
	return int(k.plan.IDs.Base)
}

// attachOutput gives the process pipes and begins to read them.
func (k *keeper) attachOutput() (closeWriters func(), err error) {
	var writers []*os.File
	closeWriters = func() {
		for _, w := range writers {
			_ = w.Close()
		}
	}
	for _, stderr := range []bool{false, true} {
		r, w, err := os.Pipe()
		if err != nil {
			closeWriters()
			return nil, err
		}
		writers = append(writers, w)
		if err := w.Chown(k.hostRoot(), k.hostRoot()); err != nil {
			closeWriters()
			return nil, errors.Join(err, r.Close())
		}
		k.pumps.Go(func() {
			if err := k.logs.Pump(r, stderr); err != nil {
				_, _ = fmt.Fprintln(os.Stderr, "keep output:", err)
			}
			_ = r.Close()
		})
	}
	k.process.Stdout, k.process.Stderr = writers[0], writers[1]
	return closeWriters, nil
}

// abandon takes back a start that failed half way.
func (k *keeper) abandon() {
	if k.process != nil {
		_ = k.process.Signal(unix.SIGKILL)
		_, _ = k.process.Wait()
	}
	if k.container != nil {
		_ = k.container.Destroy()
	}
}

// keep waits for the container's end and records it.
func (k *keeper) keep(server *server) error {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { watchDisk(ctx, k.bounds(), k.overDisk) })
	wg.Go(func() { k.onTerm(ctx) })
	wg.Go(func() { server.serve(ctx) })
	state, err := k.process.Wait()
	code := -1
	if state != nil {
		code = exitCode(state)
	} else if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "wait for the container:", err)
	}
	exit := plan.Exit{Code: code, StartedAt: k.running.StartedAt, FinishedAt: time.Now()}
	k.drain()
	exit.Reason = k.reason(code)
	if err := k.container.Destroy(); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "clean up:", err)
	}
	err = plan.Write(k.dir, plan.ExitFile, exit)
	close(k.ended)
	cancel()
	server.close()
	wg.Wait()
	return err
}

// drain waits until all output is kept.
func (k *keeper) drain() {
	done := make(chan struct{})
	go func() {
		k.pumps.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(drainTime):
	}
	_ = k.logs.Close()
}

// onTerm passes the machine's shutdown on to the container.
func (k *keeper) onTerm(ctx context.Context) {
	term := make(chan os.Signal, 1)
	signal.Notify(term, unix.SIGTERM)
	defer signal.Stop(term)
	select {
	case <-ctx.Done():
	case <-term:
		k.stop(ctx, drainTime)
	}
}

func (k *keeper) bounds() []bounded {
	var out []bounded
	if k.plan.DiskBytes > 0 {
		out = append(out, bounded{filepath.Join(k.dir, plan.UpperDir), k.plan.DiskBytes})
	}
	for _, v := range k.plan.Volumes {
		if v.Bytes > 0 {
			out = append(out, bounded{v.Source, v.Bytes})
		}
	}
	return out
}

func (k *keeper) overDisk() {
	k.mu.Lock()
	k.full = true
	k.mu.Unlock()
	_ = k.container.Signal(unix.SIGKILL)
}

// stop asks the container to end and kills it after the grace time.
func (k *keeper) stop(ctx context.Context, grace time.Duration) {
	k.mu.Lock()
	k.stopped = true
	k.mu.Unlock()
	if grace > 0 {
		_ = k.container.Signal(unix.Signal(k.plan.StopSignal))
		select {
		case <-k.ended:
			return
		case <-ctx.Done():
		case <-time.After(grace):
		}
	}
	_ = k.container.Signal(unix.SIGKILL)
	<-k.ended
}

func (k *keeper) reason(code int) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.full:
		return "disk limit exceeded"
	case code != 0 && k.outOfMemory():
		return "out of memory"
	case k.stopped:
		return "stopped"
	}
	return ""
}

func exitCode(state *os.ProcessState) int {
	const signalled = 128
	if ws, ok := state.Sys().(interface {
		Signaled() bool
		Signal() unix.Signal
	}); ok && ws.Signaled() {
		return signalled + int(ws.Signal())
	}
	return state.ExitCode()
}
