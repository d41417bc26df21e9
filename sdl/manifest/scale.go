package manifest

import (
	"slices"

	"github.com/moorage-dev/moorage/market"
)

// WithCounts returns the manifest with the replicas that the groups have now,
// for a lease that was scaled without a new manifest. It changes the count of
// each service that has a scalable unit to itself; where several services share
// a unit their counts stay, and [Check] says whether they still add up. The
// receiver is not changed; the result shares everything but the counts with it.
func (m Manifest) WithCounts(groups []market.GroupSpec) Manifest {
	out := slices.Clone(m)
	for i, g := range out {
		j := slices.IndexFunc(groups, func(s market.GroupSpec) bool { return s.Name == g.Name })
		if j < 0 {
			continue
		}
		out[i].Services = slices.Clone(g.Services)
		for _, u := range groups[j].Units {
			setCount(out[i].Services, u)
		}
	}
	return out
}

// setCount gives the count of a scalable unit to the one service that has it.
func setCount(services []Service, u market.ResourceUnit) {
	low, high := u.Bounds()
	only := -1
	for i := range services {
		if services[i].Resources.ID != u.ID {
			continue
		}
		if only >= 0 {
			return
		}
		only = i
	}
	if only >= 0 && low != high {
		services[only].Count = u.Count
	}
}
