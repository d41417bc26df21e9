//go:build linux && cgo

package runc

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/image"
)

func TestCommandFollowsKubernetesRule(t *testing.T) {
	im := image.Details{Entrypoint: []string{"e"}, Cmd: []string{"c"}}
	for _, c := range []struct{ entrypoint, args, want []string }{
		{nil, nil, []string{"e", "c"}},
		{nil, []string{"a"}, []string{"e", "a"}},
		{nil, []string{}, []string{"e"}},
		{[]string{"x"}, nil, []string{"x"}},
		{[]string{"x"}, []string{"a"}, []string{"x", "a"}},
		{[]string{}, []string{"a"}, []string{"a"}},
	} {
		assert.Equal(t, c.want, command(runtime.Spec{Entrypoint: c.entrypoint, Args: c.args}, im))
	}
	assert.Equal(t, []string{"e"}, im.Entrypoint)
}

func TestOfTwoVariablesOfANameTheLaterCounts(t *testing.T) {
	got := environment(runtime.Spec{Name: "n", Env: []string{"A=spec", "B=2"}}, image.Details{Env: []string{"A=image", "PATH=/x", "broken"}})
	assert.Equal(t, []string{"PATH=/x", "HOSTNAME=n", "A=spec", "B=2"}, got)
}

func TestLimitsInTheKernelsUnits(t *testing.T) {
	r := resources(runtime.Resources{MilliCores: 1500, MemoryBytes: 64 << 20})
	assert.Equal(t, int64(150_000), *r.CPU.Quota)
	assert.Equal(t, uint64(100_000), *r.CPU.Period)
	assert.Equal(t, uint64(1536), *r.CPU.Shares)
	assert.Equal(t, int64(64<<20), *r.Memory.Limit)
	assert.Equal(t, int64(runtime.DefaultPIDs), r.Pids.Limit)
	small := resources(runtime.Resources{MilliCores: 1, MemoryBytes: 1})
	assert.Equal(t, int64(minQuota), *small.CPU.Quota)
	assert.Equal(t, uint64(minShares), *small.CPU.Shares)
	assert.Equal(t, int64(runtime.MinMemoryBytes), *small.Memory.Limit)
	none := resources(runtime.Resources{})
	assert.Nil(t, none.CPU)
	assert.Nil(t, none.Memory)
	require.Len(t, none.Devices, 1)
	assert.False(t, none.Devices[0].Allow)
}

func TestStopSignals(t *testing.T) {
	for name, want := range map[string]syscall.Signal{
		"": syscall.SIGTERM, "SIGQUIT": syscall.SIGQUIT, "quit": syscall.SIGQUIT, "9": syscall.SIGKILL, "SIGINT": syscall.SIGINT,
	} {
		got, err := stopSignal(name)
		require.NoError(t, err, name)
		assert.Equal(t, int(want), got, name)
	}
	for _, name := range []string{"SIGNOTHING", "0", "-1", "65"} {
		_, err := stopSignal(name)
		require.ErrorIs(t, err, runtime.ErrInvalid, name)
	}
}
