package marketpb_test

import (
	"context"
	"testing"
	"time"

	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/marketpb"
)

// blockContext is what an authorization needs of a block.
func blockContext() context.Context {
	return sdk.Context{}.WithBlockTime(time.Unix(1_800_000_000, 0)).WithGasMeter(storetypes.NewInfiniteGasMeter())
}

// scaleOnly lets unit 1 of group 9 of deployment 1 be scaled from 1 to 3.
func scaleOnly() *marketpb.DeploymentAuthorization {
	return &marketpb.DeploymentAuthorization{Role: marketpb.ROLE_SCALE, Grants: []marketpb.DeploymentGrant{{
		Owner: "owner", Dseq: 1, Counts: []marketpb.CountRange{{Gseq: 9, Unit: 1, Min: 1, Max: 3}},
		MaxPrice: &marketpb.Price{Denom: "uakt", AmountPerBlock: "6"},
	}}}
}

func scaleMsg(gseq uint32, counts ...marketpb.UnitCount) *marketpb.MsgScaleLease {
	return &marketpb.MsgScaleLease{
		Owner: "owner", Dseq: 1, Gseq: gseq, Oseq: 1, Provider: "provider", Counts: counts,
		MaxPrice: &marketpb.Price{Denom: "uakt", AmountPerBlock: "6"},
	}
}

func TestAScaleGrantIsForItsGroupsAlone(t *testing.T) {
	a := scaleOnly()
	require.NoError(t, a.ValidateBasic())
	refused := map[string]*marketpb.MsgScaleLease{
		"no counts":                  scaleMsg(9),
		"no counts of another group": scaleMsg(1),
		"another group":              scaleMsg(1, marketpb.UnitCount{Unit: 1, Count: 2}),
		"another unit":               scaleMsg(9, marketpb.UnitCount{Unit: 2, Count: 2}),
		"one unit too many":          scaleMsg(9, marketpb.UnitCount{Unit: 1, Count: 2}, marketpb.UnitCount{Unit: 2, Count: 2}),
		"too many":                   scaleMsg(9, marketpb.UnitCount{Unit: 1, Count: 4}),
	}
	for name, msg := range refused {
		_, err := a.Accept(blockContext(), msg)
		var rule *market.RuleError
		require.ErrorAs(t, err, &rule, name)
		assert.Equal(t, "grant-count", rule.Rule, name)
	}
	r, err := a.Accept(blockContext(), scaleMsg(9, marketpb.UnitCount{Unit: 1, Count: 3}))
	require.NoError(t, err)
	assert.True(t, r.Accept)
}
