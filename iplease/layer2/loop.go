package layer2

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/moorage-dev/moorage/iplease/driver"
)

// Pauses of the loop.
const (
	// refusedPause is after another host did not agree, troublePause after rules
	// could not be made, conflictPause after somebody else had the address.
	refusedPause  = 200 * time.Millisecond
	troublePause  = time.Second
	conflictPause = 5 * time.Second
	// contestedTime is how long somebody else who answered is remembered;
	// defendPause between two defences is RFC 5227's DEFEND_INTERVAL.
	contestedTime = time.Minute
	defendPause   = 10 * time.Second
)

// Run answers for addresses until ctx ends, then without error, or the segment
// cannot be spoken on. Before it returns it is silent, and the host is as it was
// before; peers take over at once.
func (a *Announcer) Run(ctx context.Context) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	a.mu.Lock()
	switch {
	case a.closed:
		a.mu.Unlock()
		return driver.ErrClosed
	case a.stop != nil:
		a.mu.Unlock()
		return errors.New("layer2: runs already")
	}
	a.stop, a.done = cancel, done
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		a.stop, a.done = nil, nil
		a.mu.Unlock()
		close(done)
	}()
	p, err := a.open(a.cfg, hooks{alive: a.alive, conflict: a.conflict})
	if err != nil {
		return fmt.Errorf("layer2: %w", err)
	}
	if err := a.run(inner, cancel, p); err != nil {
		return fmt.Errorf("layer2: %w", err)
	}
	return nil
}

// run works with a plane that is open. The peers are told last: when they take
// over, nobody answers here any more.
func (a *Announcer) run(ctx context.Context, cancel context.CancelFunc, p plane) error {
	a.begun(p)
	beyond, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	const parts = 3
	errs := make(chan error, parts)
	var wg sync.WaitGroup
	part := func(ctx context.Context, f func(context.Context) error) {
		wg.Go(func() {
			defer cancel()
			errs <- f(ctx)
		})
	}
	part(ctx, p.Run)
	if a.mesh != nil {
		part(ctx, a.beat)
		part(beyond, a.mesh.Run)
	}
	err := a.loop(ctx, p)
	err = errors.Join(err, p.Close())
	a.ended()
	end()
	wg.Wait()
	close(errs)
	for e := range errs {
		err = errors.Join(err, e)
	}
	return err
}

// begun forgets what was before.
func (a *Announcer) begun(p plane) {
	now := time.Now()
	a.beaten.Store(now.UnixNano())
	a.mu.Lock()
	defer a.mu.Unlock()
	a.plane = p
	a.settle(now)
	a.allDirty()
}

// settle waits for peers before this host takes addresses.
func (a *Announcer) settle(now time.Time) {
	if a.settled = now; a.mesh != nil {
		a.settled = now.Add(a.cfg.Timeout + a.cfg.Timeout/2)
	}
}

func (a *Announcer) allDirty() {
	for id := range a.claims {
		a.dirty[id] = true
	}
	a.broadcast()
}

// ended says that this host answers for nothing any more.
func (a *Announcer) ended() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.plane = nil
	for id, c := range a.claims {
		c.taking, c.placing, c.yield = false, false, false
		if c.bound != nil {
			c.bound = nil
			a.touch(id)
		}
	}
}

// alive is false when this host may have been frozen: others have taken over.
func (a *Announcer) alive() bool {
	return a.mesh == nil || time.Since(time.Unix(0, a.beaten.Load())) < a.cfg.Timeout
}

// beat notices that this host was frozen and gives all addresses up before it
// answers again.
func (a *Announcer) beat(ctx context.Context) error {
	const beats = 8 // in each timeout
	tick := time.NewTicker(a.cfg.Timeout / beats)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !a.alive() {
			a.cfg.Logger.Warn("this host was frozen; it gives its addresses up", "for", time.Since(time.Unix(0, a.beaten.Load())))
			a.giveUp(ctx)
		}
		a.beaten.Store(time.Now().UnixNano())
	}
}

// giveUp waits until this host answers for nothing, or ctx ends.
func (a *Announcer) giveUp(ctx context.Context) {
	a.mu.Lock()
	a.settle(time.Now())
	for _, c := range a.claims {
		c.taking = false
		c.yield = c.yield || c.here()
	}
	a.allDirty()
	a.mu.Unlock()
	_ = a.await(ctx, func() bool {
		for _, c := range a.claims {
			if c.here() {
				return false
			}
		}
		return true
	})
}

// loop compares what should be with what is, whenever something changed.
func (a *Announcer) loop(ctx context.Context, p plane) error {
	const looks = 4 // in each timeout
	tick := time.NewTicker(a.cfg.Timeout / looks)
	defer tick.Stop()
	taker := make(chan struct{}, 1) // one takes addresses at a time
	var wg sync.WaitGroup
	defer wg.Wait()
	if a.mesh == nil { // what was answered for before a crash is so without a gap
		a.take(ctx, p, a.takable(time.Now()))
	}
	for {
		a.step(ctx, p)
		if a.mesh == nil || a.inTouch() {
			if ids := a.takable(time.Now()); len(ids) > 0 {
				select {
				case taker <- struct{}{}:
					wg.Go(func() {
						a.take(ctx, p, ids)
						<-taker
						nudge(a.wake)
					})
				default: // it looks again when it is done
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-a.wake:
		case <-tick.C:
			a.tick(time.Now())
		}
	}
}

// inTouch reports whether this host has waited for its peers long enough.
func (a *Announcer) inTouch() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	others := len(a.cfg.Peers)
	if slices.Contains(a.cfg.Peers, a.cfg.Listen) {
		others--
	}
	if len(a.peers) >= others {
		a.settled = time.Time{} // whoever goes now is missed, not waited for
	}
	return !time.Now().Before(a.settled)
}

// tick does what time does.
func (a *Announcer) tick(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, c := range a.claims {
		if c.contested != "" && now.After(c.contestedUntil) {
			c.contested = ""
			a.touch(id)
		}
		if c.bound != nil && (c.trouble != nil || !c.egress && c.Egress) && now.After(c.retry) {
			a.dirty[id] = true
		}
	}
}
