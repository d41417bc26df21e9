package market_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moorage-dev/moorage/market"
)

func genAddress() *rapid.Generator[market.Address] {
	return rapid.Map(rapid.StringMatching(`[ab1]{1,3}`), func(s string) market.Address { return market.Address(s) })
}

// genLease draws IDs whose parts are often prefixes of one another.
func genLease() *rapid.Generator[market.LeaseID] {
	return rapid.Custom(func(t *rapid.T) market.LeaseID {
		var id market.LeaseID
		id.Owner = genAddress().Draw(t, "owner")
		id.DSeq = rapid.SampledFrom([]uint64{1, 12, 123, 255, 256, 1<<64 - 1}).Draw(t, "dseq")
		id.GSeq = rapid.SampledFrom([]uint32{1, 2, 256, 1<<32 - 1}).Draw(t, "gseq")
		id.OSeq = rapid.SampledFrom([]uint32{1, 2, 256, 1<<32 - 1}).Draw(t, "oseq")
		id.Provider = genAddress().Draw(t, "provider")
		return id
	})
}

func TestIDsReadBackWhatTheyPrint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := genLease().Draw(t, "id")
		deployment, err := market.ParseDeploymentID(id.DeploymentID.String())
		require.NoError(t, err)
		require.Equal(t, id.DeploymentID, deployment)
		group, err := market.ParseGroupID(id.GroupID.String())
		require.NoError(t, err)
		require.Equal(t, id.GroupID, group)
		order, err := market.ParseOrderID(id.OrderID.String())
		require.NoError(t, err)
		require.Equal(t, id.OrderID, order)
		bid, err := market.ParseBidID(id.Bid().String())
		require.NoError(t, err)
		require.Equal(t, id, bid.Lease())
		text, err := json.Marshal(id)
		require.NoError(t, err)
		var back market.LeaseID
		require.NoError(t, json.Unmarshal(text, &back))
		require.Equal(t, id, back)
	})
}

func TestKeysSortAsTheirPartsDo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := genLease().Draw(t, "a"), genLease().Draw(t, "b")
		want := cmp.Or(cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.DSeq, b.DSeq), cmp.Compare(a.GSeq, b.GSeq),
			cmp.Compare(a.OSeq, b.OSeq), cmp.Compare(a.Provider, b.Provider))
		require.Equal(t, want, bytes.Compare(a.AppendKey(nil), b.AppendKey(nil)))
	})
}

func TestAKeyIsAPrefixOfExactlyWhatBelongsToIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := genLease().Draw(t, "a"), genLease().Draw(t, "b")
		k := b.AppendKey(nil)
		require.Equal(t, a.Owner == b.Owner, bytes.HasPrefix(k, a.Owner.AppendKey(nil)))
		require.Equal(t, a.DeploymentID == b.DeploymentID, bytes.HasPrefix(k, a.DeploymentID.AppendKey(nil)))
		require.Equal(t, a.GroupID == b.GroupID, bytes.HasPrefix(k, a.GroupID.AppendKey(nil)))
		require.Equal(t, a.OrderID == b.OrderID, bytes.HasPrefix(k, a.OrderID.AppendKey(nil)))
		require.Equal(t, a == b, bytes.HasPrefix(k, a.AppendKey(nil)))
	})
}

func TestMalformedIDsAreRefused(t *testing.T) {
	for _, s := range []string{
		"", "/", "a", "a/", "a/0", "a/01", "a/+1", "a/-1", "a/x", "/1", "a b/1", "a/1/", "a/1/1", "a/18446744073709551616", "ä/1", "a\x00/1",
	} {
		_, err := market.ParseDeploymentID(s)
		assert.ErrorIs(t, err, market.ErrInvalid, "%q", s)
	}
	for _, s := range []string{"a/1/1/1", "a/1/1/1/", "a/1/1/1/p/q", "a/1/0/1/p", "a/1/1/4294967296/p", "a/1/1/1/p-q"} {
		_, err := market.ParseLeaseID(s)
		assert.ErrorIs(t, err, market.ErrInvalid, "%q", s)
	}
	assert.ErrorIs(t, market.DeploymentID{Owner: "a"}.Validate(), market.ErrInvalid)
	assert.ErrorIs(t, market.DeploymentID{DSeq: 1}.Validate(), market.ErrInvalid)
	assert.NoError(t, market.DeploymentID{Owner: "a", DSeq: 1}.Validate())
}

func FuzzParseLeaseID(f *testing.F) {
	for _, s := range []string{"a/1/1/1/p", "a/1", "a/1/1/1/", "tenant/18446744073709551615/4294967295/1/provider"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := market.ParseLeaseID(s)
		if err != nil {
			require.ErrorIs(t, err, market.ErrInvalid)
			return
		}
		require.Equal(t, s, id.String(), "an ID has one text form")
	})
}

func FuzzParseDecimal(f *testing.F) {
	for _, s := range []string{"0", "1.5", "0.000000000000000001", "340282366920938463463.374607431768211455", "1e3", ".5", "5."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := market.ParseDecimal(s)
		if err != nil {
			require.ErrorIs(t, err, market.ErrInvalid)
			return
		}
		for _, text := range []string{d.String(), d.Fixed()} {
			back, err := market.ParseDecimal(text)
			require.NoError(t, err)
			require.Equal(t, d, back)
		}
	})
}

func FuzzParseCoin(f *testing.F) {
	for _, s := range []string{"500000uakt", "0uact", "1ibc/27394FB0", "uakt", "5", "-1uakt"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := market.ParseCoin(s)
		if err != nil {
			require.ErrorIs(t, err, market.ErrInvalid)
			return
		}
		back, err := market.ParseCoin(c.String())
		require.NoError(t, err)
		require.Equal(t, c, back)
	})
}

func TestEventsReadBackFromJSON(t *testing.T) {
	id := market.LeaseID{Provider: "p"}
	id.Owner, id.DSeq, id.GSeq, id.OSeq = "a", 1, 2, 3
	keeper := market.LeaseID{Provider: "p"}
	keeper.Owner = "a"
	partial := market.LeaseID{}
	partial.Owner, partial.DSeq = "a", 7
	for _, e := range []market.Event{
		{Kind: market.EventLeaseCreated, ID: id},
		{Kind: market.EventDeploymentClosed, ID: partial},
		{Kind: market.EventProviderChanged, ID: market.LeaseID{Provider: "p"}},
		{Kind: market.EventRetainerOpened, ID: keeper, Retainer: market.RetainerID{Owner: "a", Provider: "p", Kind: "ip", Name: "web"}},
	} {
		text, err := json.Marshal(e)
		require.NoError(t, err)
		var back market.Event
		require.NoError(t, json.Unmarshal(text, &back))
		assert.Equal(t, e, back, "%s", text)
	}
	assert.Equal(t, "lease-created", market.EventLeaseCreated.String())
	assert.Equal(t, "audit-changed", market.EventAuditChanged.String())
	assert.Equal(t, "invalid-99", market.EventKind(99).String())
}
