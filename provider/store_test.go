package provider_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/moorage-dev/moorage/cluster/memcluster"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/memmarket"
	"github.com/moorage-dev/moorage/provider"
)

func TestRecordsSurviveAReopenedStore(t *testing.T) {
	dir := t.TempDir()
	s, err := provider.OpenStore(dir)
	require.NoError(t, err)
	p := plan(t, "SECRET=x", nil)
	lease := market.LeaseID{Provider: "provider", OrderID: market.OrderID{OSeq: 1, GroupID: market.GroupID{
		GSeq: 1, DeploymentID: market.DeploymentID{Owner: "tenant", DSeq: 5}}}}
	want := provider.Record{Lease: lease, WonAt: time.Unix(100, 0).UTC(), Revision: 3, Hash: p.Hash, Manifest: p.Manifest}
	require.NoError(t, s.Save(want))
	_, err = provider.OpenStore(dir)
	require.ErrorIs(t, err, provider.ErrStoreLocked)
	require.NoError(t, s.Close())

	s, err = provider.OpenStore(dir)
	require.NoError(t, err)
	got, err := s.Load()
	require.NoError(t, err)
	require.Equal(t, []provider.Record{want}, got)
	require.NoError(t, s.Remove(lease))
	require.NoError(t, s.Remove(lease))
	got, err = s.Load()
	require.NoError(t, err)
	require.Empty(t, got)
	require.NoError(t, s.Close())
}

// damage makes the stored record of a lease unreadable.
func damage(t *testing.T, dir string, id market.LeaseID) {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(dir, "provider.db"), 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("leases/v1")).Put([]byte(id.String()), []byte("{"))
	}))
	require.NoError(t, db.Close())
}

func TestOneUnreadableRecordIsKeptAsideAndTheOthersAreServed(t *testing.T) {
	dir := t.TempDir()
	s, err := provider.OpenStore(dir)
	require.NoError(t, err)
	lease := func(dseq uint64) market.LeaseID {
		group := market.GroupID{GSeq: 1, DeploymentID: market.DeploymentID{Owner: theTenant, DSeq: dseq}}
		return market.LeaseID{Provider: theProvider, OrderID: market.OrderID{OSeq: 1, GroupID: group}}
	}
	for dseq := range uint64(3) {
		require.NoError(t, s.Save(provider.Record{Lease: lease(dseq + 1), WonAt: time.Unix(100, 0).UTC()}))
	}
	require.NoError(t, s.Close())
	damage(t, dir, lease(2))
	for range 2 { // at the second start it is still aside
		s, err = provider.OpenStore(dir)
		require.NoError(t, err)
		m, err := memmarket.New(memmarket.Config{})
		require.NoError(t, err)
		p, err := provider.New(provider.Config{
			Market: m.Client(theProvider), Cluster: memcluster.New(memcluster.Config{}), Pricer: pricer(), Store: s,
			HostURI: "https://provider.test",
		})
		require.NoError(t, err)
		o, err := p.Overview(t.Context())
		require.NoError(t, err)
		assert.Equal(t, []string{lease(2).String()}, o.Unreadable)
		assert.Len(t, o.Leases, 2)
		require.NoError(t, s.Close())
	}
	s, err = provider.OpenStore(dir)
	require.NoError(t, err)
	require.NoError(t, s.Remove(lease(2)))
	records, err := s.Load()
	require.NoError(t, err, "what is over is not kept aside")
	assert.Len(t, records, 2)
	require.NoError(t, s.Close())
}

func TestDrainingIsRememberedOnDisk(t *testing.T) {
	dir := t.TempDir()
	for _, want := range []bool{true, false} {
		s, err := provider.OpenStore(dir)
		require.NoError(t, err)
		require.NoError(t, s.(provider.DrainStore).SaveDrain(want, "new disks"))
		require.NoError(t, s.Close())
		s, err = provider.OpenStore(dir)
		require.NoError(t, err)
		on, notice, err := s.(provider.DrainStore).LoadDrain()
		require.NoError(t, err)
		assert.Equal(t, want, on)
		if on {
			assert.Equal(t, "new disks", notice)
		}
		require.NoError(t, s.Close())
	}
}
