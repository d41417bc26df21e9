package clustertest

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

func addressCases() []Case {
	return []Case{{
		Name: "leased address in the environment", Clause: "A driver tells the containers their leased addresses in their environment.",
		Needs: []Ability{Exec}, Check: leasedEnv,
	}}
}

// leasedEnv looks into containers for their address, and that they stay when the
// address only leads elsewhere.
func leasedEnv(ctx context.Context, e *Env) error {
	w := func(revision uint64, at string, withheld bool) driver.Workload {
		w := e.web(1, revision, "hi")
		w.Addresses = []driver.LeasedAddress{{
			Endpoint: "my-ip", Address: netip.MustParseAddr(at), Protocol: manifest.TCP, External: 443, Service: "web", Port: port, Withheld: withheld,
		}}
		return w
	}
	tells := func(at string) error {
		for name, want := range map[string]string{"MOORAGE_IP_MY_IP": at, "MOORAGE_IP_MY_IP_TCP_8080": "443"} {
			got, code, err := e.run(ctx, lease(1), "web", "env", name)
			if err != nil || code != 0 || got != want {
				return fmt.Errorf("%s is %q, code %d, error %w; want %q", name, got, code, orNone(err), want)
			}
		}
		return nil
	}
	s, err := e.apply(ctx, w(1, "203.0.113.7", false))
	if err != nil {
		return err
	}
	if err := tells("203.0.113.7"); err != nil {
		return err
	}
	began := s.Services[0].Replicas[0].StartedAt
	if s, err = e.apply(ctx, w(2, "203.0.113.7", true)); err != nil {
		return err
	}
	if again := s.Services[0].Replicas[0].StartedAt; !again.Equal(began) {
		return fmt.Errorf("the replica of %s was started anew at %s although only the address leads elsewhere", began, again)
	}
	if _, err = e.apply(ctx, w(3, "203.0.113.9", false)); err != nil {
		return err
	}
	return e.soon(ctx, func() error { return tells("203.0.113.9") })
}
