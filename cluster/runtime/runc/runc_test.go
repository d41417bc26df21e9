//go:build linux && cgo

package runc_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/runtime"
)

func TestAContainerRunsAndEnds(t *testing.T) {
	r := open(t, nil)
	c := start(t, r, "one", "lan", "wait")
	require.Equal(t, runtime.Running, c.State)
	line(t, r, "one", "ready")
	code, out, errs := run(t, r, "one", "hostname")
	require.Zero(t, code, errs)
	require.Equal(t, "one\n", out)
	require.NoError(t, r.Stop(t.Context(), "one", patience))
	c = ended(t, r, "one")
	require.Zero(t, c.ExitCode)
	require.Equal(t, "stopped", c.Reason)
}
