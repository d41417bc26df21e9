package docker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/client"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/internal/keylock"
)

const (
	// DefaultPool is where networks get their /24 from.
	DefaultPool = "10.204.0.0/14"
	// pingTime bounds finding out whether an engine answers.
	pingTime = 5 * time.Second
	// DiskInterval is the pause between two looks at writable layers.
	DiskInterval = 10 * time.Second
)

// Labels of containers, networks and volumes.
const (
	labelInstance = "dev.moorage.instance"
	labelName     = "dev.moorage.name"
	labelNetwork  = "dev.moorage.network"
	labelOwn      = "dev.moorage.labels" // the caller's, as JSON
	labelDisk     = "dev.moorage.disk-bytes"
)

// Config says how a [Runtime] works.
type Config struct {
	// Socket is the path of the engine's socket. "" tries [Sockets] in turn.
	Socket string
	// Dir keeps files of containers and of networks. Required.
	Dir string
	// Instance tells apart programs that use one engine: 1 to 16 of a-z and 0-9.
	// "" is derived from Dir.
	Instance string
	// Pool is an IPv4 range for networks, /24 or larger; zero is DefaultPool.
	Pool netip.Prefix
	// LayoutRoots are folders below which "oci:" references may point; none
	// refuses them.
	LayoutRoots []string
	// Logger may be nil.
	Logger *slog.Logger
}

// Sockets are the places where engines usually listen: Docker, Podman, and Podman
// of the user with that ID.
func Sockets(uid int) []string {
	return []string{"/var/run/docker.sock", "/run/podman/podman.sock", fmt.Sprintf("/run/user/%d/podman/podman.sock", uid)}
}

// Runtime runs containers by an engine. Safe for concurrent use. One goroutine
// watches disk use; Close ends it and waits.
type Runtime struct {
	cfg    Config
	log    *slog.Logger
	engine *client.Client
	podman bool // differs from Docker in walls and logs
	locks  keylock.Locks
	ctx    context.Context //nolint:containedctx // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
	close  sync.Once
}

var (
	_ runtime.Runtime       = (*Runtime)(nil)
	_ runtime.VolumeRemover = (*Runtime)(nil)
)

// New connects to the engine, or returns runtime.ErrUnsupported with what to do.
func New(cfg Config) (*Runtime, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	engine, podman, err := connect(cfg.Socket)
	if err != nil {
		return nil, err
	}
	r := &Runtime{cfg: cfg, log: cfg.Logger, engine: engine, podman: podman}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.wg.Go(r.watchDisk)
	return r, nil
}

func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" {
		return c, errors.New("docker: no state directory given")
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return c, fmt.Errorf("docker: %w", err)
	}
	c.Dir = dir
	for _, sub := range []string{"containers", "networks", "public"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o711); err != nil { // the engine's users pass through
			return c, fmt.Errorf("docker: %w", err)
		}
	}
	if c.Instance == "" {
		sum := sha256.Sum256([]byte(dir))
		c.Instance = hex.EncodeToString(sum[:3])
	}
	if !c.Pool.IsValid() {
		c.Pool = netip.MustParsePrefix(DefaultPool)
	}
	if c.Socket == "" {
		c.Socket = firstSocket()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

func firstSocket() string {
	all := Sockets(os.Getuid())
	for _, path := range all {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return all[0]
}

// connect finds an engine that answers, and whether it is Podman.
func connect(socket string) (engine *client.Client, podman bool, err error) {
	engine, err = client.New(client.WithHost("unix://" + socket))
	if err != nil {
		return nil, false, fmt.Errorf("docker: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), pingTime)
	defer cancel()
	v, err := engine.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		_ = engine.Close()
		return nil, false, fmt.Errorf("docker: no engine answers at %s (%w); start Docker or Podman's service, or give its socket: %w", socket, err, runtime.ErrUnsupported)
	}
	for _, c := range v.Components {
		podman = podman || strings.Contains(c.Name, "Podman")
	}
	return engine, podman, nil
}

// Close implements runtime.Runtime. Twice is allowed.
func (r *Runtime) Close() (err error) {
	r.close.Do(func() {
		r.cancel()
		r.wg.Wait()
		err = r.engine.Close()
	})
	return err
}

// begin refuses calls after Close and ends them with it.
func (r *Runtime) begin(ctx context.Context) (context.Context, func(), error) {
	if r.ctx.Err() != nil {
		return nil, nil, errors.New("docker: closed")
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(r.ctx, cancel)
	return ctx, func() { stop(); cancel() }, nil
}

// full is a name as the engine knows it.
func (r *Runtime) full(name string) string { return "moorage-" + r.cfg.Instance + "-" + name }

// ours selects what belongs to this instance.
func (r *Runtime) ours() client.Filters {
	return client.Filters{}.Add("label", labelInstance+"="+r.cfg.Instance)
}

func (r *Runtime) dir(name string) string { return filepath.Join(r.cfg.Dir, "containers", name) }

func notFound(what, name string) error {
	return fmt.Errorf("docker: %s %.80q: %w", what, name, runtime.ErrNotFound)
}

// fail gives an engine's error our words, and the context's where that ended.
func fail(ctx context.Context, what, name string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("docker: %s %s: %w", what, name, err)
}
