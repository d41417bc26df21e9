package provider_test

import (
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/memcluster"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/tenant"
	"github.com/moorage-dev/moorage/provider/gateway/api"
)

// named is a plan whose web server asks for host names; the env tells which
// deployment answers.
func named(t *testing.T, env string, hosts ...string) tenant.Plan {
	t.Helper()
	p := plan(t, env, nil)
	p.Manifest[0].Services[0].Expose[0].Hosts = hosts
	var err error
	p.Hash, err = p.Manifest.Version()
	require.NoError(t, err)
	return p
}

// answering tells which deployment a name leads to: "" is none.
func (w *world) answering(name string) string {
	body, err := w.cluster.Get(w.t.Context(), "http://"+name)
	if err != nil {
		return ""
	}
	return body
}

func namedWorld(t *testing.T) *world {
	t.Helper()
	return newWorld(t, memcluster.Config{Programs: map[string]memcluster.Program{"web:1": {
		HTTP: func(p memcluster.Process) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, p.Env[0]) })
		},
	}}})
}

func (w *world) deploy(p tenant.Plan) tenant.Running {
	w.t.Helper()
	r, err := w.tenant.Deploy(w.t.Context(), p)
	require.NoError(w.t, err)
	return r
}

func (w *world) hostname(id market.LeaseID) api.Hostname {
	w.t.Helper()
	st, err := w.provider().LeaseStatus(w.t.Context(), id)
	require.NoError(w.t, err)
	require.Len(w.t, st.Services, 1)
	require.Len(w.t, st.Services[0].Hostnames, 1)
	return st.Services[0].Hostnames[0]
}

func TestAHostnameStaysWithTheLeaseThatAskedFirstUntilItIsMigrated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := namedWorld(t)
		_, stop := w.start(nil)
		old := w.deploy(named(t, "V=old", "shop.example"))
		young := w.deploy(named(t, "V=young", "shop.example"))
		require.Equal(t, "V=old", w.answering("shop.example"))
		withheld := w.hostname(young.Leases[0])
		assert.Equal(t, api.HostnameWithheld, withheld.State)
		assert.Equal(t, &old.Leases[0], withheld.Holder)
		assert.Contains(t, withheld.Reason, "migrate")

		stop() // what has which name survives
		w.start(nil)
		moved, err := w.provider().MigrateHostnames(t.Context(), young.Leases[0], []string{"shop.EXAMPLE", "other.example"}, anyService)
		require.NoError(t, err)
		require.Len(t, moved, 2)
		assert.Equal(t, api.HostnameMoved{Hostname: "shop.example", Moved: true, From: &old.Leases[0]}, moved[0])
		assert.Equal(t, "hostname-not-asked", moved[1].Rule)
		eventually(t, "the young deployment answers", func() bool { return w.answering("shop.example") == "V=young" })
		assert.Equal(t, api.HostnameBound, w.hostname(young.Leases[0]).State)
		assert.Equal(t, api.HostnameWithheld, w.hostname(old.Leases[0]).State)

		again, err := w.provider().MigrateHostnames(t.Context(), young.Leases[0], []string{"shop.example"}, anyService)
		require.NoError(t, err)
		assert.Equal(t, []api.HostnameMoved{{Hostname: "shop.example"}}, again, "nothing to do")

		require.NoError(t, w.tenant.Close(t.Context(), young.Deployment))
		eventually(t, "the name goes back to who still asks", func() bool { return w.answering("shop.example") == "V=old" })
		assert.Equal(t, api.HostnameBound, w.hostname(old.Leases[0]).State)
	})
}

func TestAMigrationThatCrashedAfterItWasStoredIsCarriedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := namedWorld(t)
		_, stop := w.start(nil)
		w.deploy(named(t, "V=old", "shop.example"))
		young := w.deploy(named(t, "V=young", "shop.example"))
		w.cluster.SetFault(func(op memcluster.Op, _ market.LeaseID) error {
			if op == memcluster.OpApply {
				return &driver.TransientError{Err: assert.AnError}
			}
			return nil
		})
		moved, err := w.provider().MigrateHostnames(t.Context(), young.Leases[0], []string{"shop.example"}, anyService)
		require.NoError(t, err)
		require.True(t, moved[0].Moved)
		stop()
		w.cluster.SetFault(nil)
		w.start(nil)
		eventually(t, "the young deployment answers", func() bool { return w.answering("shop.example") == "V=young" })
	})
}

func TestAHostnameOfAnotherTenantIsRefusedWithItsRule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := namedWorld(t)
		w.start(nil)
		w.deploy(named(t, "V=first", "shop.example"))
		other, err := tenant.New(tenant.Config{
			Market: w.market.Client("provider2"), // it has money, and may be a tenant too
			Dial:   func(market.Provider) (tenant.Gateway, error) { return w, nil },
		})
		require.NoError(t, err)
		_, err = other.Deploy(t.Context(), named(t, "V=second", "shop.example"))
		require.ErrorIs(t, err, driver.ErrConflict)
		require.ErrorContains(t, err, "belongs to another tenant")
		require.Equal(t, "V=first", w.answering("shop.example"))
	})
}

func TestARestartReplacesTheReplicasAndSurvivesACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := namedWorld(t)
		_, stop := w.start(nil)
		r := w.deploy(named(t, "V=1"))
		before := r.Status[0].Services[0].Replicas[0].StartedAt
		replaced := func() bool {
			st, err := w.provider().LeaseStatus(t.Context(), r.Leases[0])
			require.NoError(t, err)
			return st.Phase == api.PhaseActive && st.Services[0].Replicas[0].StartedAt.After(before)
		}
		require.ErrorIs(t, w.provider().Restart(t.Context(), r.Leases[0], "api"), market.ErrNotFound)
		time.Sleep(time.Second) // virtual
		require.False(t, replaced())
		require.NoError(t, w.provider().Restart(t.Context(), r.Leases[0], "web"))
		eventually(t, "the replica is a new one", replaced)

		w.cluster.SetFault(func(op memcluster.Op, _ market.LeaseID) error {
			if op == memcluster.OpApply {
				return &driver.TransientError{Err: assert.AnError}
			}
			return nil
		})
		st, err := w.provider().LeaseStatus(t.Context(), r.Leases[0])
		require.NoError(t, err)
		before = st.Services[0].Replicas[0].StartedAt
		time.Sleep(time.Second)
		require.NoError(t, w.provider().Restart(t.Context(), r.Leases[0], "web"))
		stop()
		w.cluster.SetFault(nil)
		w.start(nil)
		eventually(t, "the replica is a new one after the crash", replaced)
	})
}

// anyService is a credential for everything.
func anyService(market.LeaseID, string) bool { return true }

func TestAHostnameIsMovedByNoCredentialThatIsNotForBothEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		w.start(nil)
		old, err := w.tenant.Deploy(t.Context(), named(t, "V=1", "shop.example"))
		require.NoError(t, err)
		young, err := w.tenant.Deploy(t.Context(), named(t, "V=2", "shop.example"))
		require.NoError(t, err)
		for _, end := range []market.LeaseID{old.Leases[0], young.Leases[0]} {
			_, err := w.provider().MigrateHostnames(t.Context(), young.Leases[0], []string{"Shop.Example"}, func(id market.LeaseID, service string) bool {
				return id == end && service == "web"
			})
			require.ErrorIs(t, err, api.ErrForbidden)
		}
		moved, err := w.provider().MigrateHostnames(t.Context(), young.Leases[0], []string{"shop.example"}, func(id market.LeaseID, service string) bool {
			return service == "web"
		})
		require.NoError(t, err)
		assert.True(t, moved[0].Moved)
	})
}
