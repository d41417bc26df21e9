package keeper_test

import (
	"errors"
	"maps"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/marketpb"
	"github.com/moorage-dev/moorage/market/machine"
)

// busy is a market with a scalable lease that waits for an answer, a group under
// notice, an open bid, and a retainer. It returns messages that fit it.
func busy(tb testing.TB) (fixture, []market.Msg) {
	tb.Helper()
	f := newFixture(tb)
	owner, provider := f.fund("owner"), f.fund("provider")
	d := order(owner, 1)
	d.Groups[0].Units[0].MinCount, d.Groups[0].Units[0].MaxCount = 1, 4
	second := d.Groups[0].Clone()
	second.Name, second.ReclaimBlocks = "second", 5
	third := second.Clone()
	third.Name = "third"
	d.Groups = append(d.Groups, second, third)
	bid := func(gseq uint32) market.CreateBid {
		id := market.BidID{OrderID: market.OrderID{GroupID: market.GroupID{DeploymentID: d.ID, GSeq: gseq}, OSeq: 1}, Provider: provider}
		price := d.Groups[0].Units[0].Price
		return market.CreateBid{ID: id, Price: price, Units: []market.UnitPrice{{Unit: 1, AmountPerBlock: price.AmountPerBlock}}, Deposit: market.NewCoin("uakt", 500_000)}
	}
	lease := bid(1).ID.Lease()
	retainer := market.RetainerID{Owner: owner, Provider: provider, Kind: "address", Name: "web"}
	open := market.OpenRetainer{ID: retainer, Price: d.Groups[0].Units[0].Price, Deposit: market.NewCoin("uakt", 500_000)}
	scale := market.ScaleLease{ID: lease, Counts: []market.UnitCount{{Unit: 1, Count: 3}}, Hash: market.Hash{2}}
	for _, msg := range []market.Msg{
		market.CreateProvider{Provider: market.Provider{Owner: provider, HostURI: "https://p.example"}}, d,
		bid(1), bid(2), bid(3), market.CreateLease{ID: bid(1).ID}, market.CreateLease{ID: bid(2).ID}, scale, open,
		market.CloseBid{ID: bid(2).ID, Reason: market.ReasonUnstable},
	} {
		require.NoError(tb, f.do(msg), "%T", msg)
	}
	other := d
	other.ID.DSeq = 2
	scale.Counts[0].Count = 2
	again := open
	again.ID.Name = "webb"
	return f, []market.Msg{
		other, scale, again, market.ConfirmScale{ID: lease, Number: 1}, market.DeclineScale{ID: lease, Number: 1},
		market.CreateLease{ID: bid(3).ID}, market.CloseBid{ID: bid(3).ID}, market.CloseBid{ID: lease.Bid(), Reason: market.ReasonUnstable},
		market.WithdrawLease{ID: lease}, market.CloseLease{ID: lease}, market.PauseGroup{ID: lease.GroupID}, market.CloseGroup{ID: lease.GroupID},
		market.StartGroup{ID: lease.GroupID}, market.CloseDeployment{ID: d.ID}, market.UpdateDeployment{ID: d.ID, Hash: market.Hash{3}},
		market.DepositDeployment{ID: d.ID, Depositor: provider, Amount: market.NewCoin("uakt", 500_000)},
		market.DepositRetainer{ID: retainer, Amount: market.NewCoin("uakt", 5)}, market.WithdrawRetainer{ID: retainer},
		market.CloseRetainer{ID: retainer, By: provider}, market.DeleteProvider{Owner: provider},
		market.UpdateProvider{Provider: market.Provider{Owner: provider, HostURI: "https://q.example"}},
		market.SignAudit{Audit: market.Audit{ID: market.AuditID{Provider: provider, Auditor: owner}}},
		market.RevokeAudit{ID: market.AuditID{Provider: provider, Auditor: owner}}, market.CreateCertificate{Owner: owner, DER: []byte{1}},
		market.RevokeCertificate{ID: market.CertificateID{Owner: owner, Serial: "1"}},
	}
}

// Any bytes that are a message are carried out or refused by name, and leave
// the market sound.
func FuzzDelivery(f *testing.F) {
	market0, msgs := busy(f)
	for i, m := range msgs {
		p, err := marketpb.FromMsg(m)
		require.NoError(f, err)
		raw, err := p.(interface{ Marshal() ([]byte, error) }).Marshal()
		require.NoError(f, err)
		f.Add(uint8(i), raw, int64(1))
	}
	f.Fuzz(func(t *testing.T, which uint8, raw []byte, blocks int64) {
		p, err := marketpb.FromMsg(msgs[int(which)%len(msgs)])
		require.NoError(t, err)
		if p.(interface{ Unmarshal([]byte) error }).Unmarshal(raw) != nil {
			return
		}
		m, err := p.Market()
		if err != nil {
			require.ErrorIs(t, err, market.ErrInvalid)
			return
		}
		before := maps.Clone(market0.balances)
		defer func() { market0.balances = before }()
		ctx, _ := market0.ctx.CacheContext()
		ctx = ctx.WithBlockHeight(1 + max(0, blocks%1_000_000))
		if err := market0.Execute(ctx, m); err != nil {
			var rule *market.RuleError
			require.True(t, errors.As(err, &rule), "%T: %v", m, err)
			return
		}
		require.NoError(t, market0.EndBlock(ctx))
		require.NoError(t, market0.Check(ctx))
	})
}

// Rows that a store should not hold are errors, never a panic.
func FuzzStore(f *testing.F) {
	full, _ := busy(f)
	it, err := full.store.OpenKVStore(full.ctx).Iterator(nil, nil)
	require.NoError(f, err)
	for ; it.Valid(); it.Next() {
		f.Add(it.Key(), it.Value())
	}
	require.NoError(f, it.Close())
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if len(key) == 0 || value == nil {
			return
		}
		ctx, _ := full.ctx.CacheContext()
		require.NoError(t, full.store.OpenKVStore(ctx).Set(key, value))
		g, err := machine.Export(full.State(ctx))
		if err != nil {
			return
		}
		_ = full.Check(ctx) // may find faults
		wire := marketpb.FromGenesis(market.DefaultParams("uakt"), g)
		_, same, err := marketpb.ToGenesis(wire)
		require.NoError(t, err)
		require.Equal(t, g, same)
	})
}

// A page token is a text from a stranger.
func FuzzPages(f *testing.F) {
	full, _ := busy(f)
	f.Add("", "AAAA", uint8(0))
	f.Fuzz(func(t *testing.T, address, token string, which uint8) {
		s, a, p := full.State(full.ctx), market.Address(address), market.Page{Token: token, Limit: 3}
		var err error
		switch which % 11 {
		case 0:
			_, _, err = s.ListDeployments(market.DeploymentFilter{Owner: a}, p)
		case 1:
			_, _, err = s.ListOrders(market.OrderFilter{Owner: a, DSeq: 1, State: market.OrderOpen}, p)
		case 2:
			_, _, err = s.ListBids(market.BidFilter{Provider: a}, p)
		case 3:
			_, _, err = s.ListLeases(market.LeaseFilter{Provider: a, Live: true}, p)
		case 4:
			_, _, err = s.ListRetainers(market.RetainerFilter{Owner: a}, p)
		case 5:
			_, _, err = s.ListRetainers(market.RetainerFilter{Provider: a}, p)
		case 6:
			_, _, err = s.ListCertificates(market.CertificateFilter{Owner: a}, p)
		case 7:
			_, _, err = s.ListAudits(market.AuditFilter{Provider: a}, p)
		case 8:
			_, _, err = s.ListAudits(market.AuditFilter{Auditor: a}, p)
		case 9:
			_, _, err = s.ListDeployments(market.DeploymentFilter{Owner: a, State: market.DeploymentActive}, p)
		default:
			_, _, err = s.ListBids(market.BidFilter{Owner: a, State: market.BidOpen}, p)
		}
		if err != nil {
			require.ErrorIs(t, err, market.ErrInvalid)
		}
	})
}
