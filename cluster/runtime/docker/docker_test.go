//go:build linux

package docker_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/docker"
	"github.com/moorage-dev/moorage/cluster/runtime/runtimetest"
)

const (
	// engineTime bounds the start of the engine.
	engineTime = 30 * time.Second
)

// engine is a Docker engine of the tests' own, with the registry, in a network
// namespace so that its firewall rules stay there.
type engine struct {
	dir, socket, reference, private string
	registry                        *runtimetest.Registry
	process                         *exec.Cmd
	cgroups                         []string // that the engine makes and leaves
	err                             error
	skip                            string
}

var shared = sync.OnceValue(func() *engine {
	e := &engine{}
	e.err = e.start(context.Background())
	return e
})

func TestMain(m *testing.M) {
	// The engine's containers must be reached from here, so the tests run in the
	// engine's network namespace as well: as a process of it.
	if os.Geteuid() == 0 && os.Getenv("MOORAGE_TEST_NETNS") == "" {
		if _, err := exec.LookPath("dockerd"); err == nil {
			os.Exit(inNamespace())
		}
	}
	code := m.Run()
	shared().stop()
	os.Exit(code)
}

// inNamespace runs the tests again in a network namespace of their own.
func inNamespace() int {
	script := "ip link set lo up && sysctl -qw net.ipv4.ip_forward=1; exec \"$@\""
	cmd := exec.Command("unshare", append([]string{"--net", "sh", "-c", script, "sh", os.Args[0]}, os.Args[1:]...)...)
	cmd.Env = append(os.Environ(), "MOORAGE_TEST_NETNS=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		if cmd.ProcessState == nil {
			fmt.Fprintln(os.Stderr, "network namespace:", err)
		}
		return max(cmd.ProcessState.ExitCode(), 1)
	}
	return 0
}

func (e *engine) start(ctx context.Context) (err error) {
	if os.Geteuid() != 0 {
		e.skip = "a Docker engine of the tests' own needs root"
		return nil
	}
	if _, err := exec.LookPath("dockerd"); err != nil {
		e.skip = "no dockerd on this machine (package docker.io)"
		return nil
	}
	if e.dir, err = os.MkdirTemp("", "moorage-docker-test-"); err != nil {
		return err
	}
	if err := os.Chmod(e.dir, 0o711); err != nil {
		return err
	}
	e.socket = filepath.Join(e.dir, "docker.sock")
	log, err := os.Create(filepath.Join(e.dir, "dockerd.log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	e.watchCgroups()
	if e.registry, err = runtimetest.NewRegistry(); err != nil {
		return err
	}
	e.process, err = e.command()
	if err != nil {
		return err
	}
	e.process.Stdout, e.process.Stderr = log, log
	e.process.Dir = e.dir // helpers of Podman leave files where they are started
	e.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := e.process.Start(); err != nil {
		return err
	}
	if err := e.await(); err != nil {
		text, _ := os.ReadFile(log.Name())
		return fmt.Errorf("%w: %s", err, text[max(0, len(text)-2000):])
	}
	return e.stock(ctx)
}

// command is the engine: Docker, or Podman if MOORAGE_TEST_ENGINE says so.
func (e *engine) command() (*exec.Cmd, error) {
	if os.Getenv("MOORAGE_TEST_ENGINE") != "podman" {
		return exec.Command("dockerd", "--data-root", filepath.Join(e.dir, "data"), "--exec-root", filepath.Join(e.dir, "exec"),
			"-p", filepath.Join(e.dir, "pid"), "-H", "unix://"+e.socket), nil
	}
	conf := filepath.Join(e.dir, "containers.conf")
	text := "[engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n" +
		"[containers]\ndefault_ulimits = [\"nofile=20000:20000\", \"nproc=10000:10000\"]\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command("podman", "--root", filepath.Join(e.dir, "data"), "--runroot", filepath.Join(e.dir, "exec"),
		"--storage-driver", "overlay", "system", "service", "--time", "0", "unix://"+e.socket)
	plain := filepath.Join(e.dir, "registries.conf") // Podman asks loopback for TLS too
	text = fmt.Sprintf("[[registry]]\nlocation = %q\ninsecure = true\n[[registry]]\nlocation = %q\ninsecure = true\n", e.registry.Host, e.registry.PrivateHost)
	if err := os.WriteFile(plain, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cmd.Env = append(os.Environ(), "CONTAINERS_CONF="+conf, "CONTAINERS_REGISTRIES_CONF="+plain)
	return cmd, nil
}

// watchCgroups notes where the engine will leave an empty cgroup.
func (e *engine) watchCgroups() {
	tops, _ := filepath.Glob("/sys/fs/cgroup/*/cgroup.procs")
	for _, procs := range append(tops, "/sys/fs/cgroup/cgroup.procs") {
		for _, name := range []string{"docker", "libpod_parent"} {
			dir := filepath.Join(filepath.Dir(procs), name)
			if _, err := os.Stat(dir); err != nil {
				e.cgroups = append(e.cgroups, dir)
			}
		}
	}
}

// claims are what the engine can do; Podman 4 does not say that memory was short.
func (e *engine) claims() runtimetest.Ability {
	all := runtimetest.Reopening | runtimetest.Walls | runtimetest.Terminals | runtimetest.Credentials |
		runtimetest.Volumes | runtimetest.StdStreams
	if os.Getenv("MOORAGE_TEST_ENGINE") != "podman" {
		all |= runtimetest.MemoryLimits
	}
	return all
}

// await waits until the engine answers.
func (e *engine) await() error {
	for deadline := time.Now().Add(engineTime); ; {
		c, err := net.Dial("unix", e.socket)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("dockerd does not come up: %w", err)
		}
		<-time.After(50 * time.Millisecond)
	}
}

func (e *engine) stock(ctx context.Context) (err error) {
	im, err := runtimetest.GuestImage(ctx)
	if err != nil {
		return err
	}
	if e.reference, err = e.registry.Push(ctx, "guest:1", im); err != nil {
		return err
	}
	if e.private, err = e.registry.PushPrivate(ctx, "guest:1", im); err != nil {
		return err
	}
	path, err := layout.Write(filepath.Join(e.dir, "layout"), empty.Index)
	if err != nil {
		return err
	}
	return path.AppendImage(im)
}

func (e *engine) stop() {
	if e.process != nil && e.process.Process != nil {
		_ = e.process.Process.Signal(syscall.SIGTERM)
		_ = e.process.Wait()
	}
	if e.registry != nil {
		_ = e.registry.Close()
	}
	if e.dir != "" {
		e.sweep()
		_ = os.RemoveAll(e.dir)
	}
	for _, dir := range e.cgroups {
		removeSoon(filepath.Join(dir, "conmon"))
		removeSoon(dir)
	}
}

// removeSoon removes a cgroup whose last process is just ending.
func removeSoon(dir string) {
	for range 100 {
		if err := os.Remove(dir); err == nil || errors.Is(err, os.ErrNotExist) {
			return
		}
		<-time.After(20 * time.Millisecond)
	}
}

// sweep ends what Podman leaves behind for five minutes: a watcher of each command,
// helpers that these start, and a mount. All are known by our folder.
func (e *engine) sweep() {
	for range 100 {
		left := 0
		files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, f := range files {
			line, err := os.ReadFile(f)
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			if err == nil && pid > 1 && pid != os.Getpid() && strings.Contains(string(line), e.dir+"/") {
				_ = syscall.Kill(pid, syscall.SIGKILL)
				left++
			}
		}
		if left == 0 {
			break
		}
		<-time.After(20 * time.Millisecond)
	}
	_ = syscall.Unmount(filepath.Join(e.dir, "data", "overlay"), syscall.MNT_DETACH)
}

func needEngine(t *testing.T) *engine {
	t.Helper()
	e := shared()
	if e.skip != "" {
		t.Skip(e.skip)
	}
	require.NoError(t, e.err)
	return e
}

func open(t *testing.T, e *engine, dir string) *docker.Runtime {
	t.Helper()
	r, err := docker.New(docker.Config{Socket: e.socket, Dir: dir, LayoutRoots: []string{e.dir}})
	require.NoError(t, err)
	t.Cleanup(func() {
		if err := r.Purge(context.Background()); err != nil && !strings.Contains(err.Error(), "closed") {
			t.Error(err)
		}
		_ = r.Close()
	})
	return r
}

func TestConformance(t *testing.T) {
	e := needEngine(t)
	dirs := map[runtime.Runtime]string{}
	open := func(dir string) (runtime.Runtime, error) {
		r, err := docker.New(docker.Config{Socket: e.socket, Dir: dir})
		if err != nil {
			return nil, err
		}
		dirs[r] = dir
		t.Cleanup(func() { _ = r.Close() })
		return r, nil
	}
	runtimetest.Run(t, runtimetest.Harness{
		New: func(context.Context) (runtime.Runtime, error) { return open(t.TempDir()) },
		Reopen: func(_ context.Context, old runtime.Runtime) (runtime.Runtime, error) {
			if err := old.Close(); err != nil {
				return nil, err
			}
			return open(dirs[old])
		},
		Image: e.reference, Private: e.private,
		Credentials: runtime.Credentials{Host: e.registry.PrivateHost, Username: e.registry.Username, Password: e.registry.Password},
		Claims:      e.claims(),
	})
}

func TestAnImageLayoutIsLoadedIntoTheEngine(t *testing.T) {
	e := needEngine(t)
	r := open(t, e, t.TempDir())
	im, err := r.Pull(t.Context(), runtime.PullRequest{Reference: "oci:" + filepath.Join(e.dir, "layout")})
	require.NoError(t, err)
	assert.Equal(t, []uint16{80}, im.Ports)
	c, err := r.Start(t.Context(), runtime.Spec{Name: "a", Image: im.Digest, Args: []string{"exit", "5"}})
	require.NoError(t, err)
	assert.Equal(t, im.Digest, c.Image)
	_, err = r.Pull(t.Context(), runtime.PullRequest{Reference: "oci:/etc"})
	require.ErrorIs(t, err, runtime.ErrImage)
}

func TestContainersAreConfinedAsFarAsTheEngineGoes(t *testing.T) {
	e := needEngine(t)
	r := open(t, e, t.TempDir())
	im, err := r.Pull(t.Context(), runtime.PullRequest{Reference: e.reference})
	require.NoError(t, err)
	c, err := r.Start(t.Context(), runtime.Spec{
		Name: "a", Image: im.Digest, Resources: runtime.Resources{MilliCores: 500, MemoryBytes: 64 << 20, PIDs: 50},
	})
	require.NoError(t, err)
	status, err := os.ReadFile("/proc/" + strconv.Itoa(c.PID) + "/status")
	require.NoError(t, err)
	for _, want := range []string{"Seccomp:\t2", "NoNewPrivs:\t1", "CapEff:\t00000000200405fb", "CapBnd:\t00000000200405fb"} {
		assert.Contains(t, string(status), want+"\n")
	}
}

func TestTwoInstancesOnOneEngineDoNotSeeEachOther(t *testing.T) {
	e := needEngine(t)
	one, two := open(t, e, t.TempDir()), open(t, e, t.TempDir())
	im, err := one.Pull(t.Context(), runtime.PullRequest{Reference: e.reference})
	require.NoError(t, err)
	_, err = one.Start(t.Context(), runtime.Spec{Name: "a", Image: im.Digest})
	require.NoError(t, err)
	list, err := two.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, list)
	_, err = two.Inspect(t.Context(), "a")
	require.ErrorIs(t, err, runtime.ErrNotFound)
	require.NoError(t, two.Purge(t.Context()))
	_, err = one.Inspect(t.Context(), "a")
	require.NoError(t, err)
}

func TestWithoutAnEngineTheErrorSaysWhatToDo(t *testing.T) {
	_, err := docker.New(docker.Config{Socket: filepath.Join(t.TempDir(), "absent.sock"), Dir: t.TempDir()})
	require.ErrorIs(t, err, runtime.ErrUnsupported)
	assert.ErrorContains(t, err, "start Docker")
	require.False(t, errors.Is(err, runtime.ErrNotFound))
}
