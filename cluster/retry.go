package cluster

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/moorage-dev/moorage/cluster/driver"
)

// retry calls op until it succeeds, fails for good, or the attempts or the
// context end. Only a [driver.TransientError] is tried again.
func (c *Cluster) retry(ctx context.Context, name string, op func() error) error {
	delay := c.cfg.BaseDelay
	for attempt := 1; ; attempt++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := op()
		if !transient(err) || attempt == c.cfg.Attempts {
			return err
		}
		c.log.DebugContext(ctx, "try again", slog.String("op", name), slog.Int("attempt", attempt), slog.Any("err", err))
		if sleep(ctx, c.jitter(delay)) != nil {
			return err
		}
		delay = min(2*delay, c.cfg.MaxDelay)
	}
}

func transient(err error) bool {
	var t *driver.TransientError
	return errors.As(err, &t)
}

// jitter shortens a delay by up to a half.
func (c *Cluster) jitter(d time.Duration) time.Duration {
	c.randMu.Lock()
	defer c.randMu.Unlock()
	return d - time.Duration(c.cfg.Rand.Int64N(int64(d)/2+1))
}

// sleep waits, or returns the context's error.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
