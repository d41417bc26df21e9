//go:build linux && cgo

package shim

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOverlayOptionsEscapeWhatWouldSplitThem(t *testing.T) {
	got := overlayData([]string{"1", `a:b,c\d`}, "/x,y/upper:1", `/w\z`)
	assert.Equal(t, `lowerdir=1:a\:b\,c\\d,upperdir=/x\,y/upper:1,workdir=/w\\z`, got)
}

func TestDiskUseCountsFilesOnceAndStopsWhenItHasEnough(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a"), make([]byte, 1<<20), 0o600))
	one := diskUse(t.Context(), dir, math.MaxUint64)
	assert.GreaterOrEqual(t, one, uint64(1<<20))
	require.NoError(t, os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "b")))
	assert.Equal(t, one, diskUse(t.Context(), dir, math.MaxUint64), "a second name takes no room")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "c"), make([]byte, 1<<20), 0o600))
	assert.Greater(t, diskUse(t.Context(), dir, math.MaxUint64), one+1<<20)
	assert.Greater(t, diskUse(t.Context(), dir, 1), uint64(1))
	assert.Zero(t, diskUse(t.Context(), filepath.Join(dir, "absent"), 1))
}

func TestEmptyFilesAndDeepNestingAreNotFree(t *testing.T) {
	dir := t.TempDir()
	for i := range 100 {
		require.NoError(t, os.WriteFile(filepath.Join(dir, string(rune('a'+i%26))+strings.Repeat("x", i)), nil, 0o600))
	}
	assert.GreaterOrEqual(t, diskUse(t.Context(), dir, math.MaxUint64), uint64(100*inodeBytes))
	deep := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(deep, strings.Repeat("d/", maxDepth+2)), 0o700))
	assert.Equal(t, uint64(1<<40+1), diskUse(t.Context(), deep, 1<<40), "more than allowed, whatever that is")
}

func TestLinksLeadNowhereInDiskUse(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Symlink("/", filepath.Join(dir, "root")))
	assert.Less(t, diskUse(t.Context(), dir, math.MaxUint64), uint64(1<<20))
}

func TestTheStageNeverCoversTheStateDirectory(t *testing.T) {
	for _, state := range []string{"/mnt/state", "/srv/x", "/var/lib/x", "/tmp/x"} {
		place, err := stagePlace(state)
		require.NoError(t, err)
		assert.False(t, strings.HasPrefix(state, place+"/"), "%s under %s", state, place)
	}
}

func TestUsersAreFoundInTheImageAndNotOnTheHost(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(root, "etc"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(root, "etc/passwd"), []byte("app:x:1000:1001::/home/app:/x\n"), 0o600))
	require.NoError(t, os.Symlink("/etc/group", filepath.Join(root, "etc/group"))) // leads out: no groups then
	for name, want := range map[string]specs.User{
		"": {}, "app": {UID: 1000, GID: 1001}, "7": {UID: 7}, "7:8": {UID: 7, GID: 8}, "app:9": {UID: 1000, GID: 9},
	} {
		p := &specs.Process{Capabilities: &specs.LinuxCapabilities{Effective: []string{"CAP_KILL"}}}
		require.NoError(t, setUser(p, root, name), name)
		assert.Equal(t, want.UID, p.User.UID, name)
		assert.Equal(t, want.GID, p.User.GID, name)
		assert.Equal(t, want.UID == 0, len(p.Capabilities.Effective) > 0, name)
	}
	p := &specs.Process{Capabilities: &specs.LinuxCapabilities{}}
	require.Error(t, setUser(p, root, "daemon"), "the host has one, the image has not")
}

func TestCountersAreRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memory.events")
	require.NoError(t, os.WriteFile(path, []byte("oom 3\noom_kill 2\noom_kill_disable 0\n"), 0o600))
	assert.Equal(t, uint64(2), counter(path, "oom_kill"))
	assert.Zero(t, counter(path, "absent"))
	assert.Zero(t, counter(path+"x", "oom_kill"))
}
