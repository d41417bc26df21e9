package marketpb_test

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/marketpb"
	"github.com/moorage-dev/moorage/market/machine"
)

// decoder is the way of one kind of value from the wire and back.
type decoder struct {
	// sample is a value in wire form with every field set.
	sample func(rt *rapid.T) []byte
	// read decodes raw and, if it is a value, checks that it survives the wire.
	read func(t *testing.T, raw []byte)
}

func decoderOf[V, P any, W wire[P]](from func(V) P, to func(P) (V, error)) decoder {
	return decoder{
		sample: func(rt *rapid.T) []byte {
			var v V
			fill(rt, reflect.ValueOf(&v).Elem())
			p := from(v)
			raw, err := W(&p).Marshal()
			require.NoError(rt, err)
			return raw
		},
		read: func(t *testing.T, raw []byte) {
			t.Helper()
			var p P
			if W(&p).Unmarshal(raw) != nil {
				return
			}
			v, err := to(p)
			if err != nil {
				require.ErrorIs(t, err, market.ErrInvalid)
				return
			}
			again, err := to(from(v))
			require.NoError(t, err)
			require.Equal(t, v, again)
		},
	}
}

func decoders() []decoder {
	return []decoder{
		decoderOf(marketpb.FromDeployment, marketpb.ToDeployment), decoderOf(marketpb.FromGroup, marketpb.ToGroup),
		decoderOf(marketpb.FromOrder, marketpb.ToOrder), decoderOf(marketpb.FromBid, marketpb.ToBid),
		decoderOf(marketpb.FromLease, marketpb.ToLease), decoderOf(marketpb.FromAccount, marketpb.ToAccount),
		decoderOf(marketpb.FromPayment, marketpb.ToPayment), decoderOf(marketpb.FromRetainer, marketpb.ToRetainer),
		decoderOf(marketpb.FromProvider, marketpb.ToProvider), decoderOf(marketpb.FromCertificate, marketpb.ToCertificate),
		decoderOf(marketpb.FromAudit, marketpb.ToAudit), decoderOf(marketpb.FromParams, marketpb.ToParams),
	}
}

// Whatever is read as a value of the market is one, or an invalid one.
func FuzzValues(f *testing.F) {
	params := marketpb.FromParams(market.DefaultParams("uakt", "uact"))
	raw, err := params.Marshal()
	require.NoError(f, err)
	all := decoders()
	f.Add(uint8(len(all)-1), raw)
	for i, d := range all[:len(all)-1] {
		f.Add(uint8(i), rapid.Custom(d.sample).Example(i))
	}
	f.Fuzz(func(t *testing.T, which uint8, raw []byte) { all[int(which)%len(all)].read(t, raw) })
}

// Whatever is read as a genesis can be written, and put into a state or refused.
func FuzzGenesis(f *testing.F) {
	for i := range 3 {
		f.Add(rapid.Custom(func(rt *rapid.T) []byte {
			var g machine.Genesis
			fill(rt, reflect.ValueOf(&g).Elem())
			raw, err := marketpb.FromGenesis(market.DefaultParams("uakt"), g).Marshal()
			require.NoError(rt, err)
			return raw
		}).Example(i))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var p marketpb.GenesisState
		if p.Unmarshal(raw) != nil {
			return
		}
		params, g, err := marketpb.ToGenesis(&p)
		if err != nil {
			return
		}
		_, same, err := marketpb.ToGenesis(marketpb.FromGenesis(params, g))
		require.NoError(t, err)
		require.Equal(t, g, same)
	})
}

// An authorization and the message it is asked about come from strangers: whatever
// they are, what is accepted is granted, and what is left is again an authorization.
func FuzzAuthorizations(f *testing.F) {
	a, err := scaleOnly().Marshal()
	require.NoError(f, err)
	m, err := scaleMsg(9, marketpb.UnitCount{Unit: 1, Count: 3}).Marshal()
	require.NoError(f, err)
	f.Add(a, m)
	f.Fuzz(func(t *testing.T, rawGrant, rawMsg []byte) {
		var a marketpb.DeploymentAuthorization
		if a.Unmarshal(rawGrant) != nil || a.ValidateBasic() != nil {
			return
		}
		var scale marketpb.MsgScaleLease
		if scale.Unmarshal(rawMsg) == nil {
			if r, err := a.Accept(blockContext(), &scale); err == nil {
				require.True(t, r.Accept)
				require.NotEmpty(t, scale.Counts)
				require.Empty(t, scale.Hash)
			}
		}
		var deposit marketpb.MsgDepositDeployment
		if deposit.Unmarshal(rawMsg) == nil {
			if r, err := a.Accept(blockContext(), &deposit); err == nil && !r.Delete {
				require.NoError(t, r.Updated.(*marketpb.DeploymentAuthorization).ValidateBasic())
			}
		}
	})
}

// Whatever governance is told to set is valid, or refused.
func FuzzUpdateParams(f *testing.F) {
	raw, err := (&marketpb.MsgUpdateParams{Authority: "gov", Params: marketpb.FromParams(market.DefaultParams("uakt"))}).Marshal()
	require.NoError(f, err)
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		var m marketpb.MsgUpdateParams
		if m.Unmarshal(raw) != nil {
			return
		}
		if p, err := marketpb.ToParams(m.Params); err == nil {
			require.NoError(t, p.Validate())
		}
	})
}

// Events come from nodes that one may not trust.
func FuzzEvents(f *testing.F) {
	f.Add("moorage.market.v1.EventOrderCreated", `"owner"`, `"12"`, "3", "4", `"provider"`, "", "")
	f.Add("moorage.market.v1.EventRetainerOpened", `"owner"`, "", "", "", `"provider"`, `"address"`, `"web"`)
	f.Fuzz(func(t *testing.T, name, owner, dseq, gseq, oseq, provider, kind, thing string) {
		var attributes []marketpb.EventAttribute
		for key, value := range map[string]string{"owner": owner, "dseq": dseq, "gseq": gseq, "oseq": oseq, "provider": provider, "kind": kind, "name": thing} {
			if value != "" {
				attributes = append(attributes, marketpb.EventAttribute{Key: key, Value: value})
			}
		}
		e, ok := marketpb.ToEvent(name, attributes)
		if !ok {
			return
		}
		again, attributes := marketpb.FromEvent(e)
		require.Equal(t, name, again)
		if e.Retainer != (market.RetainerID{}) && e.Retainer.Validate() != nil || e.ID.Owner != "" && e.ID.Owner.Validate() != nil || e.ID.Provider != "" && e.ID.Provider.Validate() != nil {
			return // not of a market
		}
		same, ok := marketpb.ToEvent(again, attributes)
		require.True(t, ok)
		if e.Retainer == (market.RetainerID{}) {
			require.Equal(t, e, same)
		} else {
			require.Equal(t, e.Retainer, same.Retainer)
		}
	})
}

// The text of an error comes from a node too.
func FuzzErrors(f *testing.F) {
	f.Add(marketpb.WireError(market.Refuse(market.ErrLimit, "rule", "detail")).Error())
	f.Add("market refused [x] y")
	f.Fuzz(func(t *testing.T, text string) {
		err, ok := marketpb.ParseError(text)
		require.Equal(t, ok, err != nil)
	})
}
