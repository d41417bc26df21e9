package chaintest_test

import (
	"testing"
	"time"

	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/x/authz"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	"github.com/cosmos/cosmos-sdk/x/feegrant"
	gogoproto "github.com/cosmos/gogoproto/proto"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/chaintest"
	"github.com/moorage-dev/moorage/market/chain/client"
	"github.com/moorage-dev/moorage/market/chain/keys"
	"github.com/moorage-dev/moorage/market/chain/marketpb"
	"github.com/moorage-dev/moorage/market/markettest"
)

// roles is a chain with an owner of deployments, a provider, and a delegate who
// owns nothing but an account.
type roles struct {
	t               *testing.T
	w               *world
	owner, provider *client.Client
	delegate        *keys.Key
	// acting is the delegate's client, which acts for the owner.
	acting *client.Client
}

func newRoles(t *testing.T, deployments int) *roles {
	t.Helper()
	w := newWorld(t, 3, nil)
	r := &roles{t: t, w: w, owner: tenant(t, w, client.Config{}), provider: tenant(t, w, client.Config{})}
	r.delegate = w.free[0]
	r.acting = tenant(t, w, client.Config{Granter: r.owner.Address()})
	for i := range deployments {
		_, err := r.owner.Submit(t.Context(), deployment(r.owner, uint64(i+1)))
		require.NoError(t, err)
	}
	return r
}

func (r *roles) id(dseq uint64) market.DeploymentID {
	return market.DeploymentID{Owner: r.owner.Address(), DSeq: dseq}
}

// entry is a grant for one deployment, without bounds.
func (r *roles) entry(dseq uint64) marketpb.DeploymentGrant {
	return marketpb.DeploymentGrant{Owner: string(r.owner.Address()), Dseq: dseq}
}

// grant lets the delegate have a role until a time.
func (r *roles) grant(role marketpb.Role, until *time.Time, grants ...marketpb.DeploymentGrant) error {
	r.t.Helper()
	msg, err := marketpb.NewGrant(r.owner.Address(), r.delegate.Address(), &marketpb.DeploymentAuthorization{Role: role, Grants: grants}, until)
	require.NoError(r.t, err)
	_, err = r.owner.SubmitWire(r.t.Context(), msg)
	return err
}

func coins(n int64) sdk.Coins { return sdk.NewCoins(sdk.NewInt64Coin("uakt", n)) }

// requireRule makes sure that the market refused by a rule.
func requireRule(t *testing.T, err error, rule string) {
	t.Helper()
	var broken *market.RuleError
	require.ErrorAs(t, err, &broken)
	require.Equal(t, rule, broken.Rule)
}

// requireNotGranted makes sure that the SDK knows of no authorization.
func requireNotGranted(t *testing.T, err error) {
	t.Helper()
	require.ErrorContains(t, err, "authorization not found")
}

func (r *roles) deposit(dseq, amount uint64) error {
	_, err := r.acting.Submit(r.t.Context(), market.DepositDeployment{
		ID: r.id(dseq), Depositor: r.owner.Address(), Amount: market.NewCoin("uakt", amount),
	})
	return err
}

func TestADelegateDepositsUpToALimit(t *testing.T) {
	r := newRoles(t, 3)
	requireNotGranted(t, r.deposit(1, 1))
	first, second := r.entry(1), r.entry(2)
	first.SpendLimit, second.SpendLimit = coins(400_000), coins(50_000)
	require.NoError(t, r.grant(marketpb.ROLE_DEPOSIT, nil, first))
	require.NoError(t, r.grant(marketpb.ROLE_DEPOSIT, nil, second))

	before, err := r.owner.Balances(t.Context(), r.owner.Address())
	require.NoError(t, err)
	require.NoError(t, r.deposit(1, 300_000))
	for b, err := range r.owner.Watch(t.Context(), r.w.chain.Height()) {
		require.NoError(t, err)
		require.Len(t, b.Events, 1, "what a delegate does is told as if the owner had done it")
		assert.Equal(t, r.id(1), b.Events[0].ID.DeploymentID)
		break
	}
	requireRule(t, r.deposit(1, 100_001), "grant-spend-limit")
	requireRule(t, r.deposit(2, 50_001), "grant-spend-limit")
	requireRule(t, r.deposit(3, 1), "grant-deployment")
	require.NoError(t, r.deposit(1, 100_000))
	requireRule(t, r.deposit(1, 1), "grant-deployment") // used up
	require.NoError(t, r.deposit(2, 50_000))
	requireNotGranted(t, r.deposit(2, 1))

	after, err := r.owner.Balances(t.Context(), r.owner.Address())
	require.NoError(t, err)
	left, err := after.Of("uakt").Add(market.NewAmount(450_000))
	require.NoError(t, err)
	assert.Equal(t, before.Of("uakt"), left, "the money is the granter's")
	require.NoError(t, r.w.chain.Check())
}

func TestALimitIsUsedUpInsideOneTransaction(t *testing.T) {
	r := newRoles(t, 1)
	e := r.entry(1)
	e.SpendLimit = coins(100)
	require.NoError(t, r.grant(marketpb.ROLE_DEPOSIT, nil, e))
	m := market.DepositDeployment{ID: r.id(1), Depositor: r.owner.Address(), Amount: market.NewCoin("uakt", 60)}
	_, err := r.acting.Submit(t.Context(), m, m)
	requireRule(t, err, "grant-spend-limit")
	require.NoError(t, r.deposit(1, 100), "nothing was used by what was refused")
}

func TestGrantsForDeploymentsDoNotOverwriteOneAnother(t *testing.T) {
	r := newRoles(t, 4)
	soon, later := r.w.chain.Time().Add(time.Hour), r.w.chain.Time().Add(10*time.Hour)
	require.NoError(t, r.grant(marketpb.ROLE_CLOSE, &soon, r.entry(1)))
	require.NoError(t, r.grant(marketpb.ROLE_CLOSE, &later, r.entry(2)))
	require.NoError(t, r.grant(marketpb.ROLE_CLOSE, nil, r.entry(3)))
	require.NoError(t, r.grant(marketpb.ROLE_UPDATE, nil, r.entry(1), r.entry(4)))
	past := r.w.chain.Time()
	ended := r.entry(4)
	ended.ExpiresAt = &past
	require.NoError(t, r.grant(marketpb.ROLE_UPDATE, nil, ended), "an expired grant takes back")

	update := func(dseq uint64) error {
		_, err := r.acting.Submit(t.Context(), market.UpdateDeployment{ID: r.id(dseq), Hash: market.Hash{9}})
		return err
	}
	closeIt := func(dseq uint64) error {
		_, err := r.acting.Submit(t.Context(), market.CloseDeployment{ID: r.id(dseq)})
		return err
	}
	require.NoError(t, update(1))
	requireRule(t, update(2), "grant-deployment")
	requireRule(t, update(4), "grant-deployment")
	require.NoError(t, r.w.chain.AdvanceTime(2*time.Hour))
	requireRule(t, closeIt(1), "grant-deployment") // its hour is over, the others' not
	require.NoError(t, closeIt(2))
	require.NoError(t, closeIt(3))

	ended = r.entry(1)
	ended.ExpiresAt = &past
	require.NoError(t, r.grant(marketpb.ROLE_UPDATE, nil, ended))
	requireNotGranted(t, update(1))
	_, err := r.owner.SubmitWire(t.Context(), &authz.MsgRevoke{
		Granter: string(r.owner.Address()), Grantee: string(r.delegate.Address()), MsgTypeUrl: sdk.MsgTypeURL(&marketpb.MsgCloseDeployment{}),
	})
	require.NoError(t, err)
	requireNotGranted(t, closeIt(3))
}

// leased makes deployment 1 a lease of two units that scale from 1 to 5, at 1.5
// per replica and block.
func (r *roles) leased() market.LeaseID {
	t := r.t
	t.Helper()
	create := deployment(r.owner, 1)
	unit := create.Groups[0].Units[0]
	unit.MinCount, unit.MaxCount = 1, 5
	other := unit
	other.Resources.ID = 2
	create.Groups[0].Units = []market.ResourceUnit{unit, other}
	_, err := r.owner.Submit(t.Context(), create)
	require.NoError(t, err)
	each := unit.Price.AmountPerBlock
	both, err := each.Times(2)
	require.NoError(t, err)
	bid := market.CreateBid{
		ID:    market.BidID{OrderID: market.OrderID{GroupID: market.GroupID{DeploymentID: create.ID, GSeq: 1}, OSeq: 1}, Provider: r.provider.Address()},
		Price: market.Price{Denom: "uakt", AmountPerBlock: both}, Deposit: market.NewCoin("uakt", 500_000),
		Units: []market.UnitPrice{{Unit: 1, AmountPerBlock: each}, {Unit: 2, AmountPerBlock: each}},
	}
	_, err = r.provider.Submit(t.Context(), market.CreateProvider{Provider: market.Provider{Owner: r.provider.Address(), HostURI: "https://p.example"}}, bid)
	require.NoError(t, err)
	_, err = r.owner.Submit(t.Context(), market.CreateLease{ID: bid.ID})
	require.NoError(t, err)
	return bid.ID.Lease()
}

func price(t *testing.T, amount string) market.Price {
	t.Helper()
	d, err := market.ParseDecimal(amount)
	require.NoError(t, err)
	return market.Price{Denom: "uakt", AmountPerBlock: d}
}

func TestAScaleOnlyDelegateStaysWithinItsBounds(t *testing.T) {
	r := newRoles(t, 0)
	id := r.leased()
	e := r.entry(1)
	most := marketpb.FromPrice(price(t, "6"))
	e.Counts, e.MaxPrice = []marketpb.CountRange{{Gseq: 1, Unit: 1, Min: 1, Max: 3}}, &most
	require.NoError(t, r.grant(marketpb.ROLE_SCALE, nil, e))
	scale := func(unit, count uint32, most string, hash market.Hash) error {
		_, err := r.acting.Submit(t.Context(), market.ScaleLease{
			ID: id, Counts: []market.UnitCount{{Unit: unit, Count: count}}, MaxPrice: price(t, most), Hash: hash,
		})
		return err
	}
	requireRule(t, scale(1, 4, "6", market.Hash{}), "grant-count")
	requireRule(t, scale(2, 2, "6", market.Hash{}), "grant-count")
	requireRule(t, scale(1, 3, "6.000000000000000001", market.Hash{}), "grant-price")
	requireRule(t, scale(1, 3, "0", market.Hash{}), "grant-price")
	requireRule(t, scale(1, 3, "6", market.Hash{1}), "grant-hash")
	requireRule(t, scale(1, 3, "5.9", market.Hash{}), "scale-price-over-max") // the market holds it to its price
	_, err := r.owner.Submit(t.Context(), market.ScaleLease{ID: id, Counts: []market.UnitCount{{Unit: 1, Count: 2}}, Hash: market.Hash{7}})
	require.NoError(t, err)
	_, err = r.acting.Submit(t.Context(), market.ScaleLease{ID: id, MaxPrice: price(t, "6")})
	requireRule(t, err, "grant-count") // it would take back what the owner asked for
	l, err := r.owner.Lease(t.Context(), id)
	require.NoError(t, err)
	require.NotNil(t, l.Scale)
	require.NoError(t, scale(1, 3, "6", market.Hash{}))
	l, err = r.owner.Lease(t.Context(), id)
	require.NoError(t, err)
	require.NotNil(t, l.Scale)
	_, err = r.provider.Submit(t.Context(), market.ConfirmScale{ID: id, Number: l.Scale.Number})
	require.NoError(t, err)
	l, err = r.owner.Lease(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, price(t, "6"), l.Price)
	require.NoError(t, scale(1, 1, "6", market.Hash{}), "any number of times")

	_, err = r.acting.Submit(t.Context(), market.UpdateDeployment{ID: r.id(1), Hash: market.Hash{2}})
	requireNotGranted(t, err)
	_, err = r.acting.Submit(t.Context(), market.CloseDeployment{ID: r.id(1)})
	requireNotGranted(t, err)
	_, err = r.acting.Submit(t.Context(), market.CloseLease{ID: id})
	requireNotGranted(t, err)
}

func TestGrantsThatCannotBeUsedAreRefused(t *testing.T) {
	r := newRoles(t, 1)
	strange := marketpb.DeploymentGrant{Owner: string(r.provider.Address()), Dseq: 1}
	requireRule(t, r.grant(marketpb.ROLE_CLOSE, nil, strange), "grant-owner")
	strange.SpendLimit = coins(5)
	require.NoError(t, r.grant(marketpb.ROLE_DEPOSIT, nil, strange), "anyone may deposit for anyone")
	for from := uint64(1); from < 200; from += 50 {
		var many []marketpb.DeploymentGrant
		for dseq := from; dseq < from+50; dseq++ {
			many = append(many, r.entry(dseq))
		}
		err := r.grant(marketpb.ROLE_UPDATE, nil, many...)
		if from < marketpb.MaxGrants {
			require.NoError(t, err)
		} else {
			requireRule(t, err, "grant-count")
		}
	}
	// Not a bounded one: the SDK's own authorizations are as they were.
	expires := r.w.chain.Time().Add(time.Hour)
	generic, err := authz.NewMsgGrant(sdk.MustAccAddressFromBech32(string(r.owner.Address())), sdk.MustAccAddressFromBech32(string(r.delegate.Address())),
		authz.NewGenericAuthorization(sdk.MsgTypeURL(&marketpb.MsgPauseGroup{})), &expires)
	require.NoError(t, err)
	_, err = r.owner.SubmitWire(t.Context(), generic)
	require.NoError(t, err)
	_, err = r.acting.Submit(t.Context(), market.PauseGroup{ID: market.GroupID{DeploymentID: r.id(1), GSeq: 1}})
	require.NoError(t, err)
}

func TestFeesArePaidByWhoGrantsThem(t *testing.T) {
	poor := keys.FromSeed("poor", "an account without money")
	w := newWorld(t, 1, func(c *chaintest.Config) { c.App.MinGasPrices = "0.01uakt" })
	rich := tenant(t, w, client.Config{GasPrice: "0.01uakt"})
	at := func(a market.Address) sdk.AccAddress { return sdk.MustAccAddressFromBech32(string(a)) }
	limited, err := feegrant.NewAllowedMsgAllowance(&feegrant.BasicAllowance{SpendLimit: coins(100_000)},
		[]string{sdk.MsgTypeURL(&marketpb.MsgCreateProvider{})})
	require.NoError(t, err)
	allowance, err := feegrant.NewMsgGrantAllowance(limited, at(rich.Address()), at(poor.Address()))
	require.NoError(t, err)
	_, err = rich.SubmitWire(t.Context(), allowance)
	require.NoError(t, err)

	before, err := rich.Balances(t.Context(), rich.Address())
	require.NoError(t, err)
	c := tenant(t, w, client.Config{Signer: poor, GasPrice: "0.01uakt", FeeGranter: rich.Address()})
	receipt, err := c.Submit(t.Context(), market.CreateProvider{Provider: market.Provider{Owner: poor.Address(), HostURI: "https://p.example"}})
	require.NoError(t, err)
	after, err := rich.Balances(t.Context(), rich.Address())
	require.NoError(t, err)
	paid, err := before.Of("uakt").Sub(after.Of("uakt"))
	require.NoError(t, err)
	assert.Equal(t, receipt.Fee.Of("uakt"), paid)
	assert.False(t, paid.IsZero())
	_, err = c.Submit(t.Context(), market.DeleteProvider{Owner: poor.Address()})
	require.ErrorContains(t, err, "allowed", "only the message that is allowed is paid for")
	alone := tenant(t, w, client.Config{Signer: poor, GasPrice: "0.01uakt"})
	_, err = alone.Submit(t.Context(), market.DeleteProvider{Owner: poor.Address()})
	require.ErrorIs(t, err, market.ErrInsufficientFunds)
}

func TestGrantsOutliveAnExport(t *testing.T) {
	r := newRoles(t, 2)
	e := r.entry(1)
	e.SpendLimit = coins(70)
	require.NoError(t, r.grant(marketpb.ROLE_DEPOSIT, nil, e))
	g, err := r.w.chain.App().Export("later-1")
	require.NoError(t, err)
	later := newWorld(t, 0, func(c *chaintest.Config) { c.Export = g })
	acting, err := client.New(later.conn, client.Config{Signer: r.delegate, Granter: r.owner.Address(), Poll: time.Millisecond})
	require.NoError(t, err)
	m := market.DepositDeployment{ID: r.id(1), Depositor: r.owner.Address(), Amount: market.NewCoin("uakt", 70)}
	_, err = acting.Submit(t.Context(), m)
	require.NoError(t, err)
	_, err = acting.Submit(t.Context(), m)
	requireNotGranted(t, err)
}

func TestMessagesOfOtherModulesAreSubmittedAlike(t *testing.T) {
	w := newWorld(t, 2, nil)
	a, b := tenant(t, w, client.Config{}), tenant(t, w, client.Config{})
	send := &banktypes.MsgSend{FromAddress: string(a.Address()), ToAddress: string(b.Address()), Amount: coins(5)}
	receipt, err := a.SubmitWire(t.Context(), send, send)
	require.NoError(t, err)
	assert.Equal(t, w.chain.Height(), receipt.Height)
	got, err := b.Balances(t.Context(), b.Address())
	require.NoError(t, err)
	assert.Equal(t, market.NewAmount(markettest.Units+10), got.Of("uakt"))
	_, err = a.SubmitWire(t.Context())
	require.ErrorIs(t, err, market.ErrInvalid)
	_, err = b.SubmitWire(t.Context(), gogoproto.Message(send))
	require.Error(t, err, "it is signed by another")
	_, err = client.New(w.conn, client.Config{Granter: a.Address()})
	require.ErrorContains(t, err, "want a signer")
}
