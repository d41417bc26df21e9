package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/moorage-dev/moorage/market"
)

// Pauses between attempts to reach a node that does not answer.
const (
	firstRetry = 10 * time.Millisecond
	lastRetry  = time.Second
)

// A watch that is behind reads so many blocks at once, and asks for so many at
// a time.
const (
	watchWindow   = 32
	watchParallel = 8
)

// Watch implements [market.Watcher]. It goes on through every failure of the
// node but one: a block that the node says it no longer has, for which the
// error wraps [market.ErrNotFound].
func (c *Client) Watch(ctx context.Context, from int64) iter.Seq2[market.Block, error] {
	return func(yield func(market.Block, error) bool) {
		err := c.watch(ctx, from, func(b market.Block) bool { return yield(b, nil) })
		if err != nil && ctx.Err() == nil {
			yield(market.Block{}, err)
		}
	}
}

// watch calls yield for each block until it says no.
func (c *Client) watch(ctx context.Context, next int64, yield func(market.Block) bool) error {
	for next <= 0 {
		err := c.persist(ctx, "head", func() error {
			h, err := c.head(ctx)
			next = h.height + 1
			return err
		})
		if err != nil {
			return err
		}
	}
	for {
		var newest head
		err := c.persist(ctx, "head", func() (err error) {
			newest, err = c.headAbove(ctx, next-1)
			return err
		})
		if err != nil {
			return err
		}
		for next <= newest.height {
			blocks, err := c.readSome(ctx, next, min(newest.height, next+watchWindow-1))
			if err != nil {
				return err
			}
			for _, b := range blocks {
				if !yield(market.Block{Height: b.height, Time: b.time, Events: slices.Clone(b.events)}) {
					return nil
				}
			}
			next += int64(len(blocks))
		}
	}
}

// readSome reads the blocks of a range, several at a time.
func (c *Client) readSome(ctx context.Context, from, to int64) ([]*block, error) {
	out := make([]*block, to-from+1)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(watchParallel)
	for i := range out {
		g.Go(func() error {
			return c.persist(ctx, "block", func() (err error) {
				out[i], err = c.blockAt(ctx, from+int64(i))
				return err
			})
		})
	}
	return out, g.Wait()
}

// persist repeats what fails until it works, the context ends, or it can never
// work.
func (c *Client) persist(ctx context.Context, what string, try func() error) error {
	wait := firstRetry
	for {
		err := try()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case gone(err):
			return fmt.Errorf("client: watch: %w: %w", market.ErrNotFound, err)
		case errors.Is(err, market.ErrUnauthorized):
			return err
		}
		c.log.WarnContext(ctx, "watching the chain failed and is tried again", "what", what, "pause", wait, "error", err)
		if err := pause(ctx, wait); err != nil {
			return err
		}
		wait = min(2*wait, lastRetry)
	}
}

// gone reports whether a node says that it has discarded a block. CometBFT says
// it in words only.
func gone(err error) bool {
	text := err.Error()
	return strings.Contains(text, "lowest height is") ||
		strings.Contains(text, "not persisting finalize block responses") ||
		strings.Contains(text, "node is not persisting")
}
