package fleet

import (
	"fmt"
	"log/slog"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/netpolicy"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// surround finds out what policies must know of this host, and whether its runtime
// enforces them.
func (f *Fleet) surround() error {
	enforcer, ok := f.cfg.Runtime.(runtime.PolicyEnforcer)
	if ok {
		f.enforces, f.surroundings = true, enforcer.Surroundings()
	} else {
		f.log.Warn("the container runtime keeps leases apart and enforces no more of their network policies")
	}
	f.surroundings.Own = append(f.surroundings.Own, f.cfg.OwnRanges...)
	if _, err := netpolicy.Compile(manifest.Group{}, nil, f.surroundings); err != nil {
		return fmt.Errorf("fleet: config: %w", err)
	}
	return nil
}

// Enforces implements [driver.PolicyEnforcer]. An engine behind the Docker API
// keeps leases apart and no more.
func (f *Fleet) Enforces() driver.Enforcement {
	if f.enforces {
		return driver.EnforcesAll
	}
	return driver.EnforcesLeases
}

// policy is what the runtime shall enforce for a workload, nil if it cannot.
func (f *Fleet) policy(w driver.Workload) *netpolicy.Policy {
	if !f.enforces {
		return nil
	}
	p, err := w.Policy(f.surroundings)
	if err == nil {
		return p
	}
	// Apply would have refused it: the workload is of an earlier program. Nothing
	// is let in.
	f.log.Error("a workload on disk has no network policy", slog.Any("lease", w.Lease), slog.Any("err", err))
	if p, err = netpolicy.Compile(manifest.Group{}, nil, f.surroundings); err != nil {
		return &netpolicy.Policy{}
	}
	return p
}
