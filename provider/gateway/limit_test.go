package gateway

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestBucketsFillUpAgain(t *testing.T) {
	l, now := newLimiter(2, 3), time.Now()
	for range 3 {
		assert.True(t, l.take("a", now))
	}
	assert.False(t, l.take("a", now))
	assert.True(t, l.empty("a", now))
	assert.True(t, l.take("b", now), "another caller has its own")
	now = now.Add(500 * time.Millisecond)
	assert.False(t, l.empty("a", now))
	assert.True(t, l.take("a", now))
	assert.False(t, l.take("a", now.Add(-time.Hour)), "a clock that goes back gives nothing")
	now = now.Add(time.Hour)
	for range 3 {
		assert.True(t, l.take("a", now))
	}
	assert.False(t, l.take("a", now), "never more than the burst")
}

func TestLimiterForgetsWhoWasNotSeenForLongest(t *testing.T) {
	l, now := newLimiter(1, 1), time.Now()
	assert.True(t, l.take("first", now))
	for i := range maxBuckets {
		l.take(strconv.Itoa(i), now)
	}
	assert.Len(t, l.byKey, maxBuckets)
	assert.Equal(t, maxBuckets, l.order.Len())
	assert.True(t, l.take("first", now))
}

func TestAddressesAreCallers(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:80":               "192.0.2.1",
		"[::ffff:192.0.2.1]:80":      "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:443": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:1":           "fe80::/64",
		"":                           "unknown",
		"@":                          "unknown",
	} {
		assert.Equal(t, want, addressKey(remote))
	}
}
