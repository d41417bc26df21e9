package sim

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/moorage-dev/moorage/iplease"
	ipdriver "github.com/moorage-dev/moorage/iplease/driver"
	"github.com/moorage-dev/moorage/iplease/memannouncer"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/provider/providertest"
)

// cooling is how long an address rests before another tenant gets it.
const cooling = 2 * time.Minute

// parkPrice is what parking an address costs per block.
const parkPrice = 2

// lan is the network on which a site announces leased addresses. It outlives the
// provider.
type lan struct {
	network *memannouncer.Network
	pools   []iplease.Pool
	// last says whom an address was announced for last, and until when.
	last map[netip.Addr]tenancy
	// differs counts for how many blocks what is on disk was not what is in use.
	differs int
}

// tenancy is when an address was last announced for somebody.
type tenancy struct {
	owner market.Address
	at    time.Time
}

// newLAN makes a network with few addresses, or none.
func (s *site) newLAN(n int) *lan {
	rng := s.w.source("lan", n)
	if rng.IntN(4) == 0 {
		return nil
	}
	l := &lan{network: memannouncer.NewNetwork(memannouncer.Config{}), last: map[netip.Addr]tenancy{}}
	pool := iplease.Pool{Name: "public"}
	for _, first := range []netip.Addr{netip.AddrFrom4([4]byte{203, 0, 113, 1}), netip.MustParseAddr("2001:db8::1")} {
		r := iplease.Range{First: first, Last: first}
		for range rng.IntN(5) {
			r.Last = r.Last.Next()
		}
		pool.Ranges = append(pool.Ranges, r)
	}
	l.pools = []iplease.Pool{pool}
	l.network.SetFault(func(op memannouncer.Op, id iplease.ClaimID) error {
		if !s.peek.Load() && s.w.strikes(50, s.address, "announcer", op, id) {
			return &ipdriver.TransientError{Err: errors.New("sim: the network cannot be seen")}
		}
		return nil
	})
	return l
}

// lease is what a provider is told of the network; nil for none.
func (l *lan) lease(crash *providertest.Crasher) *provider.Addresses {
	if l == nil {
		return nil
	}
	return &provider.Addresses{
		Pools: l.pools, Announcer: crash.Announcer(l.network.Announcer()), Cooling: cooling, Egress: true,
		ParkPrices: []market.Price{{Denom: "uact", AmountPerBlock: market.NewDecimal(parkPrice)}},
	}
}

// table is what the records on the site's disk make.
func (s *site) table() (*iplease.Table, error) {
	records, err := s.store.(provider.AddressStore).LoadClaims()
	if err != nil {
		return nil, err
	}
	t, strays, err := iplease.Restore(iplease.Config{Pools: s.lan.pools, Cooling: cooling}, records)
	if err == nil && len(strays) > 0 {
		err = fmt.Errorf("addresses of no pool are leased: %v", strays)
	}
	if err == nil {
		err = t.Check()
	}
	return t, err
}

// checkAddresses checks after a block that no address leads to another tenant than
// the one whose claim it is, that addresses rest between two tenants, and that
// what is on disk is sound and what the provider says.
func (s *site) checkAddresses(ctx context.Context, live []market.LeaseID) error {
	if s.lan == nil {
		return nil
	}
	announced := s.lan.network.Announced()
	taken := map[netip.Addr]bool{}
	var leads []market.LeaseID
	for _, a := range announced {
		for _, at := range a.Addresses {
			if taken[at] {
				return fmt.Errorf("address %s is announced twice", at)
			}
			taken[at] = true
			if err := s.lan.follow(at, a.Claim.Owner); err != nil {
				return err
			}
		}
		for _, p := range a.Ports {
			if p.Lease.Owner != a.Claim.Owner || p.Lease.Provider != s.address {
				return fmt.Errorf("claim %s leads to lease %s", a.Claim, p.Lease)
			}
			leads = append(leads, p.Lease)
		}
	}
	err := lasts(s.w, "has an address without a lease at "+string(s.address), leads, func(id market.LeaseID) bool { return !slices.Contains(live, id) })
	if err != nil {
		return err
	}
	t, err := s.table()
	if err != nil {
		return err
	}
	return s.checkClaims(ctx, t, live)
}

// follow notes whom an address is announced for.
func (l *lan) follow(at netip.Addr, owner market.Address) error {
	now := time.Now()
	// Between two looks a block has passed; what was withdrawn late has rested less.
	const slack = cooling / 2
	if last, ok := l.last[at]; ok && last.owner != owner && now.Sub(last.at) < cooling-slack {
		return fmt.Errorf("address %s went from %s to %s within %s", at, last.owner, owner, now.Sub(last.at))
	}
	l.last[at] = tenancy{owner, now}
	return nil
}

// checkClaims compares what is on disk with what the provider says, and sees that
// no claim outlives its reason.
func (s *site) checkClaims(ctx context.Context, t *iplease.Table, live []market.LeaseID) error {
	p, err := s.provider()
	if err != nil {
		return nil //nolint:nilerr // it is down
	}
	o, err := p.Overview(ctx)
	if err != nil {
		return err
	}
	// One look may fall between a change and its being written, several cannot.
	const looks = 10
	if on := t.Capacity(); slices.Equal(on, o.Addresses) {
		s.lan.differs = 0
	} else if s.lan.differs++; s.lan.differs > looks {
		return fmt.Errorf("addresses on disk %v, in use %v", on, o.Addresses)
	}
	orders := map[string]bool{}
	for _, id := range live {
		orders[id.OrderID.String()] = true
	}
	if err := s.addBids(ctx, orders); err != nil {
		return err
	}
	for _, c := range o.Addresses {
		s.w.count(func(st *Stats) { st.Bound, st.Parked = max(st.Bound, int(c.Bound)), max(st.Parked, int(c.Parked)) })
	}
	return lasts(s.w, "holds an address at "+string(s.address), claims(t.Claims("")), func(c claim) bool {
		switch c.State {
		case iplease.Bound:
			return !slices.ContainsFunc(live, func(id market.LeaseID) bool { return id.DeploymentID == c.Holder })
		case iplease.Reserved:
			return !orders[c.Order.String()]
		case iplease.Cooling:
			return true // it ends by time
		case iplease.Free, iplease.Parked:
		}
		return false
	})
}

// claim is one with a name; what becomes of it is another.
type claim struct{ iplease.Claim }

// String names the claim, its addresses and why it is there.
func (c claim) String() string {
	return fmt.Sprintf("%s %v %s %s %s", c.ID, c.Addresses(), c.State, c.Order, c.Holder)
}

func claims(cs []iplease.Claim) []claim {
	out := make([]claim, len(cs))
	for i, c := range cs {
		out[i] = claim{c}
	}
	return out
}

// judgeAddresses checks that exactly what leases have is announced, that every
// endpoint is served or says why not, and that what is parked is paid for.
func (s *site) judgeAddresses(ctx context.Context, live []market.LeaseID) error {
	if s.lan == nil {
		return nil
	}
	t, err := s.table()
	if err != nil {
		return err
	}
	bound := map[iplease.ClaimID]iplease.Claim{}
	for _, c := range t.Claims("") {
		if c.Migration != nil {
			return fmt.Errorf("claim %s is being moved still", c.ID)
		}
		if c.State == iplease.Bound {
			bound[c.ID] = c
		}
	}
	for _, a := range s.lan.network.Announced() {
		c, ok := bound[a.Claim]
		if !ok || !slices.Equal(a.Addresses, c.Addresses()) || !slices.EqualFunc(a.Ports, c.Ports, equalPorts) {
			return fmt.Errorf("announced for claim %s: %v %v; bound: %v %v", a.Claim, a.Addresses, a.Ports, c.Addresses(), c.Ports)
		}
		delete(bound, a.Claim)
	}
	if len(bound) > 0 {
		return fmt.Errorf("bound and not announced: %v", bound)
	}
	for _, id := range live {
		if err := s.judgeEndpoints(ctx, t, id); err != nil {
			return fmt.Errorf("active lease %s: %w", id, err)
		}
	}
	return s.judgeParking(ctx, t)
}

func equalPorts(a, b iplease.Port) bool {
	return a.Protocol == b.Protocol && a.External == b.External && a.Lease == b.Lease && a.Service == b.Service && a.Port == b.Port &&
		slices.Equal(a.Sources, b.Sources)
}

// judgeEndpoints checks that a lease has each endpoint that it asks for, or that
// the reason it is told is true.
func (s *site) judgeEndpoints(ctx context.Context, t *iplease.Table, id market.LeaseID) error {
	p, err := s.provider()
	if err != nil {
		return err
	}
	status, err := p.LeaseStatus(ctx, id)
	if err != nil {
		return err
	}
	for _, ip := range status.IPs {
		c, _ := t.Claim(iplease.ClaimID{Owner: id.Owner, Name: ip.Endpoint})
		switch {
		case ip.State == api.IPBound && c.State == iplease.Bound && slices.Contains(c.Leases(), id):
			for _, port := range ip.Ports {
				if port.State != ipdriver.Announced.String() {
					return fmt.Errorf("endpoint %s: port %d/%s is %s: %s", ip.Endpoint, port.ExternalPort, port.Proto, port.State, port.Reason)
				}
			}
		case ip.State == api.IPWithheld && c.State == iplease.Bound && ip.Holder != nil && *ip.Holder == c.Holder && c.Holder != id.DeploymentID:
		case ip.State == api.IPRefused && ip.Rule == api.RuleEndpointMismatch && (c.State == iplease.Parked || c.State == iplease.Bound):
			// The tenant has the name with addresses of other families.
		case ip.State == api.IPRefused && ip.Rule == api.RuleEndpointExhausted && c.State == iplease.Free:
			// Its order was taken for what the tenant had parked under another name.
		default:
			return fmt.Errorf("endpoint %s is %s (%s: %s); the claim is %s, held by %s", ip.Endpoint, ip.State, ip.Rule, ip.Reason, c.State, c.Holder)
		}
	}
	return nil
}

// judgeParking compares what is retained with what is paid for.
func (s *site) judgeParking(ctx context.Context, t *iplease.Table) error {
	paid := map[iplease.ClaimID]bool{}
	c := s.w.market.Client(s.address)
	list := func(p market.Page) ([]market.Retainer, string, error) {
		return c.Retainers(ctx, market.RetainerFilter{Provider: s.address, State: market.RetainerOpen}, p)
	}
	for r, err := range market.All(list) {
		if err != nil {
			return err
		}
		paid[iplease.ClaimID{Owner: r.ID.Owner, Name: r.ID.Name}] = true
	}
	for _, c := range t.Retained() {
		if !paid[c.ID] {
			return fmt.Errorf("claim %s is kept and not paid for", c.ID)
		}
		delete(paid, c.ID)
	}
	if len(paid) > 0 {
		return fmt.Errorf("paid for and not kept: %v", paid)
	}
	return nil
}

// move has endpoints moved to a lease.
func (d door) move(ctx context.Context, to market.LeaseID, names []string) {
	p, err := d.open()
	if err != nil {
		return
	}
	results, err := p.MigrateEndpoints(ctx, to, names)
	if err != nil {
		return
	}
	for _, r := range results {
		if r.Moved {
			d.site.w.count(func(s *Stats) { s.Moved++ })
		}
	}
}

// release has an endpoint parked no longer.
func (d door) release(ctx context.Context, name string) {
	p, err := d.open()
	if err != nil {
		return
	}
	if _, err := p.ReleaseIP(ctx, d.owner, name); err == nil {
		d.site.w.count(func(s *Stats) { s.Released++ })
	}
}
