package marketpb_test

import (
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"testing"
	"time"

	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/marketpb"
	"github.com/moorage-dev/moorage/market/machine"
)

// fill sets every field of a value to something that is not zero, so that a
// conversion that forgets a field shows.
func fill(rt *rapid.T, v reflect.Value) {
	switch v.Interface().(type) {
	case market.Amount:
		n := new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 1, 16).Draw(rt, "amount"))
		a, _ := market.AmountFromBig(n.Add(n.Rsh(n, 1), big.NewInt(1)))
		v.Set(reflect.ValueOf(a))
		return
	case market.Decimal:
		n := new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 1, 16).Draw(rt, "decimal"))
		d, _ := market.DecimalFromRaw(n.Add(n.Rsh(n, 1), big.NewInt(1)))
		v.Set(reflect.ValueOf(d))
		return
	case market.Coins:
		v.Set(reflect.ValueOf(market.Coins{market.NewCoin("uact", 7), market.NewCoin("uakt", rapid.Uint64Min(1).Draw(rt, "coin"))}))
		return
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(rapid.Int64Range(1, 1<<33).Draw(rt, "time"), 5).UTC()))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(rt, v.Field(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(rt, v.Elem())
	case reflect.Slice:
		n := rapid.IntRange(1, 3).Draw(rt, "length")
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(rt, v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(rt, v.Index(i))
		}
	case reflect.String:
		v.SetString(rapid.StringMatching("[a-z][a-z0-9]{3,12}").Draw(rt, "text"))
	case reflect.Uint8:
		v.SetUint(uint64(rapid.Uint8Min(1).Draw(rt, "byte")))
	case reflect.Uint32:
		v.SetUint(uint64(rapid.Uint32Min(1).Draw(rt, "number")))
	case reflect.Uint64:
		v.SetUint(rapid.Uint64Min(1).Draw(rt, "number"))
	case reflect.Int64:
		v.SetInt(rapid.Int64Min(1).Draw(rt, "number"))
	default:
		panic(fmt.Sprintf("fill: %s", v.Type()))
	}
}

type wire[P any] interface {
	*P
	Marshal() ([]byte, error)
	Unmarshal([]byte) error
}

func roundTrip[V, P any, W wire[P]](t *testing.T, from func(V) P, to func(P) (V, error)) {
	t.Helper()
	t.Run(reflect.TypeFor[V]().Name(), rapid.MakeCheck(func(rt *rapid.T) {
		var v V
		fill(rt, reflect.ValueOf(&v).Elem())
		p := from(v)
		raw, err := W(&p).Marshal()
		require.NoError(rt, err)
		var q P
		require.NoError(rt, W(&q).Unmarshal(raw))
		got, err := to(q)
		require.NoError(rt, err)
		require.Equal(rt, v, got)
	}))
}

func TestEveryFieldSurvivesTheWire(t *testing.T) {
	roundTrip(t, marketpb.FromDeployment, marketpb.ToDeployment)
	roundTrip(t, marketpb.FromGroup, marketpb.ToGroup)
	roundTrip(t, marketpb.FromOrder, marketpb.ToOrder)
	roundTrip(t, marketpb.FromBid, marketpb.ToBid)
	roundTrip(t, marketpb.FromLease, marketpb.ToLease)
	roundTrip(t, marketpb.FromAccount, marketpb.ToAccount)
	roundTrip(t, marketpb.FromPayment, marketpb.ToPayment)
	roundTrip(t, marketpb.FromRetainer, marketpb.ToRetainer)
	roundTrip(t, marketpb.FromProvider, marketpb.ToProvider)
	roundTrip(t, marketpb.FromCertificate, marketpb.ToCertificate)
	roundTrip(t, marketpb.FromAudit, marketpb.ToAudit)
}

func TestParamsSurviveTheWire(t *testing.T) {
	want := market.DefaultParams("uakt", "uact")
	v := reflect.ValueOf(&want).Elem()
	n := uint64(1)
	for _, part := range []reflect.Value{v, v.FieldByName("Limits")} {
		for i := range part.NumField() {
			switch f := part.Field(i); f.Kind() {
			case reflect.Uint32, reflect.Uint64:
				f.SetUint(n)
			case reflect.Int64:
				f.SetInt(int64(n))
			default: // deposits and limits have been set
			}
			n++
		}
	}
	got, err := marketpb.ToParams(marketpb.FromParams(want))
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

func TestGenesisSurvivesTheWire(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var want machine.Genesis
		fill(rt, reflect.ValueOf(&want).Elem())
		raw, err := marketpb.FromGenesis(market.DefaultParams("uakt"), want).Marshal()
		require.NoError(rt, err)
		var p marketpb.GenesisState
		require.NoError(rt, p.Unmarshal(raw))
		params, got, err := marketpb.ToGenesis(&p)
		require.NoError(rt, err)
		require.Equal(rt, want, got)
		require.Equal(rt, market.DefaultParams("uakt"), params)
	})
}

// messages returns one of each message of package market.
func messages() []market.Msg {
	return []market.Msg{
		market.CreateDeployment{}, market.UpdateDeployment{}, market.DepositDeployment{}, market.CloseDeployment{},
		market.CloseGroup{}, market.PauseGroup{}, market.StartGroup{}, market.CreateBid{}, market.CloseBid{},
		market.CreateLease{}, market.CloseLease{}, market.WithdrawLease{}, market.CreateProvider{},
		market.UpdateProvider{}, market.DeleteProvider{}, market.CreateCertificate{}, market.RevokeCertificate{},
		market.SignAudit{}, market.RevokeAudit{}, market.ScaleLease{}, market.ConfirmScale{}, market.DeclineScale{},
		market.OpenRetainer{}, market.DepositRetainer{}, market.WithdrawRetainer{}, market.CloseRetainer{},
	}
}

func TestEveryMessageSurvivesTheWire(t *testing.T) {
	for _, zero := range messages() {
		t.Run(reflect.TypeOf(zero).Name(), rapid.MakeCheck(func(rt *rapid.T) {
			v := reflect.New(reflect.TypeOf(zero)).Elem()
			fill(rt, v)
			want := v.Interface().(market.Msg)
			switch m := want.(type) { // the height is the chain's, not the signer's
			case market.CreateProvider:
				m.Provider.CreatedAt = 0
				want = m
			case market.UpdateProvider:
				m.Provider.CreatedAt = 0
				want = m
			}
			p, err := marketpb.FromMsg(want)
			require.NoError(rt, err)
			got, err := p.Market()
			require.NoError(rt, err)
			require.Equal(rt, want, got)
			require.Equal(rt, want.Signer(), got.Signer())
		}))
	}
}

type otherMsg struct{}

func (otherMsg) Signer() market.Address { return "x" }

func TestAMessageOfAnotherPackageIsInvalid(t *testing.T) {
	_, err := marketpb.FromMsg(otherMsg{})
	require.ErrorIs(t, err, market.ErrInvalid)
}

func TestEveryEventSurvivesTheWire(t *testing.T) {
	for kind := market.EventDeploymentCreated; kind <= market.EventRetainerClosed; kind++ {
		t.Run(kind.String(), rapid.MakeCheck(func(rt *rapid.T) {
			want := market.Event{Kind: kind}
			if kind >= market.EventRetainerOpened {
				fill(rt, reflect.ValueOf(&want.Retainer).Elem())
				want.ID.Owner, want.ID.Provider = want.Retainer.Owner, want.Retainer.Provider
			} else {
				fill(rt, reflect.ValueOf(&want.ID).Elem())
			}
			name, attributes := marketpb.FromEvent(want)
			got, ok := marketpb.ToEvent(name, attributes)
			require.True(rt, ok)
			require.Equal(rt, want, got)
			typed := sdk.NewEvent(name)
			for _, a := range attributes {
				typed = typed.AppendAttributes(sdk.NewAttribute(a.Key, a.Value))
			}
			_, err := sdk.ParseTypedEvent(sdk.Events{typed}.ToABCIEvents()[0])
			require.NoError(rt, err, "the SDK reads it as a typed event")
		}))
	}
}

func TestOtherEventsAreNotOurs(t *testing.T) {
	for _, name := range []string{"", "transfer", "moorage.market.v1.Event", "moorage.market.v1.EventNever"} {
		_, ok := marketpb.ToEvent(name, nil)
		assert.False(t, ok, name)
	}
	_, ok := marketpb.ToEvent("moorage.market.v1.EventOrderCreated", []marketpb.EventAttribute{{Key: "dseq", Value: `"x"`}})
	assert.False(t, ok, "a number that is none")
}

func TestErrorsComeBackFromTheirText(t *testing.T) {
	for _, sentinel := range []error{
		market.ErrNotFound, market.ErrExists, market.ErrInvalid, market.ErrState, market.ErrUnauthorized,
		market.ErrInsufficientFunds, market.ErrLimit, market.ErrMismatch, market.ErrOverflow, market.ErrUnavailable,
	} {
		want := market.Refuse(sentinel, "some-rule", "price %s: too high: by far", "3uakt")
		wrapped := fmt.Errorf("failed to execute message; message index: 0: %w", marketpb.WireError(want))
		got, ok := marketpb.ParseError(wrapped.Error() + " with gas used: '12'")
		require.True(t, ok)
		require.ErrorIs(t, got, sentinel)
		var rule *market.RuleError
		require.ErrorAs(t, got, &rule)
		assert.Equal(t, market.RuleError{Rule: "some-rule", Kind: sentinel, Detail: "price 3uakt: too high: by far"}, *rule)

		got, ok = marketpb.ParseError(marketpb.WireError(fmt.Errorf("market: thing: %w", sentinel)).Error())
		require.True(t, ok)
		require.ErrorIs(t, got, sentinel)
		assert.False(t, errors.As(got, &rule) && rule.Rule == "-")

		space, code := marketpb.Code(marketpb.WireError(want))
		assert.Equal(t, marketpb.Codespace, space)
		assert.Equal(t, sentinel, marketpb.SentinelOf(code))
	}
	_, ok := marketpb.ParseError("out of gas in location")
	assert.False(t, ok)
	assert.NoError(t, marketpb.SentinelOf(1))
}

func FuzzMessages(f *testing.F) {
	for i, m := range messages() {
		p, err := marketpb.FromMsg(m)
		require.NoError(f, err)
		raw, err := p.(interface{ Marshal() ([]byte, error) }).Marshal()
		require.NoError(f, err)
		f.Add(uint8(i), raw)
	}
	f.Fuzz(func(t *testing.T, which uint8, raw []byte) {
		p, err := marketpb.FromMsg(messages()[int(which)%len(messages())])
		require.NoError(t, err)
		if p.(interface{ Unmarshal([]byte) error }).Unmarshal(raw) != nil {
			return
		}
		m, err := p.Market()
		if err != nil {
			require.ErrorIs(t, err, market.ErrInvalid)
			return
		}
		again, err := marketpb.FromMsg(m)
		require.NoError(t, err)
		same, err := again.Market()
		require.NoError(t, err)
		require.Equal(t, m, same)
	})
}
