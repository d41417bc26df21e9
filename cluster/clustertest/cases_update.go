package clustertest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/moorage-dev/moorage/cluster/clustertest/guest"
	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// updateCases are clauses that clusters with a mind of their own taught: they
// expand variables, restart what did not change, keep what was taken away, and
// take away the old before the new works.
func updateCases() []Case {
	return []Case{
		{Name: "new revision of the same content", Clause: "A revision that changes nothing of a service restarts none of its replicas.", Check: sameContent},
		{Name: "environment as it was written", Clause: "Env holds NAME=VALUE: the value arrives byte by byte.", Needs: []Ability{Exec}, Check: literalEnv},
		{Name: "port that was removed", Clause: "Ports are the forwarded ports of the newest revision.", Needs: []Ability{Forward}, Check: removedPort},
		{Name: "host name after delete", Clause: "HostnameOwner returns the lease that has the name, or ErrNotFound.", Needs: []Ability{Hostnames}, Check: freedHostname},
		{Name: "update that cannot run", Clause: "What runs goes on until what replaces it is ready.", Needs: []Ability{HTTP, Images}, Check: brokenUpdate},
		{Name: "log of a container that ended", Clause: "Logs yields what the container before a restart said.", Needs: []Ability{Logs, Restarts}, Check: logOfEnded},
	}
}

func sameContent(ctx context.Context, e *Env) error {
	w := func(revision uint64) driver.Workload {
		return e.workload(1, revision, replicas(e.service("web", "hi"), 2))
	}
	before, err := e.apply(ctx, w(1))
	if err != nil {
		return err
	}
	after, err := e.apply(ctx, w(2))
	if err != nil {
		return err
	}
	return sameReplicas(before, after)
}

func literalEnv(ctx context.Context, e *Env) error {
	const odd = `$(GREETING) $$(GREETING) $GREETING ${GREETING} $$ $ "quoted" 'single' \n ü %s`
	if _, err := e.apply(ctx, e.web(1, 1, odd)); err != nil {
		return err
	}
	return e.greeting(ctx, lease(1), "web", odd)
}

func removedPort(ctx context.Context, e *Env) error {
	both, err := e.apply(ctx, forwarded(e.web(1, 1, "one"), manifest.TCP, manifest.UDP))
	if err != nil {
		return err
	}
	var tcp driver.ForwardedPort
	for _, p := range both.Services[0].Ports {
		if p.Proto == manifest.TCP {
			tcp = p
		}
	}
	url := "http://" + net.JoinHostPort(tcp.Host, strconv.Itoa(int(tcp.ExternalPort))) + "/"
	if err := e.soon(ctx, func() error { return e.fetch(ctx, url, "one") }); err != nil {
		return err
	}
	s, err := e.apply(ctx, forwarded(e.web(1, 2, "two"), manifest.UDP))
	if err != nil {
		return err
	}
	if p := s.Services[0].Ports; len(p) != 1 || p[0].Proto != manifest.UDP {
		return fmt.Errorf("forwarded ports are %v, want the one for UDP", p)
	}
	return e.soon(ctx, func() error {
		if body, err := e.Get(ctx, url); err == nil {
			return fmt.Errorf("the port that was removed still answers %q", body)
		}
		return nil
	})
}

func freedHostname(ctx context.Context, e *Env) error {
	w := e.web(1, 1, "hi")
	w.Group.Services[0].Expose[0].Hosts = []string{"shop.example"}
	if _, err := e.apply(ctx, w); err != nil {
		return err
	}
	if err := e.owner(ctx, "shop.example", lease(1)); err != nil {
		return err
	}
	if err := e.Driver.Delete(ctx, lease(1)); err != nil {
		return err
	}
	_, err := e.Driver.(driver.ExclusiveHostnames).HostnameOwner(ctx, "shop.example")
	return is("owner of a name of a lease that was deleted", err, driver.ErrNotFound)
}

func brokenUpdate(ctx context.Context, e *Env) error {
	s, err := e.apply(ctx, e.web(1, 1, "works"))
	if err != nil {
		return err
	}
	uri := s.Services[0].URIs[0] + "/"
	if err := e.soon(ctx, func() error { return e.fetch(ctx, uri, "works") }); err != nil {
		return err
	}
	w := e.web(1, 2, "never")
	w.Group.Services[0].Image = e.MissingImage
	if err := e.Driver.Apply(ctx, w); err != nil {
		return err
	}
	_, err = e.status(ctx, lease(1), func(s driver.Status) bool { return s.State == driver.Failing && s.Revision == 2 })
	if err != nil {
		return err
	}
	if err := e.fetch(ctx, uri, "works"); err != nil {
		return fmt.Errorf("while the update cannot run: %w", err)
	}
	if _, err = e.apply(ctx, e.web(1, 3, "mended")); err != nil {
		return err
	}
	return e.soon(ctx, func() error { return e.fetch(ctx, uri, "mended") })
}

func logOfEnded(ctx context.Context, e *Env) error {
	w := e.web(1, 1, "hi")
	w.Group.Services[0].Env = append(w.Group.Services[0].Env, "EXIT=3", "QUIET=1")
	if err := e.Driver.Apply(ctx, w); err != nil {
		return err
	}
	_, err := e.status(ctx, lease(1), func(s driver.Status) bool {
		r := s.Services[0].Replicas
		return len(r) > 0 && r[0].Restarts >= 2
	})
	if err != nil {
		return err
	}
	return e.soon(ctx, func() error {
		lines, err := e.collect(ctx, lease(1), driver.LogOptions{Tail: -1})
		if err != nil {
			return err
		}
		for _, l := range lines {
			if strings.HasPrefix(l.Text, guest.Hello) {
				return nil
			}
		}
		return errors.New("nothing is left of what the container said before it ended")
	})
}
