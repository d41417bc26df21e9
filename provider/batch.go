package provider

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/moorage-dev/moorage/market"
)

const (
	// maxBatch is the most messages of one submission: below what hosts allow.
	maxBatch = 64
	// maxInFlight is how many submissions may wait for their blocks at a time. A
	// message is sent at once while there are fewer; else it joins the next.
	maxInFlight = 8
	// carryTimeout bounds the submission of a batch, whose callers may all have
	// gone: many blocks.
	carryTimeout = 2 * time.Minute
)

// batcher sends messages of one kind together when there are many at a time.
type batcher struct {
	market market.Writer

	mu       sync.Mutex // guards all below
	inFlight int
	waiting  []*sending
}

// sending is a message on its way.
type sending struct {
	msg  market.Msg
	err  error
	done chan struct{}
	// lead is closed when this sending is to carry the next batch.
	lead chan struct{}
}

// submit has the message carried out and returns its own fate, also when it was
// sent with others. Errors are those of [market.Writer].
func (b *batcher) submit(ctx context.Context, msg market.Msg) error {
	s := &sending{msg: msg, done: make(chan struct{}), lead: make(chan struct{})}
	b.mu.Lock()
	if b.inFlight >= maxInFlight {
		b.waiting = append(b.waiting, s)
		b.mu.Unlock()
		select {
		case <-s.done:
			return s.err
		case <-s.lead:
		}
		b.mu.Lock()
	} else {
		b.inFlight++
	}
	batch := b.take(s)
	b.mu.Unlock()
	b.carry(ctx, batch)
	b.next()
	return s.err
}

// take returns the leader's message with those that wait. b.mu is held.
func (b *batcher) take(lead *sending) []*sending {
	n := min(len(b.waiting), maxBatch-1)
	batch := append([]*sending{lead}, b.waiting[:n]...)
	b.waiting = b.waiting[n:]
	return batch
}

// next lets another message lead, or frees the place.
func (b *batcher) next() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 0 {
		b.inFlight--
		return
	}
	lead := b.waiting[0]
	b.waiting = b.waiting[1:]
	close(lead.lead)
}

// carry submits a batch and tells each message its fate. A rule that one
// message breaks refuses all of them: then each is tried alone. The end of the
// leader's context ends no message of others.
func (b *batcher) carry(ctx context.Context, batch []*sending) {
	if len(batch) > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), carryTimeout)
		defer cancel()
	}
	msgs := make([]market.Msg, len(batch))
	for i, s := range batch {
		msgs[i] = s.msg
	}
	_, err := b.market.Submit(ctx, msgs...)
	if len(batch) > 1 && refused(err) {
		var wg sync.WaitGroup
		for _, s := range batch {
			wg.Go(func() { _, s.err = b.market.Submit(ctx, s.msg) })
		}
		wg.Wait()
	} else {
		for _, s := range batch {
			s.err = err
		}
	}
	for _, s := range batch {
		close(s.done)
	}
}

// refused reports whether the market said no, so that nothing was carried out.
func refused(err error) bool {
	var rule *market.RuleError
	if errors.As(err, &rule) {
		return true
	}
	for _, no := range []error{
		market.ErrNotFound, market.ErrExists, market.ErrInvalid, market.ErrState, market.ErrUnauthorized,
		market.ErrInsufficientFunds, market.ErrLimit, market.ErrMismatch,
	} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}
