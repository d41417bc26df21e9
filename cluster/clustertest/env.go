package clustertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// port is where the guest listens.
const port = 8080

// lease returns the n-th lease of the suite. Their texts sort as the numbers do
// up to 9.
func lease(n int) market.LeaseID {
	id, err := market.ParseLeaseID("tenant/" + strconv.Itoa(n) + "/1/1/provider")
	if err != nil {
		panic(err)
	}
	return id
}

// service is a guest that serves HTTP and says a greeting.
func (e *Env) service(name, greeting string) manifest.Service {
	const mi = 1 << 20
	return manifest.Service{
		Name: name, Image: e.Image, Count: 1,
		Env: []string{"GREETING=" + greeting},
		Resources: market.Resources{
			ID: 1, CPU: market.CPU{MilliCores: 100}, Memory: market.Memory{Bytes: 64 * mi},
			Storage: []market.Volume{{Name: "default", Bytes: 16 * mi}},
		},
		Expose: []manifest.Expose{{Port: port, ExternalPort: 80, Proto: manifest.TCP, Global: true}},
	}
}

// workload puts services under the n-th lease.
func (e *Env) workload(n int, revision uint64, services ...manifest.Service) driver.Workload {
	return driver.Workload{
		Lease: lease(n), Revision: revision, Hash: market.Hash{byte(n), byte(revision)},
		Group: manifest.Group{Name: "suite", Services: services},
	}
}

// web is a workload of one service "web".
func (e *Env) web(n int, revision uint64, greeting string) driver.Workload {
	return e.workload(n, revision, e.service("web", greeting))
}

// soon tries again until f succeeds or the patience ends, and returns the last
// error.
func (e *Env) soon(ctx context.Context, f func() error) error {
	const pause = 20 * time.Millisecond
	deadline := time.Now().Add(e.Patience)
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after %s still: %w", e.Patience, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// status waits until a lease's status is as wanted.
func (e *Env) status(ctx context.Context, id market.LeaseID, ok func(driver.Status) bool) (driver.Status, error) {
	var last driver.Status
	err := e.soon(ctx, func() error {
		s, err := e.Driver.Status(ctx, id)
		if err != nil {
			return fmt.Errorf("status: %w", err)
		}
		if last = s; !ok(s) {
			return fmt.Errorf("status is %s", describe(s))
		}
		return nil
	})
	return last, err
}

// describe prints a status in a line.
func describe(s driver.Status) string {
	text := fmt.Sprintf("%s at revision %d", s.State, s.Revision)
	for _, v := range s.Services {
		text += fmt.Sprintf("; %s %s %d/%d", v.Name, v.State, v.Ready, v.Wanted)
		if v.Reason != "" {
			text += " (" + v.Reason + ")"
		}
	}
	return text
}

// apply applies a workload and waits until it is ready.
func (e *Env) apply(ctx context.Context, w driver.Workload) (driver.Status, error) {
	if err := e.Driver.Apply(ctx, w); err != nil {
		return driver.Status{}, fmt.Errorf("apply: %w", err)
	}
	return e.ready(ctx, w.Lease, w.Revision)
}

// ready waits until a lease is ready at a revision.
func (e *Env) ready(ctx context.Context, id market.LeaseID, revision uint64) (driver.Status, error) {
	return e.status(ctx, id, func(s driver.Status) bool { return s.State == driver.Ready && s.Revision == revision })
}

// run runs a guest command in replica 0 of a service and returns what it printed.
func (e *Env) run(ctx context.Context, id market.LeaseID, service string, args ...string) (stdout string, code int, err error) {
	x, ok := e.Driver.(driver.Execer)
	if !ok {
		return "", 0, errors.New("driver has no Exec")
	}
	var out, errs bytes.Buffer
	code, err = x.Exec(ctx, id, driver.Exec{
		Service: service, Command: append(append([]string(nil), e.Guest...), args...), Stdout: &out, Stderr: &errs,
	})
	if err != nil {
		return "", 0, fmt.Errorf("exec %s: %w", args[0], err)
	}
	return strings.TrimSuffix(out.String(), "\n"), code, nil
}

// greeting asks a replica for its GREETING, from inside.
func (e *Env) greeting(ctx context.Context, id market.LeaseID, service, want string) error {
	got, code, err := e.run(ctx, id, service, "env", "GREETING")
	if err != nil || code != 0 {
		return fmt.Errorf("greeting of %s: code %d, error %w", service, code, err)
	}
	if got != want {
		return fmt.Errorf("service %s greets %q, want %q", service, got, want)
	}
	return nil
}

// errNone stands for no error in a text.
var errNone = errors.New("none")

func orNone(err error) error {
	if err == nil {
		return errNone
	}
	return err
}

// is checks for a sentinel.
func is(what string, err, want error) error {
	if !errors.Is(err, want) {
		return fmt.Errorf("%s: got error \"%w\", want \"%w\"", what, orNone(err), want)
	}
	return nil
}

// replicas changes the number of replicas.
func replicas(s manifest.Service, n uint32) manifest.Service {
	s.Count = n
	return s
}

// first returns the first error.
func first(checks ...func() error) error {
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}
