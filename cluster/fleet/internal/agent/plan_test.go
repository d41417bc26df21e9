package agent

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/market"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func id(t require.TestingT) market.LeaseID {
	id, err := market.ParseLeaseID("tenant/1/1/1/provider")
	require.NoError(t, err)
	return id
}

// parseInstances reads "web/0#1 old ready; web/0#2 new running".
func parseInstances(t *testing.T, text string) (out []Instance) {
	t.Helper()
	for part := range strings.SplitSeq(text, ";") {
		words := strings.Fields(part)
		if len(words) == 0 {
			continue
		}
		i := Instance{State: runtime.Running, StartedAt: now.Add(-time.Minute), FinishedAt: now.Add(-10 * time.Second)}
		name, rest, _ := strings.Cut(words[0], "/")
		_, err := fmt.Sscanf(rest, "%d#%d", &i.Index, &i.Number)
		require.NoError(t, err)
		i.Service, i.Name, i.Hash = name, words[0], words[1]
		switch words[2] {
		case "ready":
			i.Ready = true
		case "leaving":
			i.Leaving = true
		case "dead":
			i.State = runtime.Exited
		case "created":
			i.State = runtime.Created
		}
		out = append(out, i)
	}
	return out
}

// text prints a plan in a line.
func text(p plan) string {
	var out []string
	for _, s := range p.starts {
		out = append(out, fmt.Sprintf("start %s/%d#%d", s.slot.Service, s.slot.Index, s.number))
	}
	for _, i := range p.retire {
		out = append(out, "retire "+i.Name)
	}
	for _, i := range p.remove {
		out = append(out, "remove "+i.Name)
	}
	if !p.wake.IsZero() {
		out = append(out, "wait "+p.wake.Sub(now).String())
	}
	return strings.Join(out, ", ")
}

func TestPlan(t *testing.T) {
	web := func(n uint32) *Workload { return &Workload{Services: []Service{{Name: "web", Count: n, Hash: "new"}}} }
	disk := &Workload{Services: []Service{{Name: "web", Count: 1, Hash: "new", Volumes: []Volume{{Kind: Persistent}}}}}
	rows := map[string]struct {
		want *Workload
		seen string
		plan string
	}{
		"nothing there is started":                       {web(2), "", "start web/0#1, start web/1#1"},
		"what runs is left alone":                        {web(1), "web/0#1 new ready", ""},
		"what is not ready yet is left alone":            {web(1), "web/0#1 new running", ""},
		"an older definition is replaced by a new one":   {web(1), "web/0#1 old ready", "start web/0#2"},
		"the old stays until the new is ready":           {web(1), "web/0#1 old ready; web/0#2 new running", ""},
		"then the old is retired":                        {web(1), "web/0#1 old ready; web/0#2 new ready", "retire web/0#1"},
		"then its remains are kept for the log":          {web(1), "web/0#1 old dead; web/0#2 new ready", ""},
		"one replica after another is replaced":          {web(2), "web/0#1 old ready; web/1#1 old ready", "start web/0#2"},
		"the second waits for the first":                 {web(2), "web/0#1 old ready; web/0#2 new ready; web/1#1 old ready", "retire web/0#1"},
		"then the second is replaced":                    {web(2), "web/0#2 new ready; web/1#1 old ready", "start web/1#2"},
		"a replica that is missing does not wait":        {web(2), "web/0#1 old ready; web/0#2 new running", "start web/1#1"},
		"a writer of a volume is retired first":          {disk, "web/0#1 old ready", "retire web/0#1"},
		"and replaced when it has ended":                 {disk, "web/0#1 old dead", "start web/0#2"},
		"a replica too many is retired":                  {web(1), "web/0#1 new ready; web/1#1 new ready", "retire web/1#1"},
		"and removed when it has ended":                  {web(1), "web/0#1 new ready; web/1#1 new dead", "remove web/1#1"},
		"a service that is not wanted is retired":        {web(1), "db/0#1 x ready; web/0#1 new ready", "retire db/0#1"},
		"when nothing is wanted all is retired":          {nil, "web/0#1 new ready; web/1#1 new dead", "retire web/0#1, remove web/1#1"},
		"a container that ended is followed by the next": {web(1), "web/0#1 new dead", "start web/0#2"},
		"its remains but the newest are removed":         {web(1), "web/0#1 new dead; web/0#2 new dead; web/0#3 new ready", "remove web/0#1"},
		"half a start is taken away and made anew":       {web(1), "web/0#1 new created", "start web/0#2, remove web/0#1"},
		"of two that are equal the newer stays":          {web(1), "web/0#1 new ready; web/0#2 new ready", "retire web/0#1"},
		"what is leaving is not counted":                 {web(1), "web/0#1 new leaving", "start web/0#2"},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, row.plan, text(decide(now, row.want, parseInstances(t, row.seen), nil)))
		})
	}
}

func TestPlanWaitsLongerAfterEachFailure(t *testing.T) {
	want := &Workload{Services: []Service{{Name: "web", Count: 1, Hash: "new"}}}
	for failures, pause := range map[uint32]time.Duration{0: time.Second, 1: 2 * time.Second, 5: 32 * time.Second, 9: 5 * time.Minute, 1 << 31: 5 * time.Minute} {
		dead := parseInstances(t, "web/0#7 new dead")
		dead[0].failures, dead[0].ExitCode, dead[0].StartedAt, dead[0].FinishedAt = failures, 3, now, now
		p := decide(now, want, dead, nil)
		assert.Equal(t, "wait "+pause.String(), text(p), "after %d failures", failures)
		assert.Equal(t, Trouble{Reason: "exited with code 3", Failing: true, Retry: now.Add(pause)}, p.troubles[Slot{"web", 0}])
		p = decide(now.Add(pause), want, dead, nil)
		require.Equal(t, "start web/0#8", text(p))
		assert.Equal(t, failures+1, p.starts[0].failures)
	}
}

func TestPlanDoesNotPunishWhatWasStoppedOnPurpose(t *testing.T) {
	want := &Workload{Services: []Service{{Name: "web", Count: 1, Hash: "new"}}}
	dead := parseInstances(t, "web/0#7 new dead")
	dead[0].Reason, dead[0].StartedAt, dead[0].FinishedAt = "stopped", now, now
	p := decide(now, want, dead, nil)
	require.Equal(t, "start web/0#8", text(p))
	assert.Zero(t, p.starts[0].failures)
}

func TestPlanHoldsAFailedStartBackOnlyForItsDefinition(t *testing.T) {
	want := &Workload{Services: []Service{{Name: "web", Count: 1, Hash: "new"}}}
	held := map[Slot]Trouble{{"web", 0}: {Reason: "image not available", Failing: true, Retry: now.Add(time.Minute), hash: "new"}}
	assert.Equal(t, "wait 1m0s", text(decide(now, want, nil, held)))
	assert.Equal(t, "start web/0#1", text(decide(now.Add(time.Minute), want, nil, held)))
	want.Services[0].Hash = "mended"
	assert.Equal(t, "start web/0#1", text(decide(now, want, nil, held)))
}

func TestPropertyPlansConvergeWithoutLosingService(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &Workload{Services: []Service{{Name: "web", Count: uint32(rapid.IntRange(0, 3).Draw(t, "count")), Hash: "new"}}}
		var seen []Instance
		for i := range rapid.IntRange(0, 6).Draw(t, "instances") {
			seen = append(seen, Instance{
				Name: fmt.Sprint(i), Service: "web", Index: uint32(rapid.IntRange(0, 3).Draw(t, "index")), Number: uint64(i + 1),
				Hash:  rapid.SampledFrom([]string{"old", "new"}).Draw(t, "hash"),
				State: rapid.SampledFrom([]runtime.State{runtime.Running, runtime.Running, runtime.Exited, runtime.Created}).Draw(t, "state"),
				Ready: true, StartedAt: now, FinishedAt: now,
			})
		}
		serving := func(index uint32) bool {
			return slices.ContainsFunc(seen, func(i Instance) bool { return i.Index == index && i.Running() && i.Ready })
		}
		at := now
		for range 100 {
			before := make(map[uint32]bool)
			for n := range w.Services[0].Count {
				before[n] = serving(n)
			}
			p := decide(at, w, seen, nil)
			for _, i := range slices.Concat(p.retire, p.remove) {
				seen = slices.DeleteFunc(seen, func(s Instance) bool { return s.Name == i.Name })
			}
			for n, was := range before {
				require.True(t, !was || serving(n), "replica %d was served and is not", n)
			}
			for _, s := range p.starts {
				seen = append(seen, Instance{
					Name: fmt.Sprint("s", len(seen), s.slot.Index, s.number), Service: "web", Index: s.slot.Index, Number: s.number,
					Hash: s.service.Hash, State: runtime.Running, Ready: true, StartedAt: at, FinishedAt: at,
				})
			}
			at = at.Add(time.Minute)
		}
		running := 0
		for _, i := range seen {
			if i.Running() {
				running++
				require.Equal(t, "new", i.Hash)
			}
		}
		require.EqualValues(t, w.Services[0].Count, running)
	})
}

func TestContainersAreReadBackFromTheirLabels(t *testing.T) {
	w := &Workload{Lease: id(t), Revision: 9}
	s := start{service: &Service{Name: "web", Hash: "abc", Volumes: []Volume{{Name: "tmp", Kind: Ephemeral}, {Name: "data", Kind: Persistent}}},
		slot: Slot{"web", 3}, number: 12, restarts: 4, failures: 2}
	lease, i, ok := parse(runtime.Container{Name: containerName(w.Lease, s.slot, s.number), Labels: labels(w, s), State: runtime.Running})
	require.True(t, ok)
	assert.Equal(t, w.Lease, lease)
	assert.Equal(t, Instance{
		Name: i.Name, Service: "web", Index: 3, Number: 12, Hash: "abc", Revision: 9, State: runtime.Running, Restarts: 4, failures: 2,
		volumes: []string{ephemeralName(w.Lease, s.slot, "tmp", 12)},
	}, i)
	_, _, ok = parse(runtime.Container{Name: "somebody-elses", Labels: labels(w, s)})
	assert.False(t, ok)
	_, _, ok = parse(runtime.Container{Name: "mo-x"})
	assert.False(t, ok)
}

func TestPropertyNamesAreValidAndInjective(t *testing.T) {
	seen := make(map[string]string)
	rapid.Check(t, func(t *rapid.T) {
		slot := Slot{rapid.StringMatching(`[a-z]([-a-z0-9]{0,61}[a-z0-9])?`).Draw(t, "service"), rapid.Uint32Range(0, 9999).Draw(t, "index")}
		number := rapid.Uint64Range(1, 1<<40).Draw(t, "number")
		key := fmt.Sprint(slot, number)
		name := containerName(id(t), slot, number)
		require.NoError(t, runtime.CheckName(name))
		require.NoError(t, runtime.CheckName(persistentName(id(t), slot, "data")))
		require.NoError(t, runtime.CheckName(ephemeralName(id(t), slot, "data", number)))
		if before, ok := seen[name]; ok {
			require.Equal(t, before, key)
		}
		seen[name] = key
	})
}

func TestReasonsAreForTenants(t *testing.T) {
	for want, i := range map[string]Instance{
		"exited with code 0":   {},
		"exited with code 3":   {ExitCode: 3},
		"ended by signal 9":    {ExitCode: 137},
		"ended: out of memory": {ExitCode: 137, Reason: "out of memory"},
		"ended":                {ExitCode: -1},
	} {
		assert.Equal(t, want, endText(i))
	}
	err := fmt.Errorf("pull: %w: no such tag", runtime.ErrImage)
	assert.Contains(t, startText("nginx:9", err), "image not available: nginx:9")
	assert.Contains(t, startText("x", runtime.ErrInvalid), "cannot run as it is")
	assert.Contains(t, startText("x", runtime.ErrUnsupported), "this host cannot run it")
	assert.LessOrEqual(t, len(startText("x", fmt.Errorf("%s", strings.Repeat("x", 10_000)))), maxReason+len("…"))
}
