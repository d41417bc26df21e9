package ipleasetest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/moorage-dev/moorage/iplease"
)

func trafficCases() []Case {
	traffic := []Ability{Traffic}
	return []Case{
		{Name: "ports lead to the replica", Clause: "An announcer makes the address it is given answer and leads its ports to the workload.", Needs: traffic, Check: leads},
		{Name: "ports are exact", Clause: "Ports are those that are open.", Needs: traffic, Check: exact},
		{Name: "TCP and UDP are apart", Clause: "No two have the same protocol and external port.", Needs: traffic, Check: apart},
		{Name: "services share an address", Clause: "A port leads to those of its lease and service.", Needs: traffic, Check: share},
		{Name: "replicas share a port", Clause: "A port leads to those of its lease and service.", Needs: traffic, Check: replicas},
		{Name: "the client's address is seen", Clause: "A replica sees the client's own address.", Needs: []Ability{Traffic, ClientAddress}, Check: clientAddress},
		{Name: "sources", Clause: "Sources hold a port to some clients.", Needs: []Ability{Traffic, Sources}, Check: sources},
		{Name: "sources of one family shut the other", Clause: "Sources hold a port to some clients.", Needs: []Ability{Traffic, Sources, IPv6}, Check: sourcesFamily},
		{Name: "egress", Clause: "Egress asks that connections of the backends leave from the addresses.", Needs: []Ability{Traffic, Egress}, Check: egress},
		{Name: "without egress another address is used", Clause: "Egress asks that connections of the backends leave from the addresses.", Needs: []Ability{Traffic, Egress}, Check: noEgress},
	}
}

func leads(ctx context.Context, e *Env) error {
	a, err := e.served(ctx, 1, "one")
	if err != nil {
		return err
	}
	return everywhere(a, func(at netip.Addr, proto iplease.Protocol) error {
		got, err := e.reaches(ctx, somebody(), proto, at, 80, "one")
		if err == nil && got.Port != ContainerPort {
			err = fmt.Errorf("%s port 80/%s leads to port %d of the replica, want %d", at, proto, got.Port, ContainerPort)
		}
		return err
	})
}

func exact(ctx context.Context, e *Env) error {
	a, err := e.served(ctx, 1, "one")
	if err != nil {
		return err
	}
	return everywhere(a, func(at netip.Addr, proto iplease.Protocol) error {
		if _, err := e.reaches(ctx, somebody(), proto, at, 80, "one"); err != nil {
			return err
		}
		return errors.Join(e.shut(ctx, somebody(), proto, at, 81), e.shut(ctx, somebody(), proto, at, ContainerPort))
	})
}

func apart(ctx context.Context, e *Env) error {
	a := e.bare(1, 1)
	a.Ports = []iplease.Port{port(iplease.TCP, 53), port(iplease.UDP, 53), port(iplease.TCP, 54), port(iplease.UDP, 55)}
	a.Ports[1].Service = "dns"
	web, err := e.replica(ctx, "web", lease(1), "web")
	if err != nil {
		return err
	}
	dns, err := e.replica(ctx, "dns", lease(1), "dns")
	if err != nil {
		return err
	}
	a.Backends = append(web, dns...)
	if err := e.announce(ctx, a); err != nil {
		return err
	}
	for _, at := range a.Addresses {
		_, err1 := e.reaches(ctx, somebody(), iplease.TCP, at, 53, "web")
		_, err2 := e.reaches(ctx, somebody(), iplease.UDP, at, 53, "dns")
		if err := errors.Join(err1, err2, e.shut(ctx, somebody(), iplease.UDP, at, 54), e.shut(ctx, somebody(), iplease.TCP, at, 55)); err != nil {
			return err
		}
	}
	return nil
}

func share(ctx context.Context, e *Env) error {
	a := e.bare(1, 1)
	a.Ports[1] = iplease.Port{Protocol: iplease.TCP, External: 81, Lease: lease(2), Service: "web", Port: OtherPort}
	one, err := e.replica(ctx, "one", lease(1), "web")
	if err != nil {
		return err
	}
	two, err := e.replica(ctx, "two", lease(2), "web")
	if err != nil {
		return err
	}
	a.Backends = append(one, two...)
	if err := e.announce(ctx, a); err != nil {
		return err
	}
	for _, at := range a.Addresses {
		if _, err := e.reaches(ctx, somebody(), iplease.TCP, at, 80, "one"); err != nil {
			return err
		}
		got, err := e.reaches(ctx, somebody(), iplease.TCP, at, 81, "two")
		if err == nil && got.Port != OtherPort {
			err = fmt.Errorf("port 81 leads to port %d, want %d", got.Port, OtherPort)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func replicas(ctx context.Context, e *Env) error {
	a := e.bare(1, 1)
	for _, name := range []string{"one", "two", "three"} {
		more, err := e.replica(ctx, name, lease(1), "web")
		if err != nil {
			return err
		}
		a.Backends = append(a.Backends, more...)
	}
	if err := e.announce(ctx, a); err != nil {
		return err
	}
	return everywhere(a, func(at netip.Addr, proto iplease.Protocol) error {
		seen := map[string]bool{}
		return e.soon(ctx, func() error {
			got, err := e.Ask(ctx, somebody(), proto, netip.AddrPortFrom(at, 80))
			if err != nil {
				return err
			}
			if seen[got.Replica] = true; len(seen) < 3 {
				return fmt.Errorf("of three replicas only %v are ever reached", seen)
			}
			return nil
		})
	})
}

// client is the address of a client in the family of another address.
func (e *Env) client(index int, at netip.Addr) netip.Addr {
	if at.Is4() {
		return e.Clients4[index]
	}
	return e.Clients6[index]
}

func clientAddress(ctx context.Context, e *Env) error {
	a, err := e.served(ctx, 1, "one")
	if err != nil {
		return err
	}
	return everywhere(a, func(at netip.Addr, proto iplease.Protocol) error {
		for i := range 2 {
			got, err := e.reaches(ctx, Client{Index: i}, proto, at, 80, "one")
			if err != nil {
				return err
			}
			if got.Client != e.client(i, at) {
				return fmt.Errorf("at %s/%s client %s is seen as %s", at, proto, e.client(i, at), got.Client)
			}
		}
		return nil
	})
}

// host is the prefix that holds one address.
func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func sources(ctx context.Context, e *Env) error {
	a := e.bare(1, 1)
	for i := range a.Ports {
		a.Ports[i].Sources = []netip.Prefix{host(e.Clients4[0])}
		if e.Claims(IPv6) {
			a.Ports[i].Sources = append(a.Ports[i].Sources, host(e.Clients6[0]))
		}
	}
	a.Ports = append(a.Ports, port(iplease.TCP, 81), port(iplease.UDP, 81))
	var err error
	if a.Backends, err = e.replica(ctx, "one", lease(1), "web"); err != nil {
		return err
	}
	if err := e.announce(ctx, a); err != nil {
		return err
	}
	return everywhere(a, func(at netip.Addr, proto iplease.Protocol) error {
		_, err1 := e.reaches(ctx, Client{Index: 0}, proto, at, 80, "one")
		_, err2 := e.reaches(ctx, Client{Index: 1}, proto, at, 81, "one") // the port beside is open to all
		return errors.Join(err1, err2, e.shut(ctx, Client{Index: 1}, proto, at, 80))
	})
}

func sourcesFamily(ctx context.Context, e *Env) error {
	a := e.bare(1, 1)
	a.Ports[0].Sources = []netip.Prefix{host(e.Clients4[0])}
	var err error
	if a.Backends, err = e.replica(ctx, "one", lease(1), "web"); err != nil {
		return err
	}
	if err := e.announce(ctx, a); err != nil {
		return err
	}
	if _, err := e.reaches(ctx, somebody(), iplease.TCP, a.Addresses[0], 80, "one"); err != nil {
		return err
	}
	return e.shut(ctx, somebody(), iplease.TCP, a.Addresses[1], 80)
}

func egress(ctx context.Context, e *Env) error {
	a := e.bare(1, 1)
	a.Egress = true
	var err error
	if a.Backends, err = e.replica(ctx, "one", lease(1), "web"); err != nil {
		return err
	}
	if err := e.announce(ctx, a); err != nil {
		return err
	}
	s, err := e.Announcer.Status(ctx, a.Claim)
	if err != nil {
		return err
	}
	for i, at := range a.Addresses {
		if !s.Addresses[i].Egress {
			return fmt.Errorf("egress at %s is not on: %s", at, s.Addresses[i].EgressReason)
		}
		for _, b := range a.Backends {
			if b.Address.Is4() != at.Is4() {
				continue
			}
			if seen, err := e.Leaves(ctx, b); err != nil || seen != at {
				return fmt.Errorf("a connection of %s is seen from %s, want %s: %w", b.Address, seen, at, err)
			}
		}
	}
	return nil
}

func noEgress(ctx context.Context, e *Env) error {
	a, err := e.served(ctx, 1, "one")
	if err != nil {
		return err
	}
	for _, b := range a.Backends {
		seen, err := e.Leaves(ctx, b)
		if err != nil {
			return fmt.Errorf("a connection of %s: %w", b.Address, err)
		}
		if seen == a.Addresses[0] || seen == a.Addresses[len(a.Addresses)-1] {
			return fmt.Errorf("a connection of %s is seen from the leased %s, and nobody asked for it", b.Address, seen)
		}
	}
	return nil
}
