package provider

import (
	"context"
	"sync"
	"time"

	"github.com/moorage-dev/moorage/market"
)

// task names something to look at: an order, or a lease.
type task struct {
	lease bool
	id    market.LeaseID // for an order without the provider
}

func orderTask(id market.OrderID) task { return task{id: market.LeaseID{OrderID: id}} }
func leaseTask(id market.LeaseID) task { return task{lease: true, id: id} }

// Bounds of the delay before a task that failed is tried again.
const (
	firstRetry = 200 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// queue hands each task to one worker at a time. A task added while it is being
// worked on is handed out once more afterwards. It is as long as there are
// orders and leases, never longer.
type queue struct {
	mu       sync.Mutex // guards all below
	waiting  []task
	queued   map[task]bool // in waiting
	active   map[task]bool // with a worker
	again    map[task]bool // added while active
	failures map[task]int
	timers   map[task]delayed
	wake     chan struct{} // capacity 1: there may be something waiting
	closed   bool
}

func newQueue() *queue {
	return &queue{
		queued: map[task]bool{}, active: map[task]bool{}, again: map[task]bool{},
		failures: map[task]int{}, timers: map[task]delayed{}, wake: make(chan struct{}, 1),
	}
}

func (q *queue) add(t task) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.addLocked(t)
}

func (q *queue) addLocked(t task) {
	switch {
	case q.closed || q.queued[t]:
	case q.active[t]:
		q.again[t] = true
	default:
		q.queued[t] = true
		q.waiting = append(q.waiting, t)
		q.signal()
	}
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// addAfter adds the task when d has passed; of several wishes the earliest
// counts.
func (q *queue) addAfter(t task, d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	due := time.Now().Add(d)
	old, ok := q.timers[t]
	if q.closed || ok && !due.Before(old.due) {
		return
	}
	if ok {
		old.timer.Stop()
	}
	q.timers[t] = delayed{due, time.AfterFunc(d, func() { q.ring(t, due) })}
}

// delayed is a task that is added later.
type delayed struct {
	due   time.Time
	timer *time.Timer
}

// ring adds the task of a timer, unless another has taken its place.
func (q *queue) ring(t task, due time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now, ok := q.timers[t]; ok && now.due.Equal(due) {
		delete(q.timers, t)
		q.addLocked(t)
	}
}

// next waits for a task. It reports false when the context has ended.
func (q *queue) next(ctx context.Context) (task, bool) {
	for {
		if t, ok := q.pop(); ok {
			return t, true
		}
		select {
		case <-ctx.Done():
			return task{}, false
		case <-q.wake:
		}
	}
}

func (q *queue) pop() (task, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		return task{}, false
	}
	t := q.waiting[0]
	q.waiting = q.waiting[1:]
	delete(q.queued, t)
	q.active[t] = true
	if len(q.waiting) > 0 {
		q.signal()
	}
	return t, true
}

// done ends the work on a task. After an error it is tried again, later each
// time. It returns how often it has failed in a row.
func (q *queue) done(t task, err error) int {
	q.mu.Lock()
	delete(q.active, t)
	again := q.again[t]
	delete(q.again, t)
	if err == nil {
		delete(q.failures, t)
		if again {
			q.addLocked(t)
		}
		q.mu.Unlock()
		return 0
	}
	q.failures[t]++
	n := q.failures[t]
	q.mu.Unlock()
	q.addAfter(t, min(firstRetry<<min(n-1, 10), lastRetry))
	return n
}

// size returns how many tasks wait or are being worked on.
func (q *queue) size() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting) + len(q.active)
}

// close stops all timers; what is added later is dropped.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, d := range q.timers {
		d.timer.Stop()
	}
}

// queues are a queue for orders and one for leases: thousands of open orders do
// not keep a lease waiting.
type queues struct{ orders, leases *queue }

func newQueues() queues { return queues{newQueue(), newQueue()} }

func (q queues) of(t task) *queue {
	if t.lease {
		return q.leases
	}
	return q.orders
}

func (q queues) add(t task)                       { q.of(t).add(t) }
func (q queues) addAfter(t task, d time.Duration) { q.of(t).addAfter(t, d) }

func (q queues) close() {
	q.orders.close()
	q.leases.close()
}
