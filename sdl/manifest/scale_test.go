package manifest_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

func TestCountsOfTheGroupTakeThePlaceOfTheManifests(t *testing.T) {
	unit := func(id, count, low, high uint32) market.ResourceUnit {
		u := market.ResourceUnit{Count: count, MinCount: low, MaxCount: high}
		u.ID = id
		return u
	}
	service := func(name string, id, count uint32) manifest.Service {
		return manifest.Service{Name: name, Resources: market.Resources{ID: id}, Count: count}
	}
	m := manifest.Manifest{
		{Name: "one", Services: []manifest.Service{service("api", 1, 2), service("db", 2, 1), service("x", 3, 1), service("y", 3, 1)}},
		{Name: "other", Services: []manifest.Service{service("api", 1, 2)}},
	}
	specs := []market.GroupSpec{{Name: "one", Units: []market.ResourceUnit{
		unit(1, 5, 1, 9), // scaled
		unit(2, 7, 0, 0), // fixed: a mismatch stays one
		unit(3, 4, 1, 9), // shared by two services
	}}}
	got := m.WithCounts(specs)
	counts := func(m manifest.Manifest) (out []uint32) {
		for _, g := range m {
			for _, s := range g.Services {
				out = append(out, s.Count)
			}
		}
		return out
	}
	assert.Equal(t, []uint32{5, 1, 1, 1, 2}, counts(got))
	assert.Equal(t, []uint32{2, 1, 1, 1, 2}, counts(m), "the receiver is not changed")
	same, err := m.Version()
	require.NoError(t, err)
	again, err := m.WithCounts(nil).Version()
	require.NoError(t, err)
	assert.Equal(t, same, again)
}
