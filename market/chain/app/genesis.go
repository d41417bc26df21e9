package app

import (
	"encoding/json"
	"fmt"
	"time"

	"cosmossdk.io/math"
	cmttypes "github.com/cometbft/cometbft/types"
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	"github.com/cosmos/cosmos-sdk/crypto/keys/ed25519"
	sdk "github.com/cosmos/cosmos-sdk/types"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	genutiltypes "github.com/cosmos/cosmos-sdk/x/genutil/types"
	govtypes "github.com/cosmos/cosmos-sdk/x/gov/types"
	govv1 "github.com/cosmos/cosmos-sdk/x/gov/types/v1"
	minttypes "github.com/cosmos/cosmos-sdk/x/mint/types"
	stakingtypes "github.com/cosmos/cosmos-sdk/x/staking/types"
	"github.com/hashicorp/go-multierror"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/marketpb"
	marketkeeper "github.com/moorage-dev/moorage/market/chain/x/market/keeper"
	"github.com/moorage-dev/moorage/market/machine"
)

// DefaultStakeDenom is the denomination of validators' stakes when a genesis
// names no other.
const DefaultStakeDenom = "umoor"

// DefaultStake is what a validator of a genesis stakes when nothing else is
// said, in units of the stake's denomination.
const DefaultStake = 1_000_000_000

// Genesis says what a new chain begins with.
type Genesis struct {
	// ChainID is 1 to 50 characters.
	ChainID string
	// Time is written into the first block. It must not lie in the future:
	// CometBFT would wait for it. Zero is now.
	Time time.Time
	// StakeDenom is what validators stake and what minting makes more of; empty
	// is [DefaultStakeDenom].
	StakeDenom string
	// Validators make the blocks; at least one.
	Validators []Validator
	// Accounts have money from the beginning; each address at most once.
	Accounts []Account
	// Market are the rules of the market.
	Market market.Params
	// Audits are words of auditors that stand from the beginning, for chains
	// whose auditors do not sign themselves.
	Audits []market.Audit
	// VotingPeriod is how long governance votes; 0 is the SDK's two days.
	VotingPeriod time.Duration
	// Inflation lets the SDK mint stake for validators, 7 to 20 percent a year.
	// false makes no money, so that balances are easy to follow.
	Inflation bool
}

// Validator is a maker of blocks.
type Validator struct {
	// Moniker is a name for people.
	Moniker string
	// Key is the 32-byte ed25519 public key that signs blocks.
	Key []byte
	// Operator is the account that owns the validator. Empty is an account that
	// nobody has the key of.
	Operator market.Address
	// Stake is in units of the stake's denomination; 0 is [DefaultStake].
	Stake uint64
}

// Account is an account with money.
type Account struct {
	Address market.Address
	Coins   market.Coins
}

// NewGenesis makes the document that nodes of a new chain start from. The error
// lists all faults of the spec.
func (a *App) NewGenesis(g Genesis) (*genutiltypes.AppGenesis, error) {
	if g.StakeDenom == "" {
		g.StakeDenom = DefaultStakeDenom
	}
	if g.Time.IsZero() {
		g.Time = time.Now()
	}
	if err := g.check(); err != nil {
		return nil, err
	}
	state, err := a.genesisState(g)
	if err != nil {
		return nil, fmt.Errorf("app: genesis: %w", err)
	}
	raw, err := json.Marshal(state)
	if err != nil {
		return nil, fmt.Errorf("app: genesis: %w", err)
	}
	return &genutiltypes.AppGenesis{
		AppName: Name, AppVersion: appVersion, GenesisTime: g.Time.UTC().Truncate(time.Millisecond),
		ChainID: g.ChainID, InitialHeight: 1, AppState: raw,
		Consensus: &genutiltypes.ConsensusGenesis{Params: cmttypes.DefaultConsensusParams()},
	}, nil
}

func (g Genesis) check() error {
	var faults *multierror.Error
	bad := func(format string, args ...any) {
		faults = multierror.Append(faults, fmt.Errorf("app: genesis: "+format, args...))
	}
	if g.ChainID == "" || len(g.ChainID) > cmttypes.MaxChainIDLen {
		bad("chain id %q: want 1 to %d characters", g.ChainID, cmttypes.MaxChainIDLen)
	}
	if len(g.Validators) == 0 {
		bad("at least one validator")
	}
	for i, v := range g.Validators {
		if len(v.Key) != ed25519.PubKeySize {
			bad("validator %d: key of %d bytes, want %d", i, len(v.Key), ed25519.PubKeySize)
		}
		if _, err := sdk.AccAddressFromBech32(string(v.Operator)); v.Operator != "" && err != nil {
			bad("validator %d: operator %q: %w", i, v.Operator, err)
		}
	}
	seen := make(map[market.Address]bool)
	for _, acc := range g.Accounts {
		if _, err := sdk.AccAddressFromBech32(string(acc.Address)); err != nil {
			bad("account %q: %w", acc.Address, err)
		}
		if seen[acc.Address] {
			bad("account %s twice", acc.Address)
		}
		seen[acc.Address] = true
	}
	if err := g.Market.Validate(); err != nil {
		bad("%w", err)
	}
	if err := sdk.ValidateDenom(g.StakeDenom); err != nil {
		bad("stake: %w", err)
	}
	return faults.ErrorOrNil()
}

// genesisState starts from each module's default and fills in what the spec
// says.
func (a *App) genesisState(g Genesis) (map[string]json.RawMessage, error) {
	state := a.basics.DefaultGenesis(a.codec)
	staked, err := a.stakingGenesis(g)
	if err != nil {
		return nil, err
	}
	state[stakingtypes.ModuleName] = a.codec.MustMarshalJSON(staked)
	state[authtypes.ModuleName] = a.codec.MustMarshalJSON(accountGenesis(g))
	bank, err := bankGenesis(g)
	if err != nil {
		return nil, err
	}
	state[banktypes.ModuleName] = a.codec.MustMarshalJSON(bank)
	state[minttypes.ModuleName] = a.codec.MustMarshalJSON(mintGenesis(g))
	state[govtypes.ModuleName] = a.codec.MustMarshalJSON(govGenesis(g))
	state[marketkeeper.ModuleName] = a.codec.MustMarshalJSON(marketpb.FromGenesis(g.Market, machine.Genesis{Audits: g.Audits}))
	return state, nil
}

// operator returns the account that owns the validator.
func (v Validator) operator() sdk.AccAddress {
	if v.Operator == "" {
		return sdk.AccAddress((&ed25519.PubKey{Key: v.Key}).Address())
	}
	return sdk.MustAccAddressFromBech32(string(v.Operator)) // checked
}

func (v Validator) stake() math.Int {
	if v.Stake == 0 {
		return math.NewInt(DefaultStake)
	}
	return math.NewIntFromUint64(v.Stake)
}

// stakingGenesis gives each validator its stake, unbonded: the staking module
// bonds it at height 0 and tells slashing and distribution.
func (a *App) stakingGenesis(g Genesis) (*stakingtypes.GenesisState, error) {
	params := stakingtypes.DefaultParams()
	params.BondDenom = g.StakeDenom
	params.KeyRotationFee.Denom = g.StakeDenom
	out := stakingtypes.DefaultGenesisState()
	out.Params = params
	for _, v := range g.Validators {
		key, err := codectypes.NewAnyWithValue(&ed25519.PubKey{Key: v.Key})
		if err != nil {
			return nil, err
		}
		operator := sdk.ValAddress(v.operator()).String()
		shares := math.LegacyNewDecFromInt(v.stake())
		out.Validators = append(out.Validators, stakingtypes.Validator{
			OperatorAddress: operator, ConsensusPubkey: key, Status: stakingtypes.Unbonded,
			Tokens: v.stake(), DelegatorShares: shares, Description: stakingtypes.Description{Moniker: v.Moniker},
			Commission:        stakingtypes.NewCommission(math.LegacyZeroDec(), math.LegacyOneDec(), math.LegacyOneDec()),
			MinSelfDelegation: math.OneInt(), UnbondingTime: time.Unix(0, 0).UTC(),
		})
		out.Delegations = append(out.Delegations, stakingtypes.NewDelegation(v.operator().String(), operator, shares))
	}
	return out, nil
}

func accountGenesis(g Genesis) *authtypes.GenesisState {
	var accounts authtypes.GenesisAccounts
	seen := make(map[string]bool)
	add := func(a sdk.AccAddress) {
		if !seen[a.String()] {
			seen[a.String()] = true
			accounts = append(accounts, authtypes.NewBaseAccountWithAddress(a))
		}
	}
	for _, acc := range g.Accounts {
		add(sdk.MustAccAddressFromBech32(string(acc.Address))) // checked
	}
	for _, v := range g.Validators {
		add(v.operator())
	}
	return authtypes.NewGenesisState(authtypes.DefaultParams(), accounts)
}

func bankGenesis(g Genesis) (*banktypes.GenesisState, error) {
	out := banktypes.DefaultGenesisState()
	staked := math.ZeroInt()
	for _, v := range g.Validators {
		staked = staked.Add(v.stake())
	}
	pool := authtypes.NewModuleAddress(stakingtypes.NotBondedPoolName)
	out.Balances = append(out.Balances, banktypes.Balance{
		Address: pool.String(), Coins: sdk.NewCoins(sdk.NewCoin(g.StakeDenom, staked)),
	})
	for _, acc := range g.Accounts {
		coins := sdk.NewCoins(marketpb.FromCoins(acc.Coins)...)
		if err := coins.Validate(); err != nil {
			return nil, fmt.Errorf("account %s: %w", acc.Address, err)
		}
		if !coins.IsZero() {
			out.Balances = append(out.Balances, banktypes.Balance{Address: string(acc.Address), Coins: coins})
		}
	}
	return out, nil
}

func mintGenesis(g Genesis) *minttypes.GenesisState {
	out := minttypes.DefaultGenesisState()
	out.Params.MintDenom = g.StakeDenom
	if !g.Inflation {
		zero := math.LegacyZeroDec()
		out.Minter.Inflation = zero
		out.Params.InflationMin, out.Params.InflationMax, out.Params.InflationRateChange = zero, zero, zero
	}
	return out
}

func govGenesis(g Genesis) *govv1.GenesisState {
	out := govv1.DefaultGenesisState()
	for _, deposit := range [][]sdk.Coin{out.Params.MinDeposit, out.Params.ExpeditedMinDeposit} {
		for i := range deposit {
			deposit[i].Denom = g.StakeDenom
		}
	}
	if g.VotingPeriod > 0 {
		expedited := g.VotingPeriod / 2
		out.Params.VotingPeriod, out.Params.ExpeditedVotingPeriod = &g.VotingPeriod, &expedited
	}
	return out
}
