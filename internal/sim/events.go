package sim

import (
	"context"
	"iter"

	"github.com/moorage-dev/moorage/market"
)

// loseEvents is a client whose watch loses events, tells them twice, or a block
// late. A client may not do that by its contract; a provider lives with it all
// the same, for events only say where to look.
type loseEvents struct {
	market.Client
	w *world
}

// Watch implements [market.Watcher].
func (c loseEvents) Watch(ctx context.Context, from int64) iter.Seq2[market.Block, error] {
	return func(yield func(market.Block, error) bool) {
		var late []market.Event
		for b, err := range c.Client.Watch(ctx, from) {
			told := late
			late = nil
			for _, e := range b.Events {
				switch {
				case c.w.strikes(100, c.Address(), "lost", e):
					c.w.count(func(s *Stats) { s.EventsLost++ })
				case c.w.strikes(100, c.Address(), "late", e):
					c.w.count(func(s *Stats) { s.EventsLate++ })
					late = append(late, e)
				case c.w.strikes(100, c.Address(), "twice", e):
					c.w.count(func(s *Stats) { s.EventsTwice++ })
					told = append(told, e, e)
				default:
					told = append(told, e)
				}
			}
			b.Events = told
			if !yield(b, err) {
				return
			}
		}
	}
}
