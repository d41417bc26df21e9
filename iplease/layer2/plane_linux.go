package layer2

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/moorage-dev/moorage/internal/nft"
	"github.com/moorage-dev/moorage/iplease/driver"
	"github.com/moorage-dev/moorage/iplease/layer2/internal/ruleset"
	"github.com/moorage-dev/moorage/iplease/layer2/internal/wire"
)

// host is the plane of a Linux host.
type host struct {
	cfg   Config
	wire  *wire.Wire // nil without a segment
	local *bridge    // nil with one
	out   []string
	table *ruleset.Table
	// bound are what the table was last told.
	bound map[netip.Addr]ruleset.Binding
	// fresh is true until the kernel has a table of this process.
	fresh bool
	// touched are addresses of which connections of before are still to be ended.
	touched map[netip.Addr]bool
}

// closeTime bounds the removal of everything.
const closeTime = 10 * time.Second

func openPlane(c Config, h hooks) (plane, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("addresses are announced by root only")
	}
	if _, err := exec.LookPath(nft.Program); err != nil {
		return nil, fmt.Errorf("the program %s (Debian package nftables) is missing: %w", nft.Program, err)
	}
	p := &host{cfg: c, bound: map[netip.Addr]ruleset.Binding{}, touched: map[netip.Addr]bool{}, fresh: true}
	if c.Interface == "" {
		out, err := defaultInterfaces()
		if err != nil {
			return nil, err
		}
		p.out, p.local = out, &bridge{name: "mip" + c.Instance}
		if err := p.local.open(); err != nil {
			return nil, err
		}
	} else {
		w, err := wire.Open(wire.Config{
			Interface: c.Interface, Alive: h.alive,
			Conflict: func(a netip.Addr, mac net.HardwareAddr) { h.conflict(a, mac.String()) },
		})
		if err != nil {
			return nil, err
		}
		p.out, p.wire = []string{c.Interface}, w
	}
	p.table = ruleset.New("moorage_ip_"+c.Instance, p.out, p.local != nil)
	return p, nil
}

// Run implements plane.
func (p *host) Run(ctx context.Context) error {
	if p.wire != nil {
		return p.wire.Run(ctx)
	}
	<-ctx.Done()
	return nil
}

// Self implements plane.
func (p *host) Self() string {
	if p.wire == nil {
		return ""
	}
	return p.wire.HardwareAddr().String()
}

// Announce implements plane.
func (p *host) Announce(a netip.Addr) {
	if p.wire != nil {
		p.wire.Announce(a)
	}
}

// Probe implements plane.
func (p *host) Probe(ctx context.Context, addrs []netip.Addr) (map[netip.Addr]string, error) {
	if p.wire == nil || p.cfg.Probes < 0 || len(addrs) == 0 {
		return nil, ctx.Err()
	}
	taken, err := p.wire.Probe(ctx, addrs, p.cfg.Probes, p.cfg.ProbePause)
	out := map[netip.Addr]string{}
	for a, mac := range taken {
		out[a] = mac.String()
	}
	return out, err
}

// Put implements plane.
func (p *host) Put(ctx context.Context, w put) error {
	if !p.fresh && len(w.hold)+len(w.drop)+len(p.touched)+len(p.table.Dirty()) == 0 {
		return nil
	}
	p.silence(w.drop)
	nets, err := networks()
	if err != nil {
		return err
	}
	before := maps.Clone(p.bound)
	for _, a := range w.drop {
		delete(p.bound, a)
		p.table.Remove(a)
	}
	var come []netip.Addr
	for _, a := range w.hold {
		for _, at := range a.Addresses {
			b := binding(a, at, p.cfg.Node, nets)
			p.bound[at] = b
			p.table.Set(b)
			come = append(come, at)
		}
	}
	err = p.apply(ctx)
	if err == nil {
		if err = p.speak(come); err == nil {
			return p.endFlows()
		}
	}
	p.revert(before, come)
	return err
}

// silence makes this host answer for addresses no more.
func (p *host) silence(addrs []netip.Addr) {
	if p.wire != nil {
		p.wire.Remove(addrs...)
	}
	if p.local != nil {
		p.local.remove(addrs)
	}
}

// speak makes this host answer for addresses.
func (p *host) speak(addrs []netip.Addr) error {
	if p.local != nil {
		return p.local.add(addrs)
	}
	answered := p.wire.Answers()
	addrs = slices.DeleteFunc(addrs, func(a netip.Addr) bool { return slices.Contains(answered, a) })
	return p.wire.Add(addrs...)
}

// revert makes the table want what it wanted before; addresses that were dropped
// stay so. The next Put tells the kernel, if it does not know.
func (p *host) revert(before map[netip.Addr]ruleset.Binding, come []netip.Addr) {
	for _, a := range come {
		if b, ok := before[a]; ok {
			p.bound[a] = b
			p.table.Set(b)
		} else {
			p.silence([]netip.Addr{a})
			delete(p.bound, a)
			p.table.Remove(a)
		}
	}
}

// apply puts the rules into the kernel.
func (p *host) apply(ctx context.Context) error {
	four, six := p.families()
	if err := forwarding(p.cfg.Interface, four, six); err != nil {
		return err
	}
	if err := p.rules(ctx); err != nil {
		return err
	}
	for _, a := range p.table.Dirty() {
		p.touched[a] = true
	}
	p.table.Done()
	p.fresh = false
	return nil
}

// endFlows ends connections that the rules would not make now.
func (p *host) endFlows() error {
	if err := endFlows(p.touched, func(f ruleset.Flow) bool { return p.table.Stale(f, p.touched) }); err != nil {
		return err
	}
	clear(p.touched)
	return nil
}

// rules applies what changed, or everything when the kernel has not got what it
// should have: somebody may have flushed it.
func (p *host) rules(ctx context.Context) error {
	if !p.fresh {
		script := p.table.Script()
		if script == "" || nft.Run(ctx, script) == nil {
			return nil
		}
	}
	return nft.Run(ctx, p.table.Whole())
}

// families tells which are held.
func (p *host) families() (four, six bool) {
	for a := range p.bound {
		four, six = four || a.Is4(), six || a.Is6()
	}
	return four, six
}

// binding is what this host has for an address of an announcement.
func binding(a driver.Announcement, at netip.Addr, node string, nets []netip.Prefix) ruleset.Binding {
	b := ruleset.Binding{Address: at}
	here := func(r driver.Backend) bool { return r.Node == "" || r.Node == node }
	for _, p := range a.Ports {
		rp := ruleset.Port{Protocol: p.Protocol, External: p.External, Sources: p.Sources}
		for _, r := range a.Serving(p, at) {
			if here(r) {
				rp.To = append(rp.To, netip.AddrPortFrom(r.Address, p.Port))
			}
		}
		b.Ports = append(b.Ports, rp)
	}
	for _, r := range a.Backends {
		if !here(r) || r.Address.Is4() != at.Is4() {
			continue
		}
		if a.Egress && !slices.Contains(b.Egress, r.Address) {
			b.Egress = append(b.Egress, r.Address)
		}
		for _, n := range nets {
			if n.Contains(r.Address) && !slices.Contains(b.Near, n) {
				b.Near = append(b.Near, n)
			}
		}
	}
	return b
}

// Egress implements plane.
func (p *host) Egress(a driver.Announcement) (bool, string) {
	if len(p.out) == 0 {
		return false, "this host has no way out"
	}
	for _, r := range a.Backends {
		if r.Node != "" && r.Node != p.cfg.Node {
			return false, fmt.Sprintf("replica %d of %s is on host %s, not on the one that answers", r.Replica, r.Service, r.Node)
		}
		for _, at := range a.Addresses {
			if at.Is4() == r.Address.Is4() && !p.table.Leaves(r.Address, at) {
				return false, fmt.Sprintf("connections of %s leave from another leased address", r.Service)
			}
		}
	}
	return true, ""
}

// Close implements plane.
func (p *host) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	held := map[netip.Addr]bool{}
	for a := range p.bound {
		held[a] = true
		p.table.Remove(a)
	}
	p.silence(slices.Collect(maps.Keys(held)))
	err := nft.DeleteTable(ctx, p.table.Name())
	if len(held) > 0 {
		err = errors.Join(err, endFlows(held, func(f ruleset.Flow) bool { return p.table.Stale(f, held) }))
	}
	if p.wire != nil {
		_ = p.wire.Close() // Run closes it too
	}
	if p.local != nil {
		err = errors.Join(err, p.local.close())
	}
	return err
}
