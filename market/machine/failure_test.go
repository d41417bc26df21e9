package machine_test

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/machine"
)

var errDisk = errors.New("the disk is gone")

// disk fails one operation, counted down from the number it was set to; 0 is
// none.
type disk struct{ left int }

func (d *disk) fails() bool {
	if d.left == 0 {
		return false
	}
	d.left--
	return d.left == 0
}

// rows is a table on a disk, as plain as can be.
type rows[K machine.Key, V any] struct {
	m    map[string]V
	disk *disk
}

func newRows[K machine.Key, V any](h *host) *rows[K, V] {
	r := &rows[K, V]{m: map[string]V{}, disk: &h.disk}
	h.save = append(h.save, func() func() {
		old := maps.Clone(r.m)
		return func() { r.m = old }
	})
	return r
}

func (r *rows[K, V]) Get(k K) (v V, err error) {
	if r.disk.fails() {
		return v, errDisk
	}
	v, ok := r.m[string(k.AppendKey(nil))]
	if !ok {
		err = market.ErrNotFound
	}
	return v, err
}

func (r *rows[K, V]) Set(k K, v V) error {
	if r.disk.fails() {
		return errDisk
	}
	r.m[string(k.AppendKey(nil))] = v
	return nil
}

func (r *rows[K, V]) Delete(k K) error {
	if r.disk.fails() {
		return errDisk
	}
	delete(r.m, string(k.AppendKey(nil)))
	return nil
}

func (r *rows[K, V]) Scan(prefix, after []byte) iter.Seq2[V, error] {
	return func(yield func(V, error) bool) {
		if r.disk.fails() {
			var zero V
			yield(zero, errDisk)
			return
		}
		for _, k := range slices.Sorted(maps.Keys(r.m)) {
			if strings.HasPrefix(k, string(prefix)) && (len(after) == 0 || k > string(after)) && !yield(r.m[k], nil) {
				return
			}
		}
	}
}

// purse is a bank on a disk in which everybody has enough.
type purse struct {
	disk *disk
	pot  market.Coins
}

func (p *purse) Take(_ market.Address, c market.Coin) (err error) {
	if p.disk.fails() {
		return errDisk
	}
	p.pot, err = p.pot.Add(c)
	return err
}

func (p *purse) Give(_ market.Address, c market.Coin) (err error) {
	if p.disk.fails() {
		return errDisk
	}
	p.pot, err = p.pot.Sub(c)
	return err
}

func (p *purse) Fee(c market.Coin) error { return p.Give("", c) }

// host hosts a machine on a disk. It is the least a host can be.
type host struct {
	machine.Machine
	disk  disk
	purse *purse
	save  []func() (restore func())
}

func newHost(p market.Params) *host {
	h := &host{}
	h.purse = &purse{disk: &h.disk}
	h.save = append(h.save, func() func() {
		old := h.purse.pot
		return func() { h.purse.pot = old }
	})
	h.Machine = machine.Machine{Bank: h.purse, Params: p, State: machine.State{
		Deployments:  newRows[market.DeploymentID, market.Deployment](h),
		Groups:       newRows[market.GroupID, market.Group](h),
		Orders:       newRows[market.OrderID, market.Order](h),
		Bids:         newRows[market.BidID, market.Bid](h),
		Leases:       newRows[market.LeaseID, market.Lease](h),
		Accounts:     newRows[market.DeploymentID, market.Account](h),
		Payments:     newRows[market.LeaseID, market.Payment](h),
		Retainers:    newRows[market.RetainerID, market.Retainer](h),
		Providers:    newRows[market.Address, market.Provider](h),
		Certificates: newRows[market.CertificateID, market.Certificate](h),
		Audits:       newRows[market.AuditID, market.Audit](h),
		Timers:       newRows[machine.Timer, machine.Timer](h),
		Refs:         newRows[machine.Ref, machine.Ref](h),
	}}
	return h
}

// step carries a message out, or ends a block if there is none, while the disk
// fails at an operation, 0 being none. On an error everything is undone.
func (h *host) step(height int64, msg market.Msg, failAt int) (failed bool, err error) {
	var restore []func()
	for _, save := range h.save {
		restore = append(restore, save())
	}
	h.disk.left = failAt
	at := machine.Moment{Height: height, Time: time.Unix(height, 0)}
	if msg == nil {
		_, err = h.EndBlock(at)
	} else {
		_, err = h.Execute(at, msg)
	}
	failed = failAt > 0 && h.disk.left == 0
	h.disk.left = 0
	if err != nil {
		for _, f := range restore {
			f()
		}
	}
	return failed, err
}

// script is a life of a deployment with every kind of message that moves money.
// A nil message is a block without messages.
func script() []market.Msg {
	d := benchDeployment(1)
	d.Groups[0].Units[0].Price.AmountPerBlock = market.NewDecimal(100_000)
	d.Groups[0].Requirements.SignedBy.AnyOf = []market.Address{"tenant"}
	second := d.Groups[0].Clone()
	second.Name = "second"
	second.Units[0].MinCount, second.Units[0].MaxCount, second.ReclaimBlocks = 1, 3, 2
	d.Groups = append(d.Groups, second)
	bid, other := benchBid(1), benchBid(1)
	other.ID.GSeq = 2
	other.Units = []market.UnitPrice{{Unit: 1, AmountPerBlock: other.Price.AmountPerBlock}}
	bid.Price.AmountPerBlock = market.NewDecimal(100_000)
	third := other
	third.ID.Provider = "provider2"
	register := func(a market.Address) market.Msg {
		return market.CreateProvider{Provider: market.Provider{Owner: a, HostURI: "https://p.example"}}
	}
	word := market.Audit{ID: market.AuditID{Provider: "provider", Auditor: "tenant"}}
	word2 := market.Audit{ID: market.AuditID{Provider: "provider2", Auditor: "tenant"}}
	again := other // on the next order, which has two replicas
	again.ID.OSeq, again.Price.AmountPerBlock = 2, market.NewDecimal(6)
	scale := func(bid market.CreateBid, count uint32) market.Msg {
		return market.ScaleLease{ID: bid.ID.Lease(), Counts: []market.UnitCount{{Unit: 1, Count: count}}, Hash: market.Hash{byte(count + 10)}}
	}
	keep := market.OpenRetainer{
		ID:    market.RetainerID{Owner: "tenant", Provider: "provider", Kind: "address", Name: "web"},
		Price: market.Price{Denom: "uakt", AmountPerBlock: market.NewDecimal(7)}, Deposit: market.NewCoin("uakt", 500_000),
	}
	short := keep
	short.ID.Name, short.Price.AmountPerBlock = "short", market.NewDecimal(300_000)
	return []market.Msg{
		register("provider"), register("provider2"), market.SignAudit{Audit: word}, market.SignAudit{Audit: word2}, d, bid, other, third,
		market.CloseBid{ID: third.ID}, third,
		market.CreateLease{ID: bid.ID}, market.CreateLease{ID: other.ID}, market.WithdrawLease{ID: bid.ID.Lease()},
		market.UpdateDeployment{ID: d.ID, Hash: market.Hash{2}},
		scale(other, 2), market.DeclineScale{ID: other.ID.Lease(), Number: 1}, scale(other, 2), market.ConfirmScale{ID: other.ID.Lease(), Number: 2},
		scale(other, 3), scale(other, 1), scale(other, 2),
		keep, market.WithdrawRetainer{ID: keep.ID}, short,
		nil, nil, nil, nil, nil, nil, // the funds run out
		market.DepositDeployment{ID: d.ID, Depositor: "friend", Amount: market.NewCoin("uakt", 700_000)},
		market.DepositRetainer{ID: keep.ID, Amount: keep.Deposit}, market.CloseRetainer{ID: keep.ID, By: "provider"}, keep,
		scale(other, 1), market.CloseBid{ID: other.ID, Reason: market.ReasonUnstable}, nil, nil, nil, // the notice is over
		market.StartGroup{ID: other.ID.GroupID}, again, market.CreateLease{ID: again.ID}, scale(again, 1), nil, nil, nil, // the request lapses
		market.CloseLease{ID: again.ID.Lease()}, market.PauseGroup{ID: other.ID.GroupID}, market.StartGroup{ID: other.ID.GroupID},
		nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, // and again; the grace ends, the order of group 2 expires
		market.CloseDeployment{ID: d.ID}, market.CloseRetainer{ID: keep.ID, By: "tenant"},
		market.RevokeAudit{ID: word.ID}, market.DeleteProvider{Owner: "provider"},
	}
}

// A failure of storage or of the bank, at any operation of any message, comes
// out as that failure, and leaves nothing behind that the host cannot undo.
func TestNoFailureOfStorageIsSwallowed(t *testing.T) {
	p := market.DefaultParams("uakt")
	p.GraceBlocks, p.OrderLifetimeBlocks, p.FeePerMyriad, p.ScaleBlocks = 2, 12, 250, 2
	h := newHost(p)
	height, failures := int64(1), 0
	for i, msg := range script() {
		for failAt := 1; ; failAt++ {
			name := fmt.Sprintf("step %d, %T, operation %d", i, msg, failAt)
			failed, err := h.step(height, msg, failAt)
			require.NoError(t, machine.Check(h.State, h.purse.pot), name)
			if !failed {
				require.NoError(t, err, name)
				break
			}
			failures++
			require.ErrorIs(t, err, errDisk, name)
		}
		if msg == nil {
			height++
		}
	}
	require.Greater(t, failures, 200)
	require.Empty(t, h.purse.pot, "all is closed")
	g, err := machine.Export(h.State)
	require.NoError(t, err)
	require.Equal(t, market.ReasonInsufficientFunds, g.Leases[0].Reason, "the script went where it should")
	require.Equal(t, market.ReasonUnstable, g.Leases[1].Reason, "the notice was given and over")
	require.Equal(t, market.ReasonInsufficientFunds, g.Retainers[0].Reason, "a retainer ran dry")
	require.Equal(t, g.Orders[len(g.Orders)-1].ExpiresAt, g.Orders[len(g.Orders)-1].ClosedAt, "the last order expired")
}
