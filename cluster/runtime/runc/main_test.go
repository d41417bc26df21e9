//go:build linux && cgo

package runc_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/runc"
	"github.com/moorage-dev/moorage/cluster/runtime/runtimetest"
)

const patience = 20 * time.Second

// workshop is what all tests share: the shim, the image, a registry.
type workshop struct {
	dir, shim, reference, asUser, private string
	registry                              *runtimetest.Registry
	err                                   error
}

var shared = sync.OnceValue(func() *workshop {
	w := &workshop{}
	w.err = w.build(context.Background())
	return w
})

func (w *workshop) build(ctx context.Context) (err error) {
	if w.dir, err = os.MkdirTemp("", "moorage-runc-test-"); err != nil {
		return err
	}
	w.shim = filepath.Join(w.dir, "moorage-shim")
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-tags=seccomp", "-o", w.shim, "./moorage-shim")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the shim: %w: %s", err, out)
	}
	if w.registry, err = runtimetest.NewRegistry(); err != nil {
		return err
	}
	im, err := runtimetest.GuestImage(ctx)
	if err != nil {
		return err
	}
	if w.reference, err = w.registry.Push(ctx, "guest:1", im); err != nil {
		return err
	}
	if w.private, err = w.registry.PushPrivate(ctx, "guest:1", im); err != nil {
		return err
	}
	if im, err = runtimetest.WithUser(im, "app"); err != nil {
		return err
	}
	w.asUser, err = w.registry.Push(ctx, "guest:user", im)
	return err
}

func TestMain(m *testing.M) {
	runc.Intercept() // for TestAProgramCanBeItsOwnShim
	code := m.Run()
	if os.Geteuid() == 0 {
		if w := shared(); w.dir != "" {
			_ = os.RemoveAll(w.dir)
		}
	}
	os.Exit(code)
}

func needRoot(tb testing.TB) *workshop {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("containers by the embedded runc need root")
	}
	if _, err := exec.LookPath("nft"); err != nil {
		tb.Skip("networks of the embedded runc need the program nft (package nftables)")
	}
	w := shared()
	require.NoError(tb, w.err)
	return w
}

// open makes a runtime that is purged at the end of the test.
func open(tb testing.TB, change func(*runc.Config)) *runc.Runtime {
	tb.Helper()
	w := needRoot(tb)
	dir := tb.TempDir()
	return openIn(tb, w, dir, change)
}

func openIn(tb testing.TB, w *workshop, dir string, change func(*runc.Config)) *runc.Runtime {
	tb.Helper()
	cfg := runc.Config{Dir: dir, Shim: w.shim}
	if change != nil {
		change(&cfg)
	}
	r, err := runc.New(cfg)
	require.NoError(tb, err)
	tb.Cleanup(func() {
		if !tb.Failed() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			_ = r.Close() // whoever is open, reopen and purge
			again, err := runc.New(cfg)
			require.NoError(tb, err)
			require.NoError(tb, again.Purge(ctx))
			require.NoError(tb, again.Close())
			return
		}
		_ = r.Purge(context.Background())
		_ = r.Close()
	})
	return r
}

func pulled(tb testing.TB, r runtime.ImageStore, reference string) string {
	tb.Helper()
	im, err := r.Pull(tb.Context(), runtime.PullRequest{Reference: reference})
	require.NoError(tb, err)
	return im.Digest
}

// start runs the guest with a command on a network.
func start(tb testing.TB, r *runc.Runtime, name, network string, args ...string) runtime.Container {
	tb.Helper()
	return startSpec(tb, r, runtime.Spec{Name: name, Network: network, Args: args})
}

func startSpec(tb testing.TB, r *runc.Runtime, spec runtime.Spec) runtime.Container {
	tb.Helper()
	if spec.Image == "" {
		spec.Image = pulled(tb, r, shared().reference)
	}
	if spec.Network != "" {
		_, err := r.EnsureNetwork(tb.Context(), spec.Network)
		require.NoError(tb, err)
	}
	c, err := r.Start(tb.Context(), spec)
	require.NoError(tb, err)
	return c
}

// run executes a guest command in a container.
func run(tb testing.TB, r *runc.Runtime, name string, command ...string) (code int, stdout, stderr string) {
	tb.Helper()
	var out, errs bytes.Buffer
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	code, err := r.Exec(ctx, name, runtime.Exec{Command: append([]string{"/guest"}, command...), Stdout: &out, Stderr: &errs})
	require.NoError(tb, err)
	return code, out.String(), errs.String()
}

// ended waits for a container's end.
func ended(tb testing.TB, r *runc.Runtime, name string) runtime.Container {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	changes := r.Watch(ctx)
	c, err := r.Inspect(ctx, name)
	require.NoError(tb, err)
	if c.State == runtime.Exited {
		return c
	}
	for _, err := range changes {
		require.NoError(tb, err)
		c, err = r.Inspect(ctx, name)
		require.NoError(tb, err)
		if c.State == runtime.Exited {
			return c
		}
	}
	require.Fail(tb, "container does not end", name)
	return c
}

// line waits for the log to have a line.
func line(tb testing.TB, r *runc.Runtime, name, text string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	var seen []string
	for l, err := range r.Logs(ctx, name, runtime.LogOptions{Follow: true, Tail: -1}) {
		require.NoError(tb, err)
		if l.Text == text {
			return
		}
		seen = append(seen, l.Text)
	}
	require.Fail(tb, "no such line", "want %q, got %q", text, seen)
}
