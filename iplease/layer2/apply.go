package layer2

import (
	"context"
	"errors"
	"fmt"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/iplease/driver"
)

// Apply implements [driver.Announcer].
func (a *Announcer) Apply(ctx context.Context, n driver.Announcement) error {
	if err := a.begin(ctx); err != nil {
		return err
	}
	if err := n.Validate(); err != nil {
		return err
	}
	e, err := a.desire(n.Clone())
	if err != nil || e.Revision != n.Revision {
		return err
	}
	return a.effective(ctx, e)
}

// desire makes n what is known of its claim, unless it is known already.
func (a *Announcer) desire(n driver.Announcement) (entry, error) {
	a.saving.Lock()
	defer a.saving.Unlock()
	a.mu.Lock()
	e := entry{Announcement: n, Generation: 1}
	if c := a.claims[n.Claim]; c != nil {
		e.Generation = c.Generation
		if c.Withdrawn {
			e.Generation++
		} else if c.Revision >= n.Revision {
			a.mu.Unlock()
			return c.entry, nil
		}
	} else if len(a.claims) >= maxClaims {
		a.mu.Unlock()
		return entry{}, &driver.TransientError{Err: fmt.Errorf("layer2: there are %d claims already", maxClaims)}
	}
	for _, at := range n.Addresses {
		if owner, ok := a.owners[at]; ok && owner != n.Claim {
			a.mu.Unlock()
			return entry{}, fmt.Errorf("layer2: %w: %s by %s", driver.ErrConflict, at, owner)
		}
	}
	a.mu.Unlock()
	if err := a.store.save(e); err != nil {
		return entry{}, &driver.TransientError{Err: err}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.set(e)
	return e, nil
}

// effective waits until this host and those that live do as e says, or as
// something newer says.
func (a *Announcer) effective(ctx context.Context, e entry) error {
	wait, cancel := context.WithTimeout(ctx, applyTime)
	defer cancel()
	var trouble error
	err := a.await(wait, func() bool {
		trouble = nil
		for _, p := range a.peers {
			if p.acked[e.Claim].compare(e.version()) < 0 {
				trouble = fmt.Errorf("host %s has not heard of it", p.node)
				return false
			}
		}
		c := a.claims[e.Claim]
		if c == nil || !c.here() {
			return true
		}
		trouble = errors.New("the rules are not there yet")
		if c.bound != nil && c.bound.version().compare(e.version()) >= 0 {
			return true
		}
		return c.trouble != nil && c.tried.compare(e.version()) >= 0
	})
	if err == nil {
		a.mu.Lock()
		if c := a.claims[e.Claim]; c != nil && c.tried.compare(e.version()) >= 0 {
			err = c.trouble
		}
		a.mu.Unlock()
		if err == nil {
			return nil
		}
	} else if ctx.Err() == nil {
		err = trouble
	} else {
		return err
	}
	return &driver.TransientError{Err: fmt.Errorf("layer2: claim %s: %w", e.Claim, err)}
}

// Withdraw implements [driver.Announcer]. Hosts that are out of touch are not
// waited for; they are told when they are back.
func (a *Announcer) Withdraw(ctx context.Context, id iplease.ClaimID) error {
	if err := a.begin(ctx); err != nil {
		return err
	}
	a.saving.Lock()
	a.mu.Lock()
	c := a.claims[id]
	if c == nil {
		a.mu.Unlock()
		a.saving.Unlock()
		return nil
	}
	e := c.entry
	a.mu.Unlock()
	e.Withdrawn = true
	err := a.store.save(e)
	if err == nil {
		a.mu.Lock()
		a.set(e)
		a.mu.Unlock()
	}
	a.saving.Unlock()
	if err != nil {
		return &driver.TransientError{Err: err}
	}
	wait, cancel := context.WithTimeout(ctx, applyTime)
	defer cancel()
	err = a.await(wait, func() bool {
		for _, p := range a.peers {
			if p.acked[id].compare(e.version()) < 0 {
				return false
			}
		}
		c := a.claims[id]
		return c == nil || !c.here() || !c.Withdrawn
	})
	if err != nil && ctx.Err() == nil {
		err = &driver.TransientError{Err: fmt.Errorf("layer2: claim %s is still answered for: %w", id, err)}
	}
	return err
}
