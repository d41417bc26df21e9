package provider

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway"
	"github.com/moorage-dev/moorage/provider/gateway/api"
)

var _ gateway.Eventer = (*Provider)(nil)

// eventPoll is how often a follower of events looks without news.
const eventPoll = 5 * time.Second

// bell wakes those who wait for news of a lease.
type bell struct {
	mu    sync.Mutex // guards waits
	waits map[market.LeaseID]chan struct{}
}

// ring wakes everybody who waits for the lease.
func (b *bell) ring(id market.LeaseID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c, ok := b.waits[id]; ok {
		close(c)
		delete(b.waits, id)
	}
}

// wait returns a channel that is closed at the next ring.
func (b *bell) wait(id market.LeaseID) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waits == nil {
		b.waits = map[market.LeaseID]chan struct{}{}
	}
	c, ok := b.waits[id]
	if !ok {
		c = make(chan struct{})
		b.waits[id] = c
	}
	return c
}

// Events implements [gateway.Eventer]. An event is the difference between two
// looks at the lease: states that come and go between them are not told.
func (p *Provider) Events(ctx context.Context, id market.LeaseID) iter.Seq2[api.Event, error] {
	return func(yield func(api.Event, error) bool) {
		defer p.bell.ring(id) // leaves no entry behind; others look once for nothing
		var last api.LeaseStatus
		for {
			news := p.bell.wait(id)
			status, err := p.LeaseStatus(ctx, id)
			if errors.Is(err, market.ErrNotFound) && last.Phase != "" {
				yield(api.Event{Time: time.Now().UTC(), Kind: api.EventClosing, State: string(api.PhaseClosing), Message: "the lease has ended"}, nil)
				return
			}
			if err != nil {
				yield(api.Event{}, err)
				return
			}
			for _, e := range differences(last, status, time.Now().UTC()) {
				if !yield(e, nil) {
					return
				}
			}
			last = status
			select {
			case <-ctx.Done():
				return
			case <-news:
			case <-time.After(eventPoll):
			}
		}
	}
}

// differences tells what is new in a status.
func differences(before, after api.LeaseStatus, now time.Time) []api.Event {
	var out []api.Event
	if before.Phase != after.Phase || before.Reason != after.Reason {
		out = append(out, api.Event{Time: now, Kind: api.EventPhaseChanged, State: string(after.Phase), Message: after.Reason})
	}
	if after.Hash != before.Hash && after.Hash != "" {
		out = append(out, api.Event{Time: now, Kind: api.EventManifestAccepted, Message: "manifest " + after.Hash})
	}
	if f := after.Funds; f != nil && (before.Funds == nil || before.Funds.RunOutHeight != f.RunOutHeight) {
		out = append(out, api.Event{
			Time: now, Kind: api.EventFundsChanged,
			Message: fmt.Sprintf("funds run out at block %d, about %s", f.RunOutHeight, f.RunOutTime.Format(time.RFC3339)),
		})
	}
	if n := after.Notice; n != nil && before.Notice == nil {
		out = append(out, api.Event{
			Time: now, Kind: api.EventNotice, State: n.Reason,
			Message: fmt.Sprintf("the provider takes the lease back at block %d, about %s", n.EndsAtHeight, n.EndsAt.Format(time.RFC3339)),
		})
	}
	if a := after.Scale; a != nil && (before.Scale == nil || before.Scale.Number != a.Number) {
		out = append(out, scaleEvent(*a, now))
	}
	for _, s := range after.Services {
		old, _ := before.Service(s.Name)
		if old.State != s.State || old.Reason != s.Reason || old.Ready != s.Ready {
			out = append(out, api.Event{Time: now, Kind: api.EventServiceChanged, Service: s.Name, State: s.State, Message: s.Reason})
		}
	}
	out = append(out, addressDifferences(before, after, now)...)
	return out
}

func scaleEvent(a api.ScaleAnswer, now time.Time) api.Event {
	e := api.Event{Time: now, Kind: api.EventScaleAnswered, State: "confirmed"}
	for i, r := range a.Reasons {
		e.State = "declined"
		if i > 0 {
			e.Message += "; "
		}
		e.Message += r.Rule + ": " + r.Detail
	}
	return e
}
