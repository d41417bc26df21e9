package mtls

import (
	"container/list"
	"crypto/sha256"
	"time"

	"github.com/moorage-dev/moorage/market"
)

// cacheKey is the SHA-256 of a certificate.
type cacheKey = [sha256.Size]byte

type cacheEntry struct {
	key         cacheKey
	owner       market.Address
	verdict     error
	from, until time.Time
}

// cache keeps the newest verdicts, each for its time. Not safe for concurrent use.
type cache struct {
	limit int
	order *list.List // of cacheEntry, the newest first
	byKey map[cacheKey]*list.Element
}

func newCache(limit int) *cache {
	return &cache{limit: limit, order: list.New(), byKey: map[cacheKey]*list.Element{}}
}

func (c *cache) get(key cacheKey, now time.Time) (verdict error, ok bool) {
	e, ok := c.byKey[key]
	if !ok {
		return nil, false
	}
	entry, _ := e.Value.(cacheEntry)
	if now.Before(entry.from) || !now.Before(entry.until) {
		c.drop(e)
		return nil, false
	}
	return entry.verdict, true
}

func (c *cache) put(entry cacheEntry) {
	if e, ok := c.byKey[entry.key]; ok {
		c.drop(e)
	}
	c.byKey[entry.key] = c.order.PushFront(entry)
	for c.order.Len() > c.limit {
		c.drop(c.order.Back())
	}
}

func (c *cache) forget(owner market.Address) {
	for e := c.order.Front(); e != nil; {
		next := e.Next()
		if entry, _ := e.Value.(cacheEntry); entry.owner == owner {
			c.drop(e)
		}
		e = next
	}
}

func (c *cache) drop(e *list.Element) {
	entry, _ := c.order.Remove(e).(cacheEntry)
	delete(c.byKey, entry.key)
}
