package sim_test

import (
	"flag"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/internal/sim"
)

var (
	seeds = flag.Int("sim.seeds", 24, "how many seeds to play")
	first = flag.Uint64("sim.first", 1, "the first seed")
)

// TestEveryMarketConvergesWhateverFails plays a fixed set of seeds; with
// -sim.seeds and -sim.first it plays others.
func TestEveryMarketConvergesWhateverFails(t *testing.T) {
	var mu = make(chan sim.Stats, *seeds)
	t.Run("seeds", func(t *testing.T) {
		for i := range uint64(*seeds) {
			seed := *first + i
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					stats, err := sim.Run(t.Context(), sim.Config{
						Seed: seed, Blocks: 400, Tenants: 1 + int(seed%4), Providers: 1 + int(seed%3), FaultPercent: int(seed%5) * 3,
					})
					require.NoError(t, err, "seed %d; play it again with -sim.first %d -sim.seeds 1", seed, seed)
					mu <- stats
				})
			})
		}
	})
	close(mu)
	var all sim.Stats
	for s := range mu {
		all.Deployed += s.Deployed
		all.Updated += s.Updated
		all.Closed += s.Closed
		all.Failed += s.Failed
		all.Scaled += s.Scaled
		all.Reclaimed += s.Reclaimed
		all.Leases += s.Leases
		all.Crashes += s.Crashes
		all.StepCrashes += s.StepCrashes
		all.EventsLost += s.EventsLost
		all.EventsLate += s.EventsLate
		all.EventsTwice += s.EventsTwice
		all.Faults += s.Faults
		all.Bound = max(all.Bound, s.Bound)
		all.Parked = max(all.Parked, s.Parked)
		all.Moved += s.Moved
		all.Released += s.Released
	}
	t.Logf("%+v", all)
	if *seeds < 10 {
		return // too few for every kind of thing to happen
	}
	assert.Positive(t, all.Deployed)
	assert.Positive(t, all.Updated)
	assert.Positive(t, all.Closed)
	for _, n := range []int{
		all.Scaled, all.Reclaimed, all.Crashes, all.StepCrashes, all.EventsLost, all.EventsLate, all.EventsTwice,
		all.Bound, all.Parked, all.Moved, all.Released,
	} {
		assert.Positive(t, n)
	}
}
