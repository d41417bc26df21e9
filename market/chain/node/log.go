package node

import (
	"context"
	"log/slog"
	"sync/atomic"
)

// hushed hands log records on until the node stops. What CometBFT calls errors
// after that, listeners that are closed, is what stopping means, and comes at
// level Debug.
type hushed struct {
	slog.Handler
	stopping *atomic.Bool
}

// Handle implements [slog.Handler].
func (h hushed) Handle(ctx context.Context, r slog.Record) error {
	if h.stopping.Load() && r.Level > slog.LevelDebug {
		r.Level = slog.LevelDebug
		if !h.Enabled(ctx, r.Level) {
			return nil
		}
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (h hushed) WithAttrs(attrs []slog.Attr) slog.Handler {
	return hushed{h.Handler.WithAttrs(attrs), h.stopping}
}

// WithGroup implements [slog.Handler].
func (h hushed) WithGroup(name string) slog.Handler {
	return hushed{h.Handler.WithGroup(name), h.stopping}
}
