package host_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/fleet/internal/host"
)

func TestAReserveIsKeptBack(t *testing.T) {
	all, err := host.Node(t.TempDir(), 0)
	require.NoError(t, err)
	half, err := host.Node(t.TempDir(), 50)
	require.NoError(t, err)
	assert.EqualValues(t, runtime.NumCPU()*1000, all.Allocatable.MilliCores)
	assert.EqualValues(t, runtime.NumCPU()*500, half.Allocatable.MilliCores)
	assert.InDelta(t, all.Allocatable.MemoryBytes/2, half.Allocatable.MemoryBytes, 1000)
	none, err := host.Node(t.TempDir(), 200)
	require.NoError(t, err)
	assert.Zero(t, none.Allocatable.MilliCores)
}

func TestTheDiskIsDividedAndNotPromisedTwice(t *testing.T) {
	n, err := host.Node(t.TempDir(), 0)
	require.NoError(t, err)
	var persistent uint64
	for _, class := range host.Classes() {
		persistent += n.Allocatable.PersistentBytes[class]
	}
	assert.Len(t, n.Allocatable.PersistentBytes, len(host.Classes()))
	assert.LessOrEqual(t, persistent, n.Allocatable.EphemeralBytes)
}

func TestADiskThatWorkloadsHaveFilledCountsAsItWas(t *testing.T) {
	dir := t.TempDir()
	before, err := host.Node(dir, 0)
	require.NoError(t, err)
	name := filepath.Join(dir, "disk-bytes")
	require.NoError(t, os.WriteFile(name, []byte("999999999999999999"), 0o600))
	after, err := host.Node(dir, 0)
	require.NoError(t, err)
	assert.Greater(t, after.Allocatable.EphemeralBytes, before.Allocatable.EphemeralBytes)
	require.NoError(t, os.WriteFile(name, []byte("7"), 0o600))
	again, err := host.Node(dir, 0)
	require.NoError(t, err)
	assert.Greater(t, again.Allocatable.EphemeralBytes, uint64(7), "what is free now counts when it is more")
	require.NoError(t, os.WriteFile(name, []byte("rubbish"), 0o600))
	_, err = host.Node(dir, 0)
	require.NoError(t, err)
}

func TestAMissingDirectoryIsAnError(t *testing.T) {
	_, err := host.Node(filepath.Join(t.TempDir(), "none"), 0)
	require.Error(t, err)
}
