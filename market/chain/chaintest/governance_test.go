package chaintest_test

import (
	"math/rand" //nolint:depguard // what the SDK asks for
	"testing"
	"time"

	"github.com/cosmos/cosmos-sdk/crypto/keys/secp256k1"
	"github.com/cosmos/cosmos-sdk/testutil/sims"
	sdk "github.com/cosmos/cosmos-sdk/types"
	txtypes "github.com/cosmos/cosmos-sdk/types/tx"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	govtypes "github.com/cosmos/cosmos-sdk/x/gov/types"
	govv1 "github.com/cosmos/cosmos-sdk/x/gov/types/v1"
	upgradetypes "github.com/cosmos/cosmos-sdk/x/upgrade/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/app"
	"github.com/moorage-dev/moorage/market/chain/chaintest"
	"github.com/moorage-dev/moorage/market/chain/client"
	"github.com/moorage-dev/moorage/market/chain/marketpb"
	"github.com/moorage-dev/moorage/market/markettest"
)

// votingPeriod is how long governance votes in these tests, in block time.
const votingPeriod = 10 * time.Second

// governor is the operator of the only validator, who decides every vote.
type governor struct {
	t        *testing.T
	w        *world
	key      *secp256k1.PrivKey
	sequence uint64
	proposal uint64
}

func newGovernor(t *testing.T) *governor {
	t.Helper()
	key := secp256k1.GenPrivKeyFromSecret([]byte("governor"))
	address := market.Address(sdk.AccAddress(key.PubKey().Address()).String())
	w := newWorld(t, 1, func(c *chaintest.Config) {
		c.App.Home = t.TempDir()
		c.Genesis.VotingPeriod = votingPeriod
		c.Genesis.Validators = []app.Validator{{Operator: address}}
		c.Genesis.Accounts = append(c.Genesis.Accounts, app.Account{
			Address: address, Coins: market.Coins{market.NewCoin(app.DefaultStakeDenom, 1_000_000_000)},
		})
	})
	return &governor{t: t, w: w, key: key}
}

func (g *governor) address() string { return sdk.AccAddress(g.key.PubKey().Address()).String() }

func authority() string { return authtypes.NewModuleAddress(govtypes.ModuleName).String() }

// send has messages carried out.
func (g *governor) send(msgs ...sdk.Msg) {
	g.t.Helper()
	account := uint64(1) // the second of the genesis
	tx, err := sims.GenSignedMockTx(rand.New(rand.NewSource(1)), g.w.chain.App().TxConfig(), msgs, nil, 1_000_000, "chaintest",
		[]uint64{account}, []uint64{g.sequence}, g.key)
	require.NoError(g.t, err)
	g.sequence++
	raw, err := g.w.chain.App().TxConfig().TxEncoder()(tx)
	require.NoError(g.t, err)
	res, err := txtypes.NewServiceClient(g.w.conn).BroadcastTx(g.t.Context(), &txtypes.BroadcastTxRequest{
		TxBytes: raw, Mode: txtypes.BroadcastMode_BROADCAST_MODE_SYNC,
	})
	require.NoError(g.t, err)
	require.Zero(g.t, res.TxResponse.Code, res.TxResponse.RawLog)
}

// decide proposes a message, votes for it and waits until it is carried out.
func (g *governor) decide(msg sdk.Msg) {
	g.t.Helper()
	deposit := sdk.NewCoins(sdk.NewInt64Coin(app.DefaultStakeDenom, 10_000_000))
	proposal, err := govv1.NewMsgSubmitProposal([]sdk.Msg{msg}, deposit, g.address(), "", "a change", "a change", false)
	require.NoError(g.t, err)
	g.send(proposal)
	g.proposal++
	g.send(&govv1.MsgVote{ProposalId: g.proposal, Voter: g.address(), Option: govv1.OptionYes})
	require.NoError(g.t, g.w.chain.Advance(int(votingPeriod/time.Second)+1))
}

func TestGovernanceChangesTheRules(t *testing.T) {
	g := newGovernor(t)
	c := tenant(t, g.w, client.Config{})
	want := markettest.Params()
	want.FeePerMyriad = 77
	g.decide(&marketpb.MsgUpdateParams{Authority: authority(), Params: marketpb.FromParams(want)})
	got, err := c.Params(t.Context())
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

func TestAPlannedUpgradeStopsTheOldProgram(t *testing.T) {
	g := newGovernor(t)
	height := g.w.chain.Height() + 30
	g.decide(&upgradetypes.MsgSoftwareUpgrade{Authority: authority(), Plan: upgradetypes.Plan{Name: "next", Height: height}})
	require.NoError(t, g.w.chain.Advance(int(height-g.w.chain.Height()-1)))
	err := g.w.chain.Advance(1)
	require.ErrorContains(t, err, `upgrade "next" is due`)
	require.ErrorContains(t, err, "run the program that brings it")
}
