package agent

import (
	"cmp"
	"slices"
	"time"

	"github.com/moorage-dev/moorage/cluster/runtime"
)

// Back-off of containers that end by themselves.
const (
	// firstBackoff is before the second start and doubles up to maxBackoff.
	firstBackoff = time.Second
	maxBackoff   = 5 * time.Minute
	// longRun is how long a container must have run for its end to count as a
	// first one.
	longRun = 10 * time.Minute
)

// backoff is how long to wait after a number of failures in a row.
func backoff(failures uint32) time.Duration {
	d := firstBackoff
	for range min(failures, 16) {
		if d = 2 * d; d >= maxBackoff {
			return maxBackoff
		}
	}
	return d
}

// start is a container to start.
type start struct {
	service  *Service
	slot     Slot
	number   uint64
	restarts uint32
	failures uint32
}

// plan is what one look at a workload results in.
type plan struct {
	starts []start
	// retire are containers to drain and stop, remove those to take away.
	retire, remove []Instance
	// troubles say why a replica waits.
	troubles map[Slot]Trouble
	// wake is when to look again at the latest; zero for not before a change.
	wake time.Time
}

// planner decides. It is pure: the same input gives the same plan.
type planner struct {
	now  time.Time
	want *Workload // nil when all shall go
	seen []Instance
	// held are slots that may not start before a time, because a start failed.
	held map[Slot]Trouble
	plan
}

// decide compares what is wanted with what is seen.
func decide(now time.Time, want *Workload, seen []Instance, held map[Slot]Trouble) plan {
	p := &planner{now: now, want: want, seen: seen, held: held}
	p.troubles = make(map[Slot]Trouble)
	known := make(map[Slot]bool)
	if want != nil {
		for i := range want.Services {
			s := &want.Services[i]
			p.service(s)
			for n := range s.Count {
				known[Slot{s.Name, n}] = true
			}
		}
	}
	for _, i := range seen {
		switch {
		case known[Slot{i.Service, i.Index}]:
		case i.Running():
			p.retire = append(p.retire, i)
		default:
			p.remove = append(p.remove, i)
		}
	}
	return p.plan
}

// service plans the replicas of a service: a replica without a container gets
// one; of those that run an older definition one at a time is replaced.
func (p *planner) service(s *Service) {
	rolling := false
	for n := range s.Count {
		current, old, _ := p.split(s, Slot{s.Name, n})
		if current != nil && (!current.Ready || len(old) > 0) {
			rolling = true
		}
	}
	for n := range s.Count {
		slot := Slot{s.Name, n}
		current, old, dead := p.split(s, slot)
		switch {
		case current != nil:
			if current.Ready {
				p.retire = append(p.retire, old...)
			}
		case len(old) == 0:
			p.begin(s, slot, dead)
		case !rolling:
			rolling = true
			if s.exclusive() {
				p.retire = append(p.retire, old...)
				continue
			}
			p.begin(s, slot, dead)
		}
		p.tidy(dead)
	}
}

// split sorts the containers of a slot: the newest that runs the definition
// wanted, those that run otherwise, and those that have ended, oldest first.
// Surplus containers of the definition wanted count as old.
func (p *planner) split(s *Service, slot Slot) (current *Instance, old, dead []Instance) {
	for i := range p.seen {
		c := &p.seen[i]
		if c.Service != slot.Service || c.Index != slot.Index {
			continue
		}
		switch {
		case !c.Running():
			dead = append(dead, *c)
		case c.Hash == s.Hash && !c.Leaving:
			if current != nil {
				old = append(old, *current)
			}
			current = c
		default:
			old = append(old, *c)
		}
	}
	slices.SortFunc(dead, func(a, b Instance) int { return cmp.Compare(a.Number, b.Number) })
	return current, old, dead
}

// begin starts a container in a slot, or says until when it waits.
func (p *planner) begin(s *Service, slot Slot, dead []Instance) {
	next := start{service: s, slot: slot, number: p.nextNumber(slot)}
	held, failed := p.held[slot]
	if failed = failed && held.hash == s.Hash; failed && p.now.Before(held.Retry) {
		p.wait(slot, held)
		return
	}
	if n := len(dead); n > 0 && dead[n-1].failed(s) {
		last := dead[n-1]
		next.restarts, next.failures = last.Restarts+1, last.failures+1
		if last.FinishedAt.Sub(last.StartedAt) >= longRun {
			next.failures = 1
		}
		if due := last.FinishedAt.Add(backoff(next.failures - 1)); p.now.Before(due) {
			p.wait(slot, Trouble{Reason: endText(last), Failing: true, Retry: due})
			return
		}
	}
	p.starts = append(p.starts, next)
	p.troubles[slot] = Trouble{Reason: "starting", Failing: next.failures > 0}
	if failed {
		p.troubles[slot] = held
	}
}

// failed reports whether a container of this definition ended by itself.
func (i *Instance) failed(s *Service) bool {
	return i.Hash == s.Hash && i.State == runtime.Exited && i.Reason != stopped
}

// wait notes that a slot waits until a time.
func (p *planner) wait(slot Slot, t Trouble) {
	p.troubles[slot] = t
	if p.wake.IsZero() || t.Retry.Before(p.wake) {
		p.wake = t.Retry
	}
}

// nextNumber is above that of every container the slot has.
func (p *planner) nextNumber(slot Slot) uint64 {
	var most uint64
	for _, i := range p.seen {
		if i.Service == slot.Service && i.Index == slot.Index {
			most = max(most, i.Number)
		}
	}
	return most + 1
}

// tidy removes ended containers but the newest, whose log somebody may want.
// What was never started is removed at once.
func (p *planner) tidy(dead []Instance) {
	for i, d := range dead {
		if i < len(dead)-1 || d.State == runtime.Created {
			p.remove = append(p.remove, d)
		}
	}
}
