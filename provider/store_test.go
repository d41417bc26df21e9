package provider_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
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
