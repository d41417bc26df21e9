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
	build := exec.CommandContext(ctx, "go", "build", "-o", w.shim, "./moorage-shim")
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

func needRoot(t testing.TB) *workshop {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("containers by the embedded runc need root")
	}
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("networks of the embedded runc need the program nft (package nftables)")
	}
	w := shared()
	require.NoError(t, w.err)
	return w
}

// open makes a runtime that is purged at the end of the test.
func open(t testing.TB, change func(*runc.Config)) *runc.Runtime {
	t.Helper()
	w := needRoot(t)
	dir := t.TempDir()
	return openIn(t, w, dir, change)
}

func openIn(t testing.TB, w *workshop, dir string, change func(*runc.Config)) *runc.Runtime {
	t.Helper()
	cfg := runc.Config{Dir: dir, Shim: w.shim}
	if change != nil {
		change(&cfg)
	}
	r, err := runc.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		if !t.Failed() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			_ = r.Close() // whoever is open, reopen and purge
			again, err := runc.New(cfg)
			if err != nil {
				return // a later runtime of the same folder purges
			}
			require.NoError(t, again.Purge(ctx))
			require.NoError(t, again.Close())
			return
		}
		_ = r.Purge(context.Background())
		_ = r.Close()
	})
	return r
}

func pulled(t testing.TB, r runtime.ImageStore, reference string) string {
	t.Helper()
	im, err := r.Pull(t.Context(), runtime.PullRequest{Reference: reference})
	require.NoError(t, err)
	return im.Digest
}

// start runs the guest with a command on a network.
func start(t testing.TB, r *runc.Runtime, name, network string, args ...string) runtime.Container {
	t.Helper()
	return startSpec(t, r, runtime.Spec{Name: name, Network: network, Args: args})
}

func startSpec(t testing.TB, r *runc.Runtime, spec runtime.Spec) runtime.Container {
	t.Helper()
	if spec.Image == "" {
		spec.Image = pulled(t, r, shared().reference)
	}
	if spec.Network != "" {
		_, err := r.EnsureNetwork(t.Context(), spec.Network)
		require.NoError(t, err)
	}
	c, err := r.Start(t.Context(), spec)
	require.NoError(t, err)
	return c
}

// run executes a guest command in a container.
func run(t testing.TB, r *runc.Runtime, name string, command ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	code, err := r.Exec(ctx, name, runtime.Exec{Command: append([]string{"/guest"}, command...), Stdout: &out, Stderr: &errs})
	require.NoError(t, err)
	return code, out.String(), errs.String()
}

// ended waits for a container's end.
func ended(t testing.TB, r *runc.Runtime, name string) runtime.Container {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	changes := r.Watch(ctx)
	c, err := r.Inspect(ctx, name)
	require.NoError(t, err)
	if c.State == runtime.Exited {
		return c
	}
	for range changes {
		c, err = r.Inspect(ctx, name)
		require.NoError(t, err)
		if c.State == runtime.Exited {
			return c
		}
	}
	require.Fail(t, "container does not end", name)
	return c
}

// line waits for the log to have a line.
func line(t testing.TB, r *runc.Runtime, name, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var seen []string
	for l, err := range r.Logs(ctx, name, runtime.LogOptions{Follow: true, Tail: -1}) {
		require.NoError(t, err)
		if l.Text == text {
			return
		}
		seen = append(seen, l.Text)
	}
	require.Fail(t, "no such line", "want %q, got %q", text, seen)
}
