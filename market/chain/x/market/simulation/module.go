// Package simulation lets the SDK's simulator trade on the market: random
// accounts offer, ask, scale, pay and close, as messages of signed transactions
// on a whole application.
//
// Start with [New] and hand the module to the SDK's simulation manager in place
// of the market's own. What the market refuses counts as nothing done; every
// other failure ends the simulation. Turn the application's own check of
// invariants on (CheckEvery of package market/chain/app).
package simulation

import (
	"context"
	"errors"
	"fmt"
	"math/rand" //nolint:depguard // the simulator's source of randomness
	"strings"

	"github.com/cosmos/cosmos-sdk/baseapp"
	"github.com/cosmos/cosmos-sdk/client"
	"github.com/cosmos/cosmos-sdk/testutil/sims"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/kv"
	sdkmodule "github.com/cosmos/cosmos-sdk/types/module"
	simtypes "github.com/cosmos/cosmos-sdk/types/simulation"
	simulator "github.com/cosmos/cosmos-sdk/x/simulation"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/marketpb"
	"github.com/moorage-dev/moorage/market/chain/x/market/keeper"
	"github.com/moorage-dev/moorage/market/machine"
)

var _ sdkmodule.AppModuleSimulation = (*Module)(nil)

// AccountKeeper is what the simulation needs of accounts.
type AccountKeeper interface {
	GetAccount(ctx context.Context, a sdk.AccAddress) sdk.AccountI
}

// Module is the market for the SDK's simulation manager. It is used by one
// simulation, in one goroutine.
type Module struct {
	keeper   *keeper.Keeper
	accounts AccountKeeper
	tx       client.TxConfig
	done     map[string]int
	refused  map[string]int
}

// New makes the module.
func New(k *keeper.Keeper, a AccountKeeper, tx client.TxConfig) *Module {
	return &Module{keeper: k, accounts: a, tx: tx, done: make(map[string]int), refused: make(map[string]int)}
}

// Done counts the messages that were carried out, by name.
func (m *Module) Done() map[string]int { return m.done }

// Refused counts what the market refused, by message and rule.
func (m *Module) Refused() map[string]int { return m.refused }

// Kinds lists the names of the messages that the simulation sends.
func Kinds() []string {
	var names []string
	for _, k := range kinds() {
		names = append(names, k.name)
	}
	return names
}

// GenerateGenesisState implements [sdkmodule.AppModuleSimulation]: a market
// whose deposits are small and whose terms are short, so that accounts run dry
// and orders expire within a simulation.
func (*Module) GenerateGenesisState(s *sdkmodule.SimulationState) {
	p := market.DefaultParams(s.BondDenom)
	p.MinDeposits = market.Coins{market.NewCoin(s.BondDenom, minDeposit)}
	p.BidDeposits = market.Coins{market.NewCoin(s.BondDenom, 1)}
	p.MaxBids = uint32(1 + s.Rand.Intn(5))
	p.OrderLifetimeBlocks = int64(s.Rand.Intn(60))
	p.GraceBlocks = int64(s.Rand.Intn(20))
	p.ScaleBlocks = int64(s.Rand.Intn(10))
	p.MaxReclaimBlocks = maxReclaim
	p.FeePerMyriad = uint32(s.Rand.Intn(market.MaxMyriad))
	s.GenState[keeper.ModuleName] = s.Cdc.MustMarshalJSON(marketpb.FromGenesis(p, machine.Genesis{}))
}

// Bounds of what is simulated.
const (
	minDeposit = 100
	// share makes the market most of what happens on a chain with the
	// SDK's modules.
	share      = 8
	maxReclaim = 20
)

// RegisterStoreDecoder implements [sdkmodule.AppModuleSimulation].
func (*Module) RegisterStoreDecoder(r simtypes.StoreDecoderRegistry) {
	r[keeper.StoreKey] = func(a, b kv.Pair) string { return fmt.Sprintf("%x => %x\n%x => %x", a.Key, a.Value, b.Key, b.Value) }
}

// WeightedOperations implements [sdkmodule.AppModuleSimulation].
func (m *Module) WeightedOperations(sdkmodule.SimulationState) []simtypes.WeightedOperation {
	var out []simtypes.WeightedOperation
	for _, k := range kinds() {
		out = append(out, simulator.NewWeightedOperation(share*k.weight, m.operation(k)))
	}
	return out
}

// operation sends one message of a kind.
func (m *Module) operation(k kind) simtypes.Operation {
	return func(r *rand.Rand, app *baseapp.BaseApp, ctx sdk.Context, accounts []simtypes.Account, chainID string) (simtypes.OperationMsg, []simtypes.FutureOperation, error) {
		params, err := m.keeper.Params(ctx)
		if err != nil {
			return simtypes.NoOpMsg(keeper.ModuleName, k.name, "no parameters"), nil, err
		}
		w := &world{Rand: r, State: m.keeper.State(ctx), params: params, accounts: accounts, height: ctx.BlockHeight()}
		msg := k.make(w)
		if w.err != nil || msg == nil {
			return simtypes.NoOpMsg(keeper.ModuleName, k.name, "nothing to do"), nil, w.err
		}
		wire, err := marketpb.FromMsg(msg)
		if err != nil {
			return simtypes.NoOpMsg(keeper.ModuleName, k.name, "no wire form"), nil, err
		}
		refusal, err := m.deliver(r, app, ctx, w.account(msg.Signer()), wire, chainID)
		if refusal == "" && err == nil {
			m.done[k.name]++
		} else if err == nil {
			m.refused[k.name+" "+refusal]++
		}
		return simtypes.NewOperationMsg(wire, refusal == "" && err == nil, refusal), nil, err
	}
}

// deliver has a transaction carried out. It returns the rule by which the market
// refused it, empty when it did not.
func (m *Module) deliver(r *rand.Rand, app *baseapp.BaseApp, ctx sdk.Context, by simtypes.Account, msg sdk.Msg, chainID string) (refusal string, err error) {
	account := m.accounts.GetAccount(ctx, by.Address)
	if account == nil {
		return "no-account", nil
	}
	tx, err := sims.GenSignedMockTx(r, m.tx, []sdk.Msg{msg}, nil, sims.DefaultGenTxGas, chainID,
		[]uint64{account.GetAccountNumber()}, []uint64{account.GetSequence()}, by.PrivKey)
	if err != nil {
		return "", err
	}
	_, _, err = app.SimDeliver(m.tx.TxEncoder(), tx)
	if err == nil {
		return "", nil
	}
	if rule, ok := errors.AsType[*market.RuleError](err); ok {
		return rule.Rule, nil
	}
	if space, code := marketpb.Code(err); space == marketpb.Codespace {
		return fmt.Sprint(marketpb.SentinelOf(code)), nil
	}
	return "", fmt.Errorf("simulation: %s: %w", strings.TrimPrefix(sdk.MsgTypeURL(msg), "/"), err)
}
