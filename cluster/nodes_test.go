package cluster_test

import (
	"context"
	"errors"
	"iter"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster"
	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/cluster/memcluster"
)

// nodeTeller yields one list of nodes per call, fails for a moment once, and then
// for good.
type nodeTeller struct {
	driver.Driver

	calls *int
}

func (d nodeTeller) WatchNodes(context.Context) iter.Seq2[[]inventory.Node, error] {
	return func(yield func([]inventory.Node, error) bool) {
		*d.calls++
		switch *d.calls {
		case 1:
			if yield([]inventory.Node{{Name: "a"}}, nil) {
				yield(nil, &driver.TransientError{Err: errors.New("lost")})
			}
		default:
			yield(nil, driver.ErrClosed)
		}
	}
}

func TestNewsOfNodesGoOnAfterTransientFailuresOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		c, err := cluster.New(nodeTeller{memcluster.New(memcluster.Config{}), &calls}, cluster.Config{})
		require.NoError(t, err)
		var names []string
		var last error
		for nodes, err := range c.WatchNodes(t.Context()) {
			for _, n := range nodes {
				names = append(names, n.Name)
			}
			last = err
		}
		assert.Equal(t, []string{"a"}, names)
		require.ErrorIs(t, last, driver.ErrClosed)
		assert.Equal(t, 2, calls)
		require.NoError(t, c.Close())
	})
}

func TestADriverThatCannotWatchItsNodesIsUnsupported(t *testing.T) {
	c, err := cluster.New(memcluster.New(memcluster.Config{}), cluster.Config{})
	require.NoError(t, err)
	for _, err := range c.WatchNodes(t.Context()) {
		require.ErrorIs(t, err, errors.ErrUnsupported)
	}
	require.NoError(t, c.Close())
}
