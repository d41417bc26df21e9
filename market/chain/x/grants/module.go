// Package grants is the SDK's module of authorizations (x/authz), with one
// change: what is granted for one deployment does not overwrite what was
// granted for another.
//
// The SDK keeps one authorization per granter, grantee and message. Here, when
// MsgGrant brings a [marketpb.DeploymentAuthorization], it is merged with the
// one that stands, deployment by deployment, with an expiry each. Everything
// else is the SDK's: other authorizations, MsgRevoke, MsgExec, queries, genesis.
//
// Start with [New], in place of the SDK's NewAppModule.
package grants

import (
	"context"

	"github.com/cosmos/cosmos-sdk/codec"
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/module"
	"github.com/cosmos/cosmos-sdk/x/authz"
	authzkeeper "github.com/cosmos/cosmos-sdk/x/authz/keeper"
	authzmodule "github.com/cosmos/cosmos-sdk/x/authz/module"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/marketpb"
)

var _ module.HasServices = Module{}

// Module is the SDK's module with another answer to MsgGrant.
type Module struct {
	authzmodule.AppModule
	keeper authzkeeper.Keeper
}

// New makes the module around the SDK's keeper.
func New(c codec.Codec, k authzkeeper.Keeper, a authz.AccountKeeper, b authz.BankKeeper, r codectypes.InterfaceRegistry) Module {
	return Module{authzmodule.NewAppModule(c, k, a, b, r), k.SetBankKeeper(b)}
}

// RegisterServices implements [module.HasServices].
func (m Module) RegisterServices(c module.Configurator) {
	authz.RegisterQueryServer(c.QueryServer(), m.keeper)
	authz.RegisterMsgServer(c.MsgServer(), server{m.keeper})
	if err := c.RegisterMigration(authz.ModuleName, 1, authzkeeper.NewMigrator(m.keeper).Migrate1to2); err != nil {
		panic(err) // the migration is constant
	}
}

// server is the SDK's server but for Grant.
type server struct{ authzkeeper.Keeper }

// Grant implements [authz.MsgServer].
func (s server) Grant(ctx context.Context, m *authz.MsgGrant) (*authz.MsgGrantResponse, error) {
	wanted, err := m.GetAuthorization()
	if err != nil {
		return nil, err
	}
	next, ok := wanted.(*marketpb.DeploymentAuthorization)
	if !ok {
		return s.Keeper.Grant(ctx, m)
	}
	if err := check(m, next); err != nil {
		return nil, marketpb.WireError(err)
	}
	granter, err := sdk.AccAddressFromBech32(m.Granter)
	if err != nil {
		return nil, err
	}
	grantee, err := sdk.AccAddressFromBech32(m.Grantee)
	if err != nil {
		return nil, err
	}
	stands, until := s.GetAuthorization(ctx, grantee, granter, next.MsgTypeURL())
	old, _ := stands.(*marketpb.DeploymentAuthorization) // another kind is overwritten, as in the SDK
	merged, err := marketpb.Merge(marketpb.Lasting{Authorization: old, ExpiresAt: until},
		marketpb.Lasting{Authorization: next, ExpiresAt: m.Grant.Expiration}, sdk.UnwrapSDKContext(ctx).BlockTime())
	if err != nil {
		return nil, marketpb.WireError(err)
	}
	if len(merged.Authorization.Grants) == 0 {
		if stands == nil {
			return nil, authz.ErrNoAuthorizationFound
		}
		return &authz.MsgGrantResponse{}, s.DeleteGrant(ctx, grantee, granter, next.MsgTypeURL())
	}
	saved := &authz.MsgGrant{Granter: m.Granter, Grantee: m.Grantee, Grant: authz.Grant{Expiration: merged.ExpiresAt}}
	if err := saved.SetAuthorization(merged.Authorization); err != nil {
		return nil, err
	}
	return s.Keeper.Grant(ctx, saved)
}

// check refuses what could never be used: only its owner can let others update
// or close a deployment. Deposits come from the granter's own money and may be
// for anyone's deployment.
func check(m *authz.MsgGrant, a *marketpb.DeploymentAuthorization) error {
	if err := a.ValidateBasic(); err != nil {
		return err
	}
	for _, g := range a.Grants {
		if a.Role != marketpb.ROLE_DEPOSIT && g.Owner != m.Granter {
			return market.Refuse(market.ErrUnauthorized, "grant-owner", "deployment %s/%d does not belong to %s", g.Owner, g.Dseq, m.Granter)
		}
	}
	return nil
}
