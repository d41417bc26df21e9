package client

import (
	"context"
	"sync"
	"time"

	nodev1beta1 "cosmossdk.io/api/cosmos/base/node/v1beta1"
)

// head is a height that the application has committed, and its block's time.
type head struct {
	height int64
	time   time.Time
}

// headCache shares one question for the newest height among all who wait.
type headCache struct {
	mu   sync.Mutex
	head head
	// turn is held by the one who asks.
	turn chan struct{}
}

func (h *headCache) get() head {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.head
}

func (h *headCache) put(n head) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n.height > h.head.height {
		h.head = n
	}
}

// head asks for the newest height. It is that of the application: CometBFT's
// store has a block before the state that it leads to can be read.
func (c *Client) head(ctx context.Context) (head, error) {
	s, err := c.node.Status(ctx, &nodev1beta1.StatusRequest{})
	if err != nil {
		return head{}, fromStatus("head", err)
	}
	h := head{int64(s.GetHeight()), s.GetTimestamp().AsTime()}
	c.heads.put(h)
	return h, nil
}

// headAbove waits until the newest height is above h. An error of the node ends
// the wait; the caller decides whether to go on.
func (c *Client) headAbove(ctx context.Context, h int64) (head, error) {
	for {
		if known := c.heads.get(); known.height > h {
			return known, nil
		}
		select {
		case c.heads.turn <- struct{}{}:
		case <-ctx.Done():
			return head{}, ctx.Err()
		}
		err := c.askOnce(ctx, h)
		<-c.heads.turn
		if err != nil {
			return head{}, err
		}
	}
}

// askOnce asks for the head and, when it has not moved, pauses.
func (c *Client) askOnce(ctx context.Context, h int64) error {
	if c.heads.get().height > h {
		return nil // somebody else asked meanwhile
	}
	now, err := c.head(ctx)
	if err != nil || now.height > h {
		return err
	}
	return pause(ctx, c.config.Poll)
}

// pause waits, or returns the context's error.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
