package store_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/fleet/internal/store"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// draw makes a record in which lists may be nil or empty and everything optional
// may be missing.
func draw(t *rapid.T) store.Record {
	list := func(name string) []string {
		switch rapid.IntRange(0, 2).Draw(t, name) {
		case 0:
			return nil
		case 1:
			return []string{}
		}
		return rapid.SliceOfN(rapid.StringMatching(`[ -~äöü<>&]{1,9}`), 1, 3).Draw(t, name)
	}
	some := func(name string) bool { return rapid.Bool().Draw(t, name) }
	attrs := func(name string) market.Attributes {
		if some(name) {
			return market.Attributes{{Key: "class", Value: "beta2"}, {Key: "persistent", Value: "true"}}
		}
		return nil
	}
	s := manifest.Service{
		Name: "web", Image: "img:1", Command: list("command"), Args: list("args"), Count: rapid.Uint32Range(0, 9).Draw(t, "count"),
		Resources: market.Resources{
			ID: 1, CPU: market.CPU{MilliCores: rapid.Uint64Range(1, 1e6).Draw(t, "cpu")}, Memory: market.Memory{Bytes: rapid.Uint64Range(1, 1<<50).Draw(t, "memory")},
			Storage: []market.Volume{{Name: "data", Bytes: 7, Attributes: attrs("volume")}},
		},
		Expose: []manifest.Expose{{
			Port: 80, ExternalPort: rapid.Uint32Range(0, 99).Draw(t, "external"), Proto: manifest.TCP, Global: some("global"),
			HTTPOptions: manifest.HTTPOptions{MaxBodySize: 1, ReadTimeout: 2, SendTimeout: 3, NextTries: 4, NextTimeout: 5, NextCases: list("cases")},
		}},
	}
	if some("hosts") {
		s.Expose[0].Hosts = []string{"a.example"}
	}
	for _, e := range list("env") {
		s.Env = append(s.Env, "K="+e)
	}
	if some("params") {
		s.Params = &manifest.Params{Storage: []manifest.StorageParams{{Name: "data", Mount: "/data", ReadOnly: some("ro")}}}
		if some("permissions") {
			s.Params.Permissions = &manifest.Permissions{Read: []string{"logs"}}
		}
	}
	if some("credentials") {
		s.Credentials = &manifest.Credentials{Host: "r", Email: "e", Username: "u", Password: "hunter2"}
	}
	id, err := market.ParseLeaseID("tenant/1/2/3/provider")
	require.NoError(t, err)
	var addresses []driver.LeasedAddress
	if some("addresses") {
		addresses = []driver.LeasedAddress{{
			Endpoint: "my-ip", Address: netip.MustParseAddr("2001:db8::7"), Protocol: manifest.UDP, External: 53, Service: "web", Port: 53,
			Sources: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Withheld: some("withheld"),
		}}
	}
	return store.Record{
		Workload: driver.Workload{Lease: id, Revision: rapid.Uint64Range(1, 1<<60).Draw(t, "revision"), Hash: market.Hash{1, 2}, Group: manifest.Group{Name: "g", Services: []manifest.Service{s}}, Addresses: addresses},
		Leaving:  some("leaving"),
	}
}

func TestPropertyWhatIsReadIsWhatWasWritten(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		r := draw(t)
		s, _, _, err := store.Open(dir)
		require.NoError(t, err)
		require.NoError(t, s.Put("one", r))
		require.NoError(t, s.Close())
		require.NoError(t, s.Close())
		s, records, bad, err := store.Open(dir)
		require.NoError(t, err)
		require.Empty(t, bad)
		require.Len(t, records, 1)
		got := records[0]
		text := func(r store.Record) string { return string(manifest.Manifest{r.Workload.Group}.AppendCanonical(nil)) }
		require.Equal(t, text(r), text(got), "a definition that changed on the way would replace its containers")
		require.Equal(t, r.Workload.Lease, got.Workload.Lease)
		require.Equal(t, r.Workload.Revision, got.Workload.Revision)
		require.Equal(t, r.Workload.Hash, got.Workload.Hash)
		require.Equal(t, r.Leaving, got.Leaving)
		require.Equal(t, r.Workload.Addresses, got.Workload.Addresses)
		a, b := r.Workload.Group.Services[0], got.Workload.Group.Services[0]
		require.Equal(t, a.Env, b.Env)
		if a.Credentials != nil {
			require.Equal(t, *a.Credentials, *b.Credentials)
		}
		require.NoError(t, s.Delete("one"))
		require.NoError(t, s.Delete("one"))
		require.NoError(t, s.Close())
	})
}

func TestADirectoryHasOneOwner(t *testing.T) {
	dir := t.TempDir()
	s, _, _, err := store.Open(dir)
	require.NoError(t, err)
	_, _, _, err = store.Open(dir)
	require.ErrorIs(t, err, store.ErrInUse)
	require.NoError(t, s.Close())
	s, _, _, err = store.Open(dir)
	require.NoError(t, err)
	require.NoError(t, s.Close())
}

func TestFilesThatCannotBeReadAreSetAside(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"empty.json": "", "later.json": `{"format": 99}`, "none.json": `{"format":1,"group":[]}`} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	s, records, bad, err := store.Open(dir)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	assert.Empty(t, records)
	assert.Equal(t, []string{"empty.json", "later.json", "none.json"}, bad)
	for _, name := range bad {
		assert.FileExists(t, filepath.Join(dir, name+".damaged"), "nothing is thrown away")
	}
}

func TestADirectoryThatCannotBeMadeIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, _, _, err := store.Open(filepath.Join(file, "dir"))
	require.Error(t, err)
}
