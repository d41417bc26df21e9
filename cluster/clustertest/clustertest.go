// Package clustertest is the conformance suite of cluster drivers: every clause
// of the contract in package cluster/driver is a [Case], and [Run] runs them
// all against a driver.
//
// A driver's test describes how to get a fresh cluster in a [Harness], declares
// which abilities the driver claims, and calls Run. A claimed ability that does
// not work is a failure; one that is not claimed is skipped by name. Workloads
// run the program of package guest: a harness for real containers builds an
// image whose entrypoint is command guestd, one in memory calls the package.
//
// Cases are functions that return errors, so the suite itself can be tested:
// package cluster/memcluster feeds it drivers with one fault each and checks
// that the right case notices.
package clustertest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/moorage-dev/moorage/cluster/driver"
)

// Ability is something that not every driver can.
type Ability string

// Abilities. A driver claims those of its optional interfaces that it
// implements, and those that its clusters have.
const (
	// Watch, Logs, Exec and Hostnames are the optional interfaces of package
	// cluster/driver.
	Watch     Ability = "watch"
	Logs      Ability = "logs"
	Exec      Ability = "exec"
	Hostnames Ability = "hostnames"
	// Reopen: the harness can close the driver and open another on the same state.
	Reopen Ability = "reopen"
	// HTTP: the harness can fetch the URIs of HTTP services.
	HTTP Ability = "http"
	// Forward: ports that are global but not HTTP are reached from outside.
	Forward Ability = "forward"
	// Names: services of a lease reach one another by name.
	Names Ability = "names"
	// Images: an image that does not exist is noticed.
	Images Ability = "images"
	// Restarts: a container that ends is started again, and counted.
	Restarts Ability = "restarts"
	// Persistence: persistent volumes of class "beta2" outlive their containers.
	Persistence Ability = "persistence"
	// Isolation: leases do not reach one another over the network.
	Isolation Ability = "isolation"
	// Policy: a port is reached by the services it is exposed to and by no others.
	Policy Ability = "policy"
)

// Harness says how to get clusters to test.
type Harness struct {
	// New makes a fresh, empty cluster with room for 3 cores and 1 GiB of memory at
	// least, and opens it. Clean-up goes through t.
	New func(t *testing.T) *Cluster
	// Run runs a subtest; nil is plainly. A driver in memory passes synctest.Test.
	Run func(t *testing.T, f func(t *testing.T))
	// Abilities are those that the driver claims.
	Abilities []Ability
	// Image is the guest, "guest" if "". MissingImage is one that does not exist.
	Image, MissingImage string
	// Guest begins a command inside the image; nil is "/guest".
	Guest []string
	// Patience bounds every wait of the suite, for readiness above all; 0 is
	// [DefaultPatience].
	Patience time.Duration
	// Skip names cases that are not run, with the reason.
	Skip map[string]string
}

// DefaultPatience is for a driver that starts containers in seconds.
const DefaultPatience = 30 * time.Second

// Cluster is one cluster under test.
type Cluster struct {
	// Driver is open.
	Driver driver.Driver
	// Reopen closes the driver and opens another on the same state. It may be nil
	// without the ability.
	Reopen func(ctx context.Context) (driver.Driver, error)
	// Get fetches a URL as somebody outside, and fails unless the status is 200. It
	// may be nil without the abilities HTTP and Forward.
	Get func(ctx context.Context, url string) (body string, err error)
	// Ask sends a datagram to a host and port as somebody outside and returns the
	// answer; see [guest.Ask]. nil leaves out what needs it.
	Ask func(ctx context.Context, address string) (answer string, err error)
}

// Case checks one clause of the contract.
type Case struct {
	// Name is the name of the subtest.
	Name string
	// Clause is the sentence of the contract.
	Clause string
	// Needs are the abilities without which the case is skipped.
	Needs []Ability
	// Check returns what is wrong.
	Check func(ctx context.Context, e *Env) error
}

// Env is what a case works with: one fresh cluster, and what the harness says.
type Env struct {
	*Cluster
	Image, MissingImage string
	Guest               []string
	Patience            time.Duration
	// Abilities are those that the driver claims.
	Abilities []Ability
}

// Claims reports whether the driver claims an ability.
func (e *Env) Claims(a Ability) bool { return slices.Contains(e.Abilities, a) }

// Env makes the environment of a case for a cluster.
func (h Harness) Env(c *Cluster) *Env {
	e := &Env{Cluster: c, Image: h.Image, MissingImage: h.MissingImage, Guest: h.Guest, Patience: h.Patience, Abilities: h.Abilities}
	if e.Image == "" {
		e.Image = "guest"
	}
	if e.Guest == nil {
		e.Guest = []string{"/guest"}
	}
	if e.Patience == 0 {
		e.Patience = DefaultPatience
	}
	return e
}

// Run runs all cases, each as a subtest on a cluster of its own.
func Run(t *testing.T, h Harness) {
	t.Helper()
	run := h.Run
	if run == nil {
		run = func(t *testing.T, f func(t *testing.T)) {
			t.Helper()
			f(t)
		}
	}
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			if why := h.Skip[c.Name]; why != "" {
				t.Skip(why)
			}
			for _, a := range c.Needs {
				if !slices.Contains(h.Abilities, a) {
					t.Skipf("the driver does not claim %q", a)
				}
			}
			run(t, func(t *testing.T) {
				t.Helper()
				if err := c.Check(t.Context(), h.Env(h.New(t))); err != nil {
					t.Errorf("%s\nclause: %s", err, c.Clause)
				}
			})
		})
	}
}

// Cases returns all cases, in the order in which they are best read.
func Cases() []Case {
	return slices.Concat(lifeCases(), argumentCases(), statusCases(), reopenCases(), watchCases(),
		logCases(), execCases(), networkCases(), addressCases(), volumeCases(), updateCases(), closeCases())
}

// abilityCase checks that what is claimed is there.
func abilityCase() Case {
	return Case{
		Name: "abilities are as claimed", Clause: "Abilities that only some back ends have are interfaces, found with a type assertion.",
		Check: func(_ context.Context, e *Env) error {
			has := map[Ability]bool{}
			_, has[Watch] = e.Driver.(driver.Watcher)
			_, has[Logs] = e.Driver.(driver.LogStreamer)
			_, has[Exec] = e.Driver.(driver.Execer)
			_, has[Hostnames] = e.Driver.(driver.ExclusiveHostnames)
			if p, ok := e.Driver.(driver.PolicyEnforcer); ok {
				has[Policy] = p.Enforces().Has(driver.EnforcesServices)
			}
			for _, a := range []Ability{Watch, Logs, Exec, Hostnames, Policy} {
				if e.Claims(a) && !has[a] {
					return errors.New("claims " + string(a) + " and does not implement it")
				}
			}
			return nil
		},
	}
}
