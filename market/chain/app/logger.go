package app

import (
	"context"
	"log/slog"

	"cosmossdk.io/log/v2"
)

// Logger shows a [slog.Logger] to the SDK and to CometBFT. nil discards. What
// they call information is a page per block, and is logged at level Debug.
func Logger(l *slog.Logger) log.Logger {
	if l == nil {
		return log.NewNopLogger()
	}
	return logger{l}
}

type logger struct{ slog *slog.Logger }

func (l logger) Info(msg string, kv ...any) {
	l.log(context.Background(), slog.LevelDebug, msg, kv)
}

func (l logger) Warn(msg string, kv ...any) {
	l.log(context.Background(), slog.LevelWarn, msg, kv)
}

func (l logger) Error(msg string, kv ...any) {
	l.log(context.Background(), slog.LevelError, msg, kv)
}

func (l logger) Debug(msg string, kv ...any) {
	l.log(context.Background(), slog.LevelDebug, msg, kv)
}

func (l logger) InfoContext(ctx context.Context, msg string, kv ...any) {
	l.log(ctx, slog.LevelDebug, msg, kv)
}

func (l logger) WarnContext(ctx context.Context, msg string, kv ...any) {
	l.log(ctx, slog.LevelWarn, msg, kv)
}

func (l logger) ErrorContext(ctx context.Context, msg string, kv ...any) {
	l.log(ctx, slog.LevelError, msg, kv)
}

func (l logger) DebugContext(ctx context.Context, msg string, kv ...any) {
	l.log(ctx, slog.LevelDebug, msg, kv)
}

// log hands a message on, whose text is the SDK's.
func (l logger) log(ctx context.Context, level slog.Level, msg string, kv []any) {
	l.slog.Log(ctx, level, msg, kv...) //nolint:sloglint // the text comes from the SDK
}

// With implements [log.Logger].
func (l logger) With(kv ...any) log.Logger { return logger{l.slog.With(kv...)} }

// Impl implements [log.Logger].
func (l logger) Impl() any { return l.slog }
