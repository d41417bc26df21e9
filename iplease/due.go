package iplease

import "time"

// dueHeap has the claims that expire by time, the earliest at index 0. A claim
// knows its place, so that it can be taken out.
type dueHeap []*claim

// schedule sets when a claim expires; the zero time is never.
func (t *Table) schedule(c *claim, until time.Time) {
	if c.due > 0 {
		t.due.drop(c)
	}
	c.until = until
	if !until.IsZero() {
		t.due = append(t.due, c)
		c.due = len(t.due)
		t.due.up(len(t.due) - 1)
	}
}

func (h dueHeap) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].due, h[j].due = i+1, j+1
}

func (h dueHeap) up(i int) {
	for i > 0 && h[i].until.Before(h[(i-1)/2].until) {
		h.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (h dueHeap) down(i int) {
	for {
		least := i
		for _, kid := range [...]int{2*i + 1, 2*i + 2} {
			if kid < len(h) && h[kid].until.Before(h[least].until) {
				least = kid
			}
		}
		if least == i {
			return
		}
		h.swap(i, least)
		i = least
	}
}

// drop takes a claim out.
func (h *dueHeap) drop(c *claim) {
	i, last := c.due-1, len(*h)-1
	h.swap(i, last)
	(*h)[last] = nil
	*h = (*h)[:last]
	if i < last {
		h.up(i)
		h.down(i)
	}
	c.due = 0
}
