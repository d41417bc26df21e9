package local_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/docker"
	"github.com/moorage-dev/moorage/cluster/runtime/local"
	"github.com/moorage-dev/moorage/cluster/runtime/runc"
)

func TestAMachineWithNothingIsToldWhatEachRuntimeNeeds(t *testing.T) {
	_, _, err := local.Open(local.Config{
		Dir:    t.TempDir(),
		Runc:   runc.Config{Shim: filepath.Join(t.TempDir(), "absent")},
		Docker: docker.Config{Socket: filepath.Join(t.TempDir(), "absent.sock")},
	})
	require.ErrorIs(t, err, runtime.ErrUnsupported)
	assert.ErrorContains(t, err, "runc:")
	assert.ErrorContains(t, err, "docker:")
	assert.ErrorContains(t, err, "start Docker")
}

func TestAForcedKindTriesNoOther(t *testing.T) {
	_, kind, err := local.Open(local.Config{
		Dir: t.TempDir(), Kind: local.Docker, Docker: docker.Config{Socket: filepath.Join(t.TempDir(), "absent.sock")},
	})
	require.ErrorIs(t, err, runtime.ErrUnsupported)
	require.Equal(t, local.Docker, kind)
	assert.NotContains(t, err.Error(), "runc:")
	_, _, err = local.Open(local.Config{Dir: t.TempDir(), Kind: "lxc"})
	require.ErrorContains(t, err, `no runtime "lxc"`)
}

func TestADirectoryInUseIsNotHiddenByTheNextRuntime(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, _, err := local.Open(local.Config{Dir: file, Kind: local.Docker})
	require.Error(t, err)
	require.NotErrorIs(t, err, runtime.ErrUnsupported)
}

// A program that runs containers wherever it is.
func ExampleOpen() {
	rt, kind, err := local.Open(local.Config{Kind: "none", Dir: "/var/lib/example"})
	if err != nil {
		fmt.Println(err) // says what to install or start
		return
	}
	defer func() { _ = rt.Close() }()
	fmt.Println("containers run by", kind)
	// Output: local: there is no runtime "none", only "runc" and "docker"
}
