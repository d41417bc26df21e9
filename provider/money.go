package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/moorage-dev/moorage/market"
)

// RunOut says when the funds of a lease's deployment run out if nobody deposits.
type RunOut struct {
	// Height is the first block that is not paid for, 0 when it is not in sight.
	Height int64 `json:"height"`
	// Time is when that block is expected, from the pace of the blocks before.
	Time time.Time `json:"time"`
	// Overdrawn says that funds have run out already: Height is then where the
	// market closes the lease.
	Overdrawn bool `json:"overdrawn,omitempty"`
}

// lookAfterMoney predicts when the funds of a lease run out, tells it, and
// withdraws in time.
func (p *Provider) lookAfterMoney(ctx context.Context, id market.LeaseID) error {
	account, err := p.cfg.Market.Account(ctx, id.DeploymentID)
	if err != nil {
		return err
	}
	f, err := p.facts(ctx)
	if err != nil {
		return err
	}
	run, left := p.predict(account, f.head)
	p.mu.Lock()
	h := p.health[id]
	if h == nil {
		p.mu.Unlock()
		return nil
	}
	h.runOut = run
	warn := run.Height > 0 && left <= p.cfg.WarnBefore && h.warnedOf != run.Height
	withdraw := run.Height > 0 && left <= p.cfg.WithdrawBefore && h.withdrawnFor != run.Height
	if warn {
		h.warnedOf = run.Height
	}
	p.mu.Unlock()
	if warn {
		p.cfg.Logger.Warn("a tenant's funds run out", "lease", id, "height", run.Height, "time", run.Time, "overdrawn", run.Overdrawn)
		p.observe(Event{Kind: EventRunsDry, Lease: id, RunOut: run})
	}
	if withdraw {
		if err := p.withdraw(ctx, id); err != nil {
			return err
		}
		p.mu.Lock()
		h.withdrawnFor = run.Height
		p.mu.Unlock()
	}
	for _, before := range []time.Duration{p.cfg.WarnBefore, p.cfg.WithdrawBefore} {
		if run.Height > 0 && left > before {
			p.queue.addAfter(leaseTask(id), left-before)
			break
		}
	}
	return nil
}

// predict says when an account runs out, and how long that is from now.
func (p *Provider) predict(a market.Account, head market.Head) (run RunOut, left time.Duration) {
	if a.DueAt == 0 || a.State == market.AccountClosed {
		return RunOut{}, 0
	}
	p.mu.Lock()
	each := p.pace.blockTime()
	p.mu.Unlock()
	const forever = 100 * 365 * 24 * time.Hour
	blocks := a.DueAt - head.Height
	if left = forever; blocks < int64(forever/each) {
		left = time.Duration(blocks) * each
	}
	return RunOut{Height: a.DueAt, Time: head.Time.Add(left), Overdrawn: a.State == market.AccountOverdrawn}, left
}

// moneyPause is how long after the start overdue earnings are looked for: by then
// the pace of the blocks has been measured.
const moneyPause = time.Minute

// runMoney withdraws on schedule, and soon after the start what a provider that ran
// for too short a time has left.
func (p *Provider) runMoney(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(min(moneyPause, p.cfg.WithdrawEvery)):
	}
	if err := p.withdrawAll(ctx, p.overdue(ctx)); err != nil && ctx.Err() == nil {
		p.cfg.Logger.Warn("withdrawing at the start failed", "err", err)
	}
	tick := time.NewTicker(p.cfg.WithdrawEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if err := p.Withdraw(ctx); err != nil && ctx.Err() == nil {
			p.cfg.Logger.Warn("withdrawing failed, it will be tried again", "err", err)
		}
	}
}

// Withdraw settles every active lease and has the earnings paid out, in
// whatever denominations. Leases that could not be withdrawn from are in the
// error; the others were.
func (p *Provider) Withdraw(ctx context.Context) error { return p.withdrawAll(ctx, p.knownLeases()) }

// overdue returns the leases that the market has not settled for as long as a
// withdrawal is due. One that cannot be looked at counts.
func (p *Provider) overdue(ctx context.Context) []market.LeaseID {
	f, err := p.facts(ctx)
	if err != nil {
		return nil // the schedule makes up for it
	}
	p.mu.Lock()
	each := p.pace.blockTime()
	p.mu.Unlock()
	return slices.DeleteFunc(p.knownLeases(), func(id market.LeaseID) bool {
		a, err := p.cfg.Market.Account(ctx, id.DeploymentID)
		return err == nil && time.Duration(f.head.Height-a.SettledAt)*each < p.cfg.WithdrawEvery
	})
}

func (p *Provider) withdrawAll(ctx context.Context, leases []market.LeaseID) error {
	var (
		mu     sync.Mutex
		faults error
		wg     sync.WaitGroup
	)
	room := make(chan struct{}, maxInFlight*maxBatch)
	for _, id := range leases {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			if err := p.withdraw(ctx, id); err != nil {
				mu.Lock()
				defer mu.Unlock()
				faults = errors.Join(faults, fmt.Errorf("provider: withdraw from %s: %w", id, err))
			}
		})
	}
	wg.Wait()
	return faults
}

// withdraw has the earnings of a lease paid out, together with those of others
// that are due at the same time.
func (p *Provider) withdraw(ctx context.Context, id market.LeaseID) error {
	err := p.payouts.submit(ctx, market.WithdrawLease{ID: id})
	if errors.Is(err, market.ErrState) || errors.Is(err, market.ErrNotFound) {
		return nil // closed meanwhile: everything was paid out
	}
	if err != nil {
		return err
	}
	p.observe(Event{Kind: EventWithdrawn, Lease: id})
	return nil
}
