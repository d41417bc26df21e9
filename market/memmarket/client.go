package memmarket

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/moorage-dev/moorage/market"
)

// Client is a [market.Client] for one account of a [Market].
type Client struct {
	market  *Market
	address market.Address
	faults  Faults
}

var _ market.Client = (*Client)(nil)

// Client returns a client that signs for an account.
func (m *Market) Client(a market.Address) *Client { return &Client{market: m, address: a} }

// FaultyClient returns a client that misbehaves as told, for tests of those who
// use clients.
func (m *Market) FaultyClient(a market.Address, f Faults) *Client {
	return &Client{market: m, address: a, faults: f}
}

// Faults bend what a client does. Functions may be called concurrently; nil
// means no fault.
type Faults struct {
	// Submit decides the fate of messages before they are queued.
	Submit func(msgs []market.Msg) Fate
	// Receipt is called after messages were carried out; an error takes the
	// place of the receipt, as when an answer is lost on the way.
	Receipt func(market.Receipt) error
	// Read is called before every read; an error takes the place of the answer.
	Read func() error
	// Watch is called before each block is handed to a watcher; an error ends
	// the watch instead.
	Watch func(market.Block) error
}

// Fate is what becomes of a submission.
type Fate struct {
	// Err, if set, is returned and nothing is carried out. It should wrap
	// [market.ErrUnavailable] or be a [market.RuleError].
	Err error
	// Delay is for how many blocks the submission is held back.
	Delay int
}

// Address implements [market.Writer].
func (c *Client) Address() market.Address { return c.address }

// Submit implements [market.Writer]. It waits for the next block; someone must
// make it. When the context ends first, the submission is taken back and
// nothing is carried out. Submissions are carried out in the order in which
// they were made.
func (c *Client) Submit(ctx context.Context, msgs ...market.Msg) (market.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return market.Receipt{}, fmt.Errorf("memmarket: submit: %w: %w", market.ErrUnavailable, err)
	}
	if len(msgs) == 0 {
		return market.Receipt{}, market.Refuse(market.ErrInvalid, "no-messages", "nothing to carry out")
	}
	for _, msg := range msgs {
		if msg.Signer() != c.address {
			return market.Receipt{}, market.Refuse(market.ErrUnauthorized, "signer", "%T of %q signed by %q", msg, msg.Signer(), c.address)
		}
	}
	s := &submission{msgs: cloneAll(msgs, market.CloneMsg), done: make(chan struct{})}
	if c.faults.Submit != nil {
		fate := c.faults.Submit(cloneAll(msgs, market.CloneMsg))
		if fate.Err != nil {
			return market.Receipt{}, fate.Err
		}
		s.height = int64(fate.Delay)
	}
	if err := c.market.enqueue(s); err != nil {
		return market.Receipt{}, err
	}
	if err := c.market.wait(ctx, s); err != nil {
		return market.Receipt{}, err
	}
	if c.faults.Receipt != nil {
		if err := c.faults.Receipt(s.receipt); err != nil {
			return market.Receipt{}, err
		}
	}
	return s.receipt, nil
}

// enqueue queues a submission, whose height is still a delay, and makes the
// blocks for it if so configured.
func (m *Market) enqueue(s *submission) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.height += m.head.Height + 1
	m.queue = append(m.queue, s)
	for m.cfg.BlockPerSubmit && m.head.Height < s.height {
		if err := m.block(); err != nil {
			return err
		}
	}
	return nil
}

// wait waits until a submission was carried out or refused.
func (m *Market) wait(ctx context.Context, s *submission) error {
	select {
	case <-s.done:
		return s.err
	case <-ctx.Done():
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := slices.Index(m.queue, s); i >= 0 {
		m.queue = slices.Delete(m.queue, i, i+1)
		return fmt.Errorf("memmarket: submit: %w: %w", market.ErrUnavailable, ctx.Err())
	}
	<-s.done // closed: it has left the queue, in a block that is made
	return s.err
}

// Watch implements [market.Watcher]. Of the past it has as many blocks as the
// market keeps; asking for older ones ends with an error wrapping
// [market.ErrNotFound].
func (c *Client) Watch(ctx context.Context, from int64) iter.Seq2[market.Block, error] {
	return func(yield func(market.Block, error) bool) {
		next := from
		if next <= 0 {
			next = c.market.height() + 1
		}
		for ; ; next++ {
			b, err := c.market.await(ctx, next)
			if err == nil && c.faults.Watch != nil {
				err = c.faults.Watch(b)
			}
			if ctx.Err() != nil {
				return
			}
			if !yield(b, err) || err != nil {
				return
			}
		}
	}
}

func (m *Market) height() int64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.head.Height
}

// await returns the block at a height as soon as it is there.
func (m *Market) await(ctx context.Context, height int64) (market.Block, error) {
	for {
		m.mu.RLock()
		b, err := m.past(height)
		ahead, changed := height > m.head.Height, m.changed
		m.mu.RUnlock()
		if !ahead {
			return b, err
		}
		select {
		case <-ctx.Done():
			return market.Block{}, ctx.Err()
		case <-changed:
		}
	}
}

// past returns a block that is kept. m.mu is held.
func (m *Market) past(height int64) (market.Block, error) {
	first := m.blocks[0].Height
	if height < first || height > m.head.Height {
		return market.Block{}, fmt.Errorf("memmarket: block %d: %w: the oldest kept is %d", height, market.ErrNotFound, first)
	}
	b := m.blocks[height-first]
	b.Events = slices.Clone(b.Events)
	return b, nil
}
