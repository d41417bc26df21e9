package keeper_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/marketpb"
	"github.com/moorage-dev/moorage/market/machine"
)

// asVersion1 makes the store one of version 1, which had fewer parameters and
// indexes.
func (f fixture) asVersion1(t *testing.T, p market.Params) {
	t.Helper()
	old := marketpb.FromParams(p)
	old.ScaleBlocks, old.MaxReclaimBlocks, old.Limits.MaxListed, old.Limits.MaxGroupBytes = 0, 0, 0, 0
	raw, err := old.Marshal()
	require.NoError(t, err)
	require.NoError(t, f.store.OpenKVStore(f.ctx).Set([]byte{0}, raw))
	var younger []machine.Ref
	s := f.State(f.ctx)
	for r, err := range s.Refs.Scan(nil, nil) {
		require.NoError(t, err)
		if r.Kind >= machine.RefActiveDeployment {
			younger = append(younger, r)
		}
	}
	for _, r := range younger {
		require.NoError(t, s.Refs.Delete(r))
	}
}

func TestMigrationKeepsWhatWasAndAddsWhatIsNew(t *testing.T) {
	f := newFixture(t)
	owner := f.fund("owner")
	require.NoError(t, f.do(order(owner, 1)))
	set := market.DefaultParams("uakt", "uact")
	set.FeePerMyriad, set.GraceBlocks, set.Limits.MaxGroups = 42, 7, 3
	f.asVersion1(t, set)
	require.Error(t, f.Check(f.ctx), "version 1 has fewer indexes")
	before, err := f.ExportGenesis(f.ctx)
	require.NoError(t, err)

	require.NoError(t, f.Migrate1to2(f.ctx))
	got, err := f.Params(f.ctx)
	require.NoError(t, err)
	assert.Equal(t, set, got, "what governance had set, and the defaults of what is new")
	require.NoError(t, f.Check(f.ctx))
	after, err := f.ExportGenesis(f.ctx)
	require.NoError(t, err)
	after.Params = before.Params
	assert.Equal(t, before, after, "rows stay as they are")
}

func TestMigrationLeavesNoDebtsBehind(t *testing.T) {
	f := newFixture(t)
	id := market.LeaseID{Provider: "provider"}
	id.Owner, id.DSeq = "owner", 1
	lost := market.Payment{ID: id, State: market.AccountClosed, Price: market.Price{Denom: "uakt"}, Unpaid: market.NewAmount(5), OverdrawnAt: 3, Withdrawn: market.NewAmount(7)}
	require.NoError(t, f.State(f.ctx).Payments.Set(id, lost))
	f.asVersion1(t, market.DefaultParams("uakt"))
	require.NoError(t, f.Migrate1to2(f.ctx))
	got, err := f.State(f.ctx).Payments.Get(id)
	require.NoError(t, err)
	lost.Unpaid, lost.OverdrawnAt = market.Amount{}, 0
	assert.Equal(t, lost, got)
}

func TestMigrationOfAStoreWithoutParametersFails(t *testing.T) {
	f := newFixture(t)
	require.NoError(t, f.store.OpenKVStore(f.ctx).Delete([]byte{0}))
	require.ErrorIs(t, f.Migrate1to2(f.ctx), market.ErrInvalid)
}
