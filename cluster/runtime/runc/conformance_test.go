//go:build linux && cgo

package runc_test

import (
	"context"
	"errors"
	"testing"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/runc"
	"github.com/moorage-dev/moorage/cluster/runtime/runtimetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	w := needRoot(t)
	dirs := map[runtime.Runtime]string{}
	open := func(dir string) (runtime.Runtime, error) {
		r, err := runc.New(runc.Config{Dir: dir, Shim: w.shim})
		if err != nil {
			return nil, err
		}
		dirs[r] = dir
		return r, nil
	}
	runtimetest.Run(t, runtimetest.Harness{
		New: func(context.Context) (runtime.Runtime, error) {
			dir := t.TempDir()
			t.Cleanup(func() { purge(t, w, dir) })
			return open(dir)
		},
		Reopen: func(_ context.Context, old runtime.Runtime) (runtime.Runtime, error) {
			if err := old.Close(); err != nil {
				return nil, err
			}
			return open(dirs[old])
		},
		Image: w.reference, Private: w.private,
		Credentials: runtime.Credentials{Host: w.registry.PrivateHost, Username: w.registry.Username, Password: w.registry.Password},
		Claims: runtimetest.Reopening | runtimetest.Walls | runtimetest.Terminals | runtimetest.Credentials |
			runtimetest.Volumes | runtimetest.MemoryLimits | runtimetest.StdStreams,
	})
}

// purge takes what a runtime in dir left off the machine.
func purge(tb testing.TB, w *workshop, dir string) {
	tb.Helper()
	r, err := runc.New(runc.Config{Dir: dir, Shim: w.shim})
	if err == nil {
		err = errors.Join(r.Purge(context.Background()), r.Close())
	}
	if err != nil {
		tb.Errorf("purge: %v", err)
	}
}
