package layer2

import (
	"context"
	"slices"
	"time"

	"github.com/moorage-dev/moorage/iplease/driver"
)

// job is one change of what this host answers for.
type job struct {
	claim *claim
	// as is what to answer with; nil is to be silent.
	as   *entry
	work put
}

// step drops and changes what this host answers for.
func (a *Announcer) step(ctx context.Context, p plane) {
	a.placing.Lock()
	defer a.placing.Unlock()
	now := time.Now()
	a.mu.Lock()
	var jobs []job
	for id := range a.dirty {
		c := a.claims[id]
		switch {
		case c == nil || c.bound == nil:
		case c.trouble != nil && c.tried == c.version() && now.Before(c.retry):
		case !a.keeps(c):
			jobs = append(jobs, job{claim: c, work: put{drop: c.bound.Addresses}})
		case c.bound.version() != c.version() || c.trouble != nil || c.Egress && !c.egress:
			jobs = append(jobs, c.job())
		}
	}
	clear(a.dirty)
	a.mu.Unlock()
	a.do(ctx, p, jobs)
}

// job is to answer as the claim says now, without addresses that it had before.
func (c *claim) job() job {
	as := c.entry
	j := job{claim: c, as: &as, work: put{hold: []driver.Announcement{c.Clone()}}}
	if c.bound != nil {
		for _, at := range c.bound.Addresses {
			if !slices.Contains(c.Addresses, at) {
				j.work.drop = append(j.work.drop, at)
			}
		}
	}
	return j
}

// do does jobs in one change, or each alone when that fails, so that one claim
// does not hold up others. The caller holds placing.
func (a *Announcer) do(ctx context.Context, p plane, jobs []job) {
	var all put
	for _, j := range jobs {
		all.hold, all.drop = append(all.hold, j.work.hold...), append(all.drop, j.work.drop...)
	}
	err := p.Put(ctx, all)
	if err != nil && len(jobs) > 1 && ctx.Err() == nil {
		for _, j := range jobs {
			a.finish(ctx, p, j, p.Put(ctx, j.work))
		}
		return
	}
	if err != nil && len(jobs) == 0 && ctx.Err() == nil {
		a.cfg.Logger.Error("rules cannot be changed", "error", err)
	}
	for _, j := range jobs {
		a.finish(ctx, p, j, err)
	}
}

// finish notes how a job went.
func (a *Announcer) finish(ctx context.Context, p plane, j job, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := j.claim
	if err != nil && ctx.Err() == nil {
		a.cfg.Logger.Error("rules of a claim cannot be changed", "claim", c.Claim.String(), "error", err)
	}
	c.placing = false
	switch {
	case j.as != nil:
		a.placed(p, c, *j.as, err)
	case err != nil:
		c.tried, c.trouble, c.retry = c.version(), err, time.Now().Add(troublePause)
	default:
		c.bound, c.yield, c.contested, c.trouble = nil, false, "", nil
		c.why = "another host is to take it"
		a.touch(c.Claim)
	}
}

// placed notes how an attempt went to answer for a claim as e says.
func (a *Announcer) placed(p plane, c *claim, e entry, err error) {
	before, had := c.holding(), c.bound != nil && c.bound.version() == e.version()
	c.tried, c.trouble = e.version(), err
	if err != nil {
		c.retry = time.Now().Add(troublePause)
		c.why, c.broken = "the host cannot make its rules", true
		a.touch(c.Claim)
		return
	}
	c.bound, c.broken, c.retry = &e, false, time.Now().Add(troublePause)
	if c.egress, c.egressTrouble = false, ""; e.Egress {
		c.egress, c.egressTrouble = p.Egress(e.Announcement)
	}
	if !had || before != c.holding() {
		a.touch(c.Claim)
	}
}
