package layer2

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/iplease/driver"
)

func on(nodes ...string) driver.Announcement {
	a := driver.Announcement{Claim: iplease.ClaimID{Owner: "tenant", Name: "web"}}
	for _, n := range nodes {
		a.Backends = append(a.Backends, driver.Backend{Node: n, Address: netip.MustParseAddr("10.0.0.2")})
	}
	return a
}

func TestWhoAnswersIsOneOfThoseThatHaveAReplica(t *testing.T) {
	live := []string{"a", "b", "c"}
	assert.Equal(t, "b", choose(on("b"), live, nil))
	assert.Contains(t, live, choose(on(), live, nil), "without replicas any")
	assert.Contains(t, live, choose(on("gone"), live, nil), "and when theirs are dead")
	assert.Contains(t, []string{"a", "c"}, choose(on("a", "c"), live, nil))
	assert.Equal(t, choose(on(""), live, nil), choose(on(), live, nil), "a replica without a node is reached from all")
	assert.Empty(t, choose(on(), nil, nil))
}

func TestWhoAnswersGoesOn(t *testing.T) {
	live := []string{"a", "b", "c"}
	for _, h := range live {
		assert.Equal(t, h, choose(on(), live, []string{h}))
	}
	assert.Equal(t, "b", choose(on("b"), live, []string{"a"}), "unless its replica is elsewhere")
	assert.Contains(t, []string{"b", "c"}, choose(on(), []string{"b", "c"}, []string{"a"}), "or it is dead")
}

// All hosts that see the same choose the same, in whatever order they see it, and
// of two that answer one goes on.
func TestTheChoiceIsTheSameEverywhere(t *testing.T) {
	names := rapid.StringMatching(`[a-z]{1,3}`)
	rapid.Check(t, func(t *rapid.T) {
		live := rapid.SliceOfNDistinct(names, 1, 6, rapid.ID).Draw(t, "live")
		holders := rapid.SliceOfDistinct(names, rapid.ID).Draw(t, "holders")
		replicas := rapid.SliceOf(names).Draw(t, "replicas")
		a := on(replicas...)
		want := choose(a, live, holders)
		require.Contains(t, live, want)
		shuffled := rapid.Permutation(live).Draw(t, "shuffled")
		backwards := slices.Clone(holders)
		slices.Reverse(backwards)
		require.Equal(t, want, choose(a, shuffled, backwards))
		require.Equal(t, want, choose(a, live, append(holders, want)), "it goes on when it has it")
	})
}

func TestVersionsAreOrdered(t *testing.T) {
	order := []version{{1, false, 1}, {1, false, 9}, {1, true, 3}, {2, false, 1}, {2, true, 1}}
	for i, a := range order {
		for j, b := range order {
			got := a.compare(b)
			assert.Equal(t, i < j, got < 0, "%v %v", a, b)
			assert.Equal(t, i == j, got == 0, "%v %v", a, b)
		}
	}
}
