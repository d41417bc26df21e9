//go:build linux && cgo

package fleet_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	ociv1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/clustertest"
	"github.com/moorage-dev/moorage/cluster/clustertest/guest"
	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/fleet"
	"github.com/moorage-dev/moorage/cluster/runtime/runc"
)

// yard is what the tests with real containers share: the shim, and a registry on
// loopback with the guest's image, both made on the spot.
type yard struct {
	dir, shim, image string
	server           *httptest.Server
	err              error
}

// the is the yard, made by the first test that needs it.
var the struct {
	once sync.Once
	yard *yard
}

func shared() *yard {
	the.once.Do(func() {
		the.yard = &yard{}
		the.yard.err = the.yard.build(context.Background())
	})
	return the.yard
}

func (y *yard) build(ctx context.Context) (err error) {
	if y.dir, err = os.MkdirTemp("", "moorage-fleet-test-"); err != nil {
		return err
	}
	y.shim = filepath.Join(y.dir, "moorage-shim")
	if err := goBuild(ctx, y.shim, "../runtime/runc/moorage-shim"); err != nil {
		return err
	}
	program := filepath.Join(y.dir, "guest")
	if err := goBuild(ctx, program, "../clustertest/guestd", "CGO_ENABLED=0"); err != nil {
		return err
	}
	y.server = httptest.NewServer(registry.New(registry.Logger(slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo))))
	y.image = y.server.Listener.Addr().String() + "/guest:1"
	return y.push(program)
}

func goBuild(ctx context.Context, output, pkg string, env ...string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", output, pkg)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", pkg, err, out)
	}
	return nil
}

// push makes an image of one program and puts it into the registry.
func (y *yard) push(program string) error {
	binary, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	if err := tw.WriteHeader(&tar.Header{Name: "guest", Mode: 0o755, Size: int64(len(binary))}); err != nil {
		return err
	}
	if _, err := tw.Write(binary); err != nil {
		return err
	}
	if err := tw.Close(); err != nil {
		return err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil })
	if err != nil {
		return err
	}
	im, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return err
	}
	cf, err := im.ConfigFile()
	if err != nil {
		return err
	}
	cf.Architecture, cf.OS = runtime.GOARCH, "linux"
	cf.Config = ociv1.Config{Entrypoint: []string{"/guest"}}
	if im, err = mutate.ConfigFile(im, cf); err != nil {
		return err
	}
	ref, err := name.ParseReference(y.image)
	if err != nil {
		return err
	}
	return remote.Write(ref, im)
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childVariable); text != "" {
		fmt.Fprintln(os.Stderr, "agent:", childMain(text))
		os.Exit(1)
	}
	code := m.Run()
	if y := the.yard; y != nil {
		if y.server != nil {
			y.server.Close()
		}
		_ = os.RemoveAll(y.dir)
	}
	os.Exit(code)
}

func needContainers(tb testing.TB) *yard {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("real containers need root")
	}
	if _, err := exec.LookPath("nft"); err != nil {
		tb.Skip("real containers need the program nft (package nftables)")
	}
	if testing.Short() {
		tb.Skip("real containers take seconds")
	}
	y := shared()
	require.NoError(tb, y.err)
	return y
}

// realHost is this machine with a fleet of real containers that can be
// restarted.
type realHost struct {
	t       testing.TB
	rc      runc.Config
	cfg     fleet.Config
	fleet   *fleet.Fleet
	runtime *runc.Runtime
	ended   chan error
}

func newRealHost(tb testing.TB) *realHost {
	tb.Helper()
	y := needContainers(tb)
	h := &realHost{t: tb, rc: runc.Config{Dir: tb.TempDir(), Shim: y.shim}}
	h.cfg = fleet.Config{
		StateDir: tb.TempDir(), Node: node(), IngressAddr: "127.0.0.1:" + freePort(tb), PublicHost: "127.0.0.1",
		PortHost: "127.0.0.1", FirstPort: 41000, LastPort: 41200, StopTime: 3 * time.Second, DrainTime: 3 * time.Second,
	}
	h.start()
	tb.Cleanup(func() {
		h.stop()
		rt, err := runc.New(h.rc)
		require.NoError(tb, err)
		require.NoError(tb, rt.Purge(context.Background()))
		require.NoError(tb, rt.Close())
	})
	return h
}

func freePort(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	defer func() { _ = l.Close() }()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

func (h *realHost) start() {
	h.t.Helper()
	rt, err := runc.New(h.rc)
	require.NoError(h.t, err)
	h.runtime, h.cfg.Runtime = rt, rt
	f, err := fleet.New(h.cfg)
	require.NoError(h.t, err)
	h.fleet, h.ended = f, make(chan error, 1)
	go func() { h.ended <- f.Run(context.Background()) }()
}

func (h *realHost) stop() {
	h.t.Helper()
	require.NoError(h.t, h.fleet.Close())
	if err := <-h.ended; err != nil {
		require.ErrorIs(h.t, err, driver.ErrClosed)
	}
	require.NoError(h.t, h.runtime.Close())
}

// localGet fetches a URL; names under localhost are this machine.
func localGet(ctx context.Context, url string) (string, error) {
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
	}
	return get(ctx, dial, url)
}

func localAsk(ctx context.Context, address string) (string, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "udp", address)
	if err != nil {
		return "", err
	}
	return guest.Ask(ctx, c)
}

// TestConformanceOfRealContainers runs the suite against containers of the
// embedded runc on this machine.
func TestConformanceOfRealContainers(t *testing.T) {
	y := needContainers(t)
	clustertest.Run(t, clustertest.Harness{
		Image: y.image, MissingImage: y.server.Listener.Addr().String() + "/no-such:1", Patience: time.Minute,
		Abilities: []clustertest.Ability{
			clustertest.Watch, clustertest.Logs, clustertest.Exec, clustertest.Hostnames, clustertest.Reopen,
			clustertest.HTTP, clustertest.Forward, clustertest.Names, clustertest.Isolation, clustertest.Policy,
			clustertest.Images, clustertest.Restarts, clustertest.Persistence,
		},
		New: func(t *testing.T) *clustertest.Cluster {
			t.Helper()
			h := newRealHost(t)
			return &clustertest.Cluster{
				Driver: h.fleet, Get: localGet, Ask: localAsk,
				Reopen: func(context.Context) (driver.Driver, error) {
					h.stop()
					h.start()
					return h.fleet, nil
				},
			}
		},
	})
}
