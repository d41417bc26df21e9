package clustertest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

func networkCases() []Case {
	return []Case{
		{Name: "web page", Clause: "URIs are where HTTP exposes are reached, with scheme.", Needs: []Ability{HTTP}, Check: webPage},
		{Name: "web page keeps answering", Clause: "An update of a service that serves HTTP is not noticed outside.", Needs: []Ability{HTTP}, Check: webPageKeeps},
		{Name: "host name", Clause: "The names that the tenant asks for lead to its service.", Needs: []Ability{HTTP}, Check: hostName},
		{Name: "host name conflict", Clause: "ExclusiveHostnames: two leases cannot have the same name.", Needs: []Ability{Hostnames}, Check: hostNameConflict},
		{Name: "forwarded port", Clause: "ForwardedPort is a port outside that leads to a container port.", Needs: []Ability{Forward}, Check: forwardedPort},
		{Name: "one port for tcp and udp", Clause: "Ports are the forwarded ports, one per container port and protocol, and each leads to its service.", Needs: []Ability{Forward}, Check: bothProtocols},
		{Name: "services reach each other", Clause: "Services of a lease reach one another by name.", Needs: []Ability{Names, Exec}, Check: namesInside},
		{Name: "leases do not reach each other", Clause: "Leases are isolated.", Needs: []Ability{Isolation, Exec}, Check: isolation},
		{Name: "exposed to one service", Clause: "EnforcesServices: a service reaches another only on ports exposed to it.", Needs: []Ability{Policy, Names, Exec}, Check: exposedToOne},
		{Name: "exposed to another from now on", Clause: "The policy is that of the newest revision.", Needs: []Ability{Policy, Names, Exec}, Check: exposedToAnother},
	}
}

func (e *Env) fetch(ctx context.Context, url, want string) error {
	got, err := e.Get(ctx, url)
	if err != nil {
		return fmt.Errorf("get %s: %w", url, err)
	}
	if got != want {
		return fmt.Errorf("get %s: got %q, want %q", url, got, want)
	}
	return nil
}

func webPage(ctx context.Context, e *Env) error {
	s, err := e.apply(ctx, e.workload(1, 1, e.service("a", "this is a"), e.service("b", "this is b")))
	if err != nil {
		return err
	}
	for i, want := range []string{"this is a", "this is b"} {
		if len(s.Services[i].URIs) == 0 {
			return fmt.Errorf("service %s has no URI", s.Services[i].Name)
		}
		if err := e.soon(ctx, func() error { return e.fetch(ctx, s.Services[i].URIs[0]+"/", want) }); err != nil {
			return err
		}
	}
	if err := e.Driver.Delete(ctx, lease(1)); err != nil {
		return err
	}
	if _, err := e.Get(ctx, s.Services[0].URIs[0]+"/"); err == nil {
		return errors.New("the page answers after delete")
	}
	return nil
}

func webPageKeeps(ctx context.Context, e *Env) error {
	s, err := e.apply(ctx, e.web(1, 1, "one"))
	if err != nil {
		return err
	}
	uri := s.Services[0].URIs[0] + "/"
	if err := e.soon(ctx, func() error { return e.fetch(ctx, uri, "one") }); err != nil {
		return err
	}
	if err := e.Driver.Apply(ctx, e.web(1, 2, "two")); err != nil {
		return err
	}
	var got string
	var broken error
	err = e.soon(ctx, func() error {
		got, broken = e.Get(ctx, uri)
		if broken == nil && got != "two" {
			return fmt.Errorf("still greets %q", got)
		}
		return nil // also when broken: once is too often, waiting does not mend it
	})
	if broken != nil {
		return fmt.Errorf("during the update: %w", broken)
	}
	return err
}

func hostName(ctx context.Context, e *Env) error {
	w := e.web(1, 1, "mine")
	w.Group.Services[0].Expose[0].Hosts = []string{"shop.example", "Www.Shop.example"}
	s, err := e.apply(ctx, w)
	if err != nil {
		return err
	}
	for _, name := range []string{"shop.example", "www.shop.example"} {
		i := slices.IndexFunc(s.Services[0].URIs, func(u string) bool { return strings.Contains(strings.ToLower(u), "://"+name) })
		if i < 0 {
			return fmt.Errorf("no URI for %s among %v", name, s.Services[0].URIs)
		}
		if err := e.soon(ctx, func() error { return e.fetch(ctx, s.Services[0].URIs[i]+"/", "mine") }); err != nil {
			return err
		}
	}
	return nil
}

func hostNameConflict(ctx context.Context, e *Env) error {
	w := func(n int, revision uint64, hosts ...string) driver.Workload {
		w := e.web(n, revision, fmt.Sprint("lease ", n))
		w.Group.Services[0].Expose[0].Hosts = hosts
		return w
	}
	if _, err := e.apply(ctx, w(1, 1, "shop.example")); err != nil {
		return err
	}
	if err := is("apply with a name of another lease", e.Driver.Apply(ctx, w(2, 1, "SHOP.example")), driver.ErrConflict); err != nil {
		return err
	}
	if err := e.lists(ctx, lease(1)); err != nil {
		return err
	}
	if err := e.owner(ctx, "Shop.example", lease(1)); err != nil {
		return err
	}
	if _, err := e.apply(ctx, w(1, 2, "other.example")); err != nil {
		return err
	}
	_, err := e.Driver.(driver.ExclusiveHostnames).HostnameOwner(ctx, "shop.example")
	if err := is("owner of a name that was given up", err, driver.ErrNotFound); err != nil {
		return err
	}
	if _, err := e.apply(ctx, w(2, 1, "shop.example")); err != nil {
		return fmt.Errorf("a name that was given up: %w", err)
	}
	return e.owner(ctx, "shop.example", lease(2))
}

func (e *Env) owner(ctx context.Context, name string, want market.LeaseID) error {
	got, err := e.Driver.(driver.ExclusiveHostnames).HostnameOwner(ctx, name)
	if err != nil || got != want {
		return fmt.Errorf("owner of %s is %v, error %w; want %v", name, got, err, want)
	}
	return nil
}

// forwarded makes the guest's port a forwarded one.
func forwarded(w driver.Workload, protos ...manifest.Protocol) driver.Workload {
	w.Group.Services[0].Expose = nil
	for _, p := range protos {
		w.Group.Services[0].Expose = append(w.Group.Services[0].Expose, manifest.Expose{Port: port, Proto: p, Global: true})
	}
	return w
}

func forwardedPort(ctx context.Context, e *Env) error {
	s, err := e.apply(ctx, forwarded(e.web(1, 1, "one"), manifest.TCP))
	if err != nil {
		return err
	}
	if len(s.Services[0].Ports) != 1 || s.Services[0].Ports[0].Port != port {
		return fmt.Errorf("forwarded ports are %v", s.Services[0].Ports)
	}
	p := s.Services[0].Ports[0]
	if len(s.Services[0].URIs) != 0 {
		return fmt.Errorf("a forwarded port has URIs %v", s.Services[0].URIs)
	}
	url := "http://" + net.JoinHostPort(p.Host, strconv.Itoa(int(p.ExternalPort))) + "/"
	if err := e.soon(ctx, func() error { return e.fetch(ctx, url, "one") }); err != nil {
		return err
	}
	if s, err = e.apply(ctx, forwarded(e.web(1, 2, "two"), manifest.TCP)); err != nil {
		return err
	}
	if s.Services[0].Ports[0] != p {
		return fmt.Errorf("the update changed the port from %v to %v", p, s.Services[0].Ports[0])
	}
	if err := e.soon(ctx, func() error { return e.fetch(ctx, url, "two") }); err != nil {
		return err
	}
	other, err := e.apply(ctx, forwarded(e.web(2, 1, "other"), manifest.TCP))
	if err != nil {
		return err
	}
	if other.Services[0].Ports[0].ExternalPort == p.ExternalPort {
		return fmt.Errorf("two leases have port %d", p.ExternalPort)
	}
	return nil
}

func bothProtocols(ctx context.Context, e *Env) error {
	s, err := e.apply(ctx, forwarded(e.web(1, 1, "hi"), manifest.TCP, manifest.UDP))
	if err != nil {
		return err
	}
	at := make(map[manifest.Protocol]string)
	for _, p := range s.Services[0].Ports {
		if p.Port != port || p.ExternalPort == 0 || p.Host == "" {
			return fmt.Errorf("port is %+v", p)
		}
		at[p.Proto] = net.JoinHostPort(p.Host, strconv.Itoa(int(p.ExternalPort)))
	}
	if len(s.Services[0].Ports) != 2 || len(at) != 2 {
		return fmt.Errorf("forwarded ports are %v, want one for TCP and one for UDP", s.Services[0].Ports)
	}
	if err := e.soon(ctx, func() error { return e.fetch(ctx, "http://"+at[manifest.TCP]+"/", "hi") }); err != nil || e.Ask == nil {
		return err
	}
	return e.soon(ctx, func() error {
		got, err := e.Ask(ctx, at[manifest.UDP])
		if err == nil && got != "hi" {
			err = fmt.Errorf("a datagram to %s is answered with %q, want %q", at[manifest.UDP], got, "hi")
		}
		return err
	})
}

func namesInside(ctx context.Context, e *Env) error {
	if _, err := e.apply(ctx, e.workload(1, 1, e.service("a", "this is a"), e.service("b-2", "this is b"))); err != nil {
		return err
	}
	get := func(from, to, want string) error {
		return e.soon(ctx, func() error {
			got, code, err := e.run(ctx, lease(1), from, "get", fmt.Sprintf("http://%s:%d/", to, port))
			if err != nil || code != 0 || got != want {
				return fmt.Errorf("%s asks %s: got %q, code %d, error %w", from, to, got, code, err)
			}
			return nil
		})
	}
	if err := first(
		func() error { return get("a", "b-2", "this is b") },
		func() error { return get("b-2", "a", "this is a") },
	); err != nil {
		return err
	}
	if _, err := e.apply(ctx, e.workload(1, 2, e.service("a", "this is a"), e.service("b-2", "this is new"))); err != nil {
		return err
	}
	return get("a", "b-2", "this is new")
}

func isolation(ctx context.Context, e *Env) error {
	s, err := e.apply(ctx, e.workload(1, 1, e.service("secret", "of lease 1")))
	if err != nil {
		return err
	}
	if _, err := e.apply(ctx, e.workload(2, 1, e.service("web", "of lease 2"))); err != nil {
		return err
	}
	targets := []string{fmt.Sprintf("http://secret:%d/", port)}
	if a := s.Services[0].Replicas[0].Address; a.IsValid() {
		targets = append(targets, "http://"+net.JoinHostPort(a.String(), strconv.Itoa(port))+"/")
	}
	for _, url := range targets {
		got, code, err := e.run(ctx, lease(2), "web", "get", url)
		if err != nil {
			return err
		}
		if code == 0 {
			return fmt.Errorf("lease 2 reached %s of lease 1: %q", url, got)
		}
	}
	return nil
}

// backed is a lease whose service "db" is exposed to one of "one" and "two" alone,
// and to nobody with "".
func (e *Env) backed(revision uint64, friend string) driver.Workload {
	w := e.workload(1, revision, e.service("db", "this is db"), e.service("one", "this is one"), e.service("two", "this is two"))
	if friend == "" {
		w.Group.Services[0].Expose = nil
		return w
	}
	w.Group.Services[0].Expose = []manifest.Expose{{Port: port, Proto: manifest.TCP, Service: friend}}
	return w
}

// reaches checks whether one service of the first lease gets an answer of another.
func (e *Env) reaches(ctx context.Context, from, to string, want bool) error {
	return e.soon(ctx, func() error {
		got, code, err := e.run(ctx, lease(1), from, "get", fmt.Sprintf("http://%s:%d/", to, port))
		if err != nil {
			return err
		}
		if reached := code == 0 && got == "this is "+to; reached != want {
			return fmt.Errorf("%s reaches %s: %t (%q), want %t", from, to, reached, got, want)
		}
		return nil
	})
}

func exposedToOne(ctx context.Context, e *Env) error {
	if _, err := e.apply(ctx, e.backed(1, "one")); err != nil {
		return err
	}
	return first(
		func() error { return e.reaches(ctx, "one", "db", true) },
		func() error { return e.reaches(ctx, "two", "db", false) },
		func() error { return e.reaches(ctx, "db", "two", true) }, // it is exposed to the world
	)
}

func exposedToAnother(ctx context.Context, e *Env) error {
	for i, friend := range []string{"one", "two", ""} {
		if _, err := e.apply(ctx, e.backed(uint64(i+1), friend)); err != nil {
			return err
		}
		for _, from := range []string{"one", "two"} {
			if err := e.reaches(ctx, from, "db", from == friend); err != nil {
				return fmt.Errorf("exposed to %q: %w", friend, err)
			}
		}
	}
	return nil
}

func volumeCases() []Case {
	return []Case{{
		Name: "persistent volume", Clause: "A persistent volume outlives its containers.",
		Needs: []Ability{Persistence, Exec}, Check: persistentVolume,
	}}
}

func persistentVolume(ctx context.Context, e *Env) error {
	w := func(revision uint64) driver.Workload {
		w := e.web(1, revision, fmt.Sprint("revision ", revision))
		s := &w.Group.Services[0]
		s.Resources.Storage = append(s.Resources.Storage, market.Volume{
			Name: "data", Bytes: 1 << 20,
			Attributes: market.Attributes{{Key: "class", Value: "beta2"}, {Key: "persistent", Value: "true"}},
		})
		s.Params = &manifest.Params{Storage: []manifest.StorageParams{{Name: "data", Mount: "/data"}}}
		return w
	}
	if _, err := e.apply(ctx, w(1)); err != nil {
		return err
	}
	if _, code, err := e.run(ctx, lease(1), "web", "write", "/data/file", "kept"); err != nil || code != 0 {
		return fmt.Errorf("write to the volume: code %d, error %w", code, err)
	}
	if _, err := e.apply(ctx, w(2)); err != nil {
		return err
	}
	got, code, err := e.run(ctx, lease(1), "web", "read", "/data/file")
	if err != nil || code != 0 || got != "kept" {
		return fmt.Errorf("after an update the volume has %q, code %d, error %w", got, code, err)
	}
	if err := e.Driver.Delete(ctx, lease(1)); err != nil {
		return err
	}
	if _, err := e.apply(ctx, w(1)); err != nil {
		return err
	}
	if _, code, err = e.run(ctx, lease(1), "web", "read", "/data/file"); err != nil || code == 0 {
		return fmt.Errorf("after delete the volume is still there: code %d, error %w", code, err)
	}
	return nil
}

func closeCases() []Case {
	return []Case{
		{Name: "close twice", Clause: "Close: a second call does nothing.", Check: closeTwice},
		{Name: "use after close", Clause: "After Close every method but Close returns ErrClosed.", Check: useAfterClose},
		{Name: "close while in use", Clause: "Close releases what the driver holds in this process.", Needs: []Ability{Watch}, Check: closeInUse},
	}
}

func closeTwice(ctx context.Context, e *Env) error {
	if _, err := e.apply(ctx, e.web(1, 1, "hi")); err != nil {
		return err
	}
	for range 2 {
		if err := e.bounded(e.Driver.Close); err != nil {
			return fmt.Errorf("close: %w", err)
		}
	}
	return nil
}

func useAfterClose(ctx context.Context, e *Env) error {
	if _, err := e.apply(ctx, e.web(1, 1, "hi")); err != nil {
		return err
	}
	if err := e.bounded(e.Driver.Close); err != nil {
		return err
	}
	for name, call := range e.calls(ctx) {
		err := e.bounded(func() error { return is(name+" after close", call(), driver.ErrClosed) })
		if err != nil {
			return err
		}
	}
	return nil
}

func closeInUse(ctx context.Context, e *Env) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := e.Driver.Apply(ctx, e.web(1, 1, "hi")); err != nil {
		return err
	}
	ended := make(chan struct{})
	began := make(chan struct{}, 1)
	go func() {
		defer close(ended)
		for _, err := range e.watch(ctx) {
			if err != nil {
				return // that it was closed
			}
			select {
			case began <- struct{}{}:
			default:
			}
		}
	}()
	if err := e.bounded(func() error { <-began; return nil }); err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	if err := e.bounded(e.Driver.Close); err != nil {
		return fmt.Errorf("close during a watch: %w", err)
	}
	if err := e.bounded(func() error { <-ended; return nil }); err != nil {
		return fmt.Errorf("a watch after close: %w", err)
	}
	return nil
}
