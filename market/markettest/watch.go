package markettest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/moorage-dev/moorage/market"
)

func watchCases() []Case {
	return []Case{
		{"a-watch-misses-nothing", "Watch yields every block from a height on, in order, once, with what happened in it", watchMissesNothing},
		{"a-watch-from-zero-begins-after-the-head", "Watch from 0 yields the block after the head first", watchFromZero},
		{"the-end-of-a-block-has-events-too", "what the market does by itself is in the block's events", endOfBlockHasEvents},
		{"what-is-announced-can-be-read", "when a watch yields a block, reads see at least its state", announcedCanBeRead},
		{"a-watch-ends-with-its-context", "Watch ends when its context ends", watchEndsWithContext},
	}
}

// soon bounds the waiting for something that is there already.
const soon = 20 * time.Second

// watched returns the blocks from a height to another, checking their order.
func (r *run) watched(a *actor, from, to int64) []market.Block {
	ctx, cancel := r.within(soon)
	defer cancel()
	var blocks []market.Block
	for b, err := range a.Watch(ctx, from) {
		r.must(err)
		r.want(b.Height == from+int64(len(blocks)), "block %d came as number %d from %d on", b.Height, len(blocks), from)
		blocks = append(blocks, b)
		if b.Height >= to {
			return blocks
		}
	}
	r.fail("the watch from %d ended after %d blocks, before %d", from, len(blocks), to)
	return nil
}

// kinds returns the kinds of the events that belong to a deployment.
func kinds(blocks []market.Block, id market.DeploymentID) []market.EventKind {
	var out []market.EventKind
	for _, b := range blocks {
		for _, e := range b.Events {
			if e.ID.DeploymentID == id {
				out = append(out, e.Kind)
			}
		}
	}
	return out
}

func watchMissesNothing(r *run) {
	a, p := r.actor(), r.provider()
	from := a.head().Height
	l := r.leased(a, p, 1, "10")
	id := l.ID.DeploymentID
	receipts := []market.Receipt{
		p.do(market.WithdrawLease{ID: l.ID}),
	}
	r.advance(2) // blocks without events are blocks too
	receipts = append(receipts,
		a.do(market.DepositDeployment{ID: id, Depositor: a.Address(), Amount: market.NewCoin(Denom, 1)}),
		a.do(market.CloseLease{ID: l.ID}),
		a.do(market.CloseDeployment{ID: id}),
	)
	to := receipts[len(receipts)-1].Height
	blocks := r.watched(a, from, to)
	want := []market.EventKind{
		market.EventDeploymentCreated, market.EventOrderCreated, market.EventBidCreated, market.EventLeaseCreated,
		market.EventPaymentWithdrawn, market.EventAccountDeposited,
		market.EventLeaseClosed, market.EventBidClosed, market.EventOrderClosed, market.EventOrderCreated,
		market.EventOrderClosed, market.EventGroupClosed, market.EventDeploymentClosed,
	}
	got := kinds(blocks, id)
	r.want(slices.Equal(got, want), "events are %v, want %v", got, want)
	for _, receipt := range receipts {
		b := blocks[receipt.Height-from]
		r.want(len(kinds([]market.Block{b}, id)) > 0, "the block %d that the receipt names has no event of the deployment", receipt.Height)
	}
	last := blocks[len(blocks)-1]
	r.want(!last.Time.Before(blocks[0].Time), "time goes back")
	r.want(slices.Contains(last.Events, market.Event{Kind: market.EventDeploymentClosed, ID: market.LeaseID{OrderID: market.OrderID{GroupID: market.GroupID{DeploymentID: id}}}}),
		"events of the last block are %v", last.Events)
}

func watchFromZero(r *run) {
	a := r.actor()
	ctx, cancel := r.within(soon)
	defer cancel()
	head := a.head().Height
	first := make(chan market.Block, 1)
	go func() { // ends with the first block, or with ctx
		defer close(first)
		for b, err := range a.Watch(ctx, 0) {
			if err == nil {
				first <- b
			}
			return
		}
	}()
	for {
		select {
		case b, ok := <-first:
			r.want(ok && b.Height > head, "from head %d on the watch began with block %d", head, b.Height)
			now := a.head().Height
			r.want(b.Height <= now, "the watch yielded block %d at head %d", b.Height, now)
			return
		default:
			r.advance(1) // the watch may not have begun when the first was made
		}
	}
}

func endOfBlockHasEvents(r *run) {
	a, p := r.actor(), r.provider()
	from := a.head().Height
	l, account := r.overdraw(a, p)
	r.reach(a, account.DueAt)
	got := kinds(r.watched(a, from, account.DueAt), l.ID.DeploymentID)
	want := []market.EventKind{
		market.EventDeploymentCreated, market.EventOrderCreated, market.EventBidCreated, market.EventLeaseCreated,
		market.EventAccountOverdrawn,
		market.EventLeaseClosed, market.EventBidClosed, market.EventOrderClosed, market.EventGroupPaused,
	}
	r.want(slices.Equal(got, want), "events are %v, want %v", got, want)
}

func announcedCanBeRead(r *run) {
	a := r.actor()
	ctx, cancel := r.within(soon)
	defer cancel()
	from := a.head().Height + 1
	done := make(chan error, 1)
	id := market.DeploymentID{Owner: a.Address(), DSeq: 1}
	go func() { done <- readsWhatItSees(ctx, a.Client, id, from) }()
	a.deploy(1, r.spec("web", "10"))
	r.must(<-done)
}

// readsWhatItSees waits for a deployment's order and reads it at once.
func readsWhatItSees(ctx context.Context, c market.Client, id market.DeploymentID, from int64) error {
	for b, err := range c.Watch(ctx, from) {
		if err != nil {
			return err
		}
		for _, e := range b.Events {
			if e.Kind == market.EventOrderCreated && e.ID.DeploymentID == id {
				_, err := c.Order(ctx, e.ID.OrderID)
				return err
			}
		}
	}
	return errors.New("the order was not announced")
}

func watchEndsWithContext(r *run) {
	a := r.actor()
	ctx, cancel := context.WithCancel(r.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, err := range a.Watch(ctx, 0) {
			if err != nil {
				return
			}
		}
	}()
	cancel()
	select {
	case <-done:
	case <-r.ctx.Done():
		r.fail("the watch goes on after its context ended")
	case <-time.After(soon):
		r.fail("the watch goes on after its context ended")
	}
}
