package iplease_test

import (
	"encoding/json"
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/market"
)

func newTable(t *testing.T, pools ...iplease.Pool) *iplease.Table {
	t.Helper()
	out, err := iplease.New(iplease.Config{Pools: pools, Cooling: cooling})
	require.NoError(t, err)
	return out
}

// bind gives the n-th tenant an address.
func bind(t *testing.T, tab *iplease.Table, n int, s iplease.Selection) (iplease.Claim, error) {
	t.Helper()
	l := benchLease(n)
	w := benchWant(l)
	w.Selection = s
	c, err := tab.Bind(l, w, time.Time{})
	require.NoError(t, tab.Check())
	return c, err
}

func TestFaultyPoolsAreRefusedWithTheirRange(t *testing.T) {
	good := iplease.Pool{Name: "a", Ranges: ranges("192.0.2.0/24")}
	with := func(change func(*iplease.Pool)) []iplease.Pool {
		p := good
		change(&p)
		return []iplease.Pool{p}
	}
	for name, pools := range map[string][]iplease.Pool{
		"no name":    with(func(p *iplease.Pool) { p.Name = "" }),
		"odd name":   with(func(p *iplease.Pool) { p.Name = "A b" }),
		"no ranges":  with(func(p *iplease.Pool) { p.Ranges = nil }),
		"backwards":  with(func(p *iplease.Pool) { p.Ranges = ranges("192.0.2.9-192.0.2.1") }),
		"mixed":      with(func(p *iplease.Pool) { p.Ranges = ranges("192.0.2.9-2001:db8::1") }),
		"a zone":     with(func(p *iplease.Pool) { p.Ranges = ranges("fe80::1%eth0") }),
		"mapped":     with(func(p *iplease.Pool) { p.Ranges = ranges("::ffff:192.0.2.1") }),
		"multicast":  with(func(p *iplease.Pool) { p.Ranges = ranges("224.0.0.1") }),
		"too large":  with(func(p *iplease.Pool) { p.Ranges = ranges("2001:db8::/48") }),
		"two of /64": with(func(p *iplease.Pool) { p.Ranges = ranges("2001:db8::/64", "2001:db8:0:1::/64") }),
		"bad attributes": with(func(p *iplease.Pool) {
			p.Attributes = market.Attributes{{Key: "a b", Value: "c"}}
		}),
		"overlap inside": with(func(p *iplease.Pool) { p.Ranges = ranges("192.0.2.0/24", "192.0.2.7") }),
		"overlap":        {good, {Name: "b", Ranges: ranges("192.0.2.255-192.0.3.1")}},
		"same name":      {good, {Name: "a", Ranges: ranges("198.51.100.0/24")}},
	} {
		_, err := iplease.New(iplease.Config{Pools: pools})
		var fault *iplease.RangeError
		require.ErrorAs(t, err, &fault, name)
		assert.ErrorIs(t, err, market.ErrInvalid, name)
		assert.NotEmpty(t, fault.Error())
	}
	_, err := iplease.New(iplease.Config{Cooling: -1})
	require.ErrorIs(t, err, market.ErrInvalid)
	tab := newTable(t, good)
	_, err = tab.SetPools([]iplease.Pool{{Name: "b"}})
	require.Error(t, err)
	assert.Equal(t, "a", tab.Pools()[0].Name, "a refused change changes nothing")
}

func TestReservedAndAvoidedAddressesAreNotLeased(t *testing.T) {
	tab := newTable(t, iplease.Pool{
		Name: "a", Ranges: ranges("192.0.2.254-192.0.3.2", "2001:db8::/127"), Reserved: ranges("192.0.3.1", "10.0.0.0/8"), AvoidEdges: true,
	})
	assert.Equal(t, []iplease.Capacity{
		{Pool: "a", Family: iplease.IPv4, Size: 2, Free: 2}, {Pool: "a", Family: iplease.IPv6, Size: 1, Free: 1},
	}, tab.Capacity())
	for i, want := range []string{"192.0.2.254", "192.0.3.2"} {
		c, err := bind(t, tab, i, iplease.Selection{})
		require.NoError(t, err)
		assert.Equal(t, want, c.IPv4.String())
	}
	_, err := bind(t, tab, 3, iplease.Selection{})
	var none *iplease.ExhaustedError
	require.ErrorAs(t, err, &none)
	assert.Equal(t, iplease.ExhaustedError{Want: iplease.Selection{Family: iplease.IPv4}, Claims: 1, Matching: 1, IPv6: 1}, *none)
	c, err := bind(t, tab, 3, iplease.Selection{Family: iplease.IPv6})
	require.NoError(t, err)
	assert.Equal(t, "2001:db8::1", c.IPv6.String())
}

func TestTheLastAddressOfALargePoolIsFound(t *testing.T) {
	tab := newTable(t, iplease.Pool{Name: "a", Ranges: ranges("10.7.0.0/16"), Reserved: ranges("10.7.0.0-10.7.255.253")})
	for i, want := range []string{"10.7.255.254", "10.7.255.255"} {
		c, err := bind(t, tab, i, iplease.Selection{})
		require.NoError(t, err)
		assert.Equal(t, want, c.IPv4.String())
	}
	_, err := bind(t, tab, 2, iplease.Selection{})
	require.ErrorIs(t, err, iplease.ErrExhausted)
}

func TestAWholeIPv6NetworkIsAPool(t *testing.T) {
	tab := newTable(t, iplease.Pool{Name: "a", Ranges: ranges("2001:db8::/64"), Reserved: ranges("2001:db8::-2001:db8::ffff:ffff:ffff:fffd")})
	assert.EqualValues(t, 2, tab.Capacity()[0].Free)
	c, err := bind(t, tab, 0, iplease.Selection{})
	require.NoError(t, err)
	assert.Equal(t, "2001:db8::ffff:ffff:ffff:fffe", c.IPv6.String())
	c, err = bind(t, tab, 1, iplease.Selection{})
	require.NoError(t, err)
	assert.Equal(t, "2001:db8::ffff:ffff:ffff:ffff", c.IPv6.String())
	_, err = bind(t, tab, 2, iplease.Selection{})
	require.ErrorIs(t, err, iplease.ErrExhausted)
	whole := newTable(t, iplease.Pool{Name: "a", Ranges: ranges("2001:db8::/64")})
	assert.EqualValues(t, uint64(math.MaxUint64), whole.Capacity()[0].Size)
	none := newTable(t, iplease.Pool{Name: "a", Ranges: ranges("2001:db8::/64"), Reserved: ranges("2001:db8::/64")})
	assert.Zero(t, none.Capacity()[0].Size)
}

func TestNewPoolsMoveNoClaimAndReportWhatIsOutside(t *testing.T) {
	tab := newTable(t, iplease.Pool{Name: "a", Ranges: ranges("192.0.2.1-192.0.2.2")})
	first, err := bind(t, tab, 1, iplease.Selection{})
	require.NoError(t, err)
	second, err := bind(t, tab, 2, iplease.Selection{})
	require.NoError(t, err)
	strays, err := tab.SetPools([]iplease.Pool{{Name: "b", Ranges: ranges("192.0.2.2-192.0.2.3")}})
	require.NoError(t, err)
	require.Len(t, strays, 1)
	assert.Equal(t, first.IPv4, strays[0].Address)
	require.NoError(t, tab.Check())
	c, _ := tab.Claim(second.ID)
	assert.Equal(t, second.IPv4, c.IPv4)
	assert.Equal(t, "b", c.Pool4)
	tab.Close(benchLease(1), time.Time{})
	tab.Expire(time.Time{}.Add(cooling), 0)
	third, err := bind(t, tab, 3, iplease.Selection{})
	require.NoError(t, err)
	assert.Equal(t, "192.0.2.3", third.IPv4.String(), "the stray address does not come back")
	_, err = bind(t, tab, 4, iplease.Selection{})
	require.ErrorIs(t, err, iplease.ErrExhausted)
}

func TestRangesReadAndPrint(t *testing.T) {
	for in, out := range map[string]string{
		"192.0.2.7/24": "192.0.2.0/24", "192.0.2.0-192.0.2.255": "192.0.2.0/24", "192.0.2.1 - 192.0.2.3": "192.0.2.1-192.0.2.3",
		"2001:db8::/64": "2001:db8::/64", "192.0.2.1": "192.0.2.1",
	} {
		r, err := iplease.ParseRange(in)
		require.NoError(t, err, in)
		assert.Equal(t, out, r.String())
		var back iplease.Range
		text, err := json.Marshal(r)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &back))
		assert.Equal(t, r, back)
	}
	for _, bad := range []string{"", "x", "1.2.3.4/99", "1.2.3.4-", "-1.2.3.4"} {
		_, err := iplease.ParseRange(bad)
		require.ErrorIs(t, err, market.ErrInvalid, bad)
	}
}

func TestFaultyRecordsAreRefused(t *testing.T) {
	cfg := iplease.Config{Pools: []iplease.Pool{{Name: "a", Ranges: ranges("192.0.2.0/24")}}}
	l := benchLease(1)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	good := iplease.Record{Addresses: []netip.Addr{a}, State: iplease.Bound, Owner: l.Owner, Name: "my-ip", Holder: l.DeploymentID, Ports: benchWant(l).Ports}
	_, _, err := iplease.Restore(cfg, []iplease.Record{good, {Addresses: []netip.Addr{b}}})
	require.NoError(t, err, "what is free is passed over")
	for name, spoil := range map[string]func(*iplease.Record){
		"no address":     func(r *iplease.Record) { r.Addresses = nil },
		"wrong order":    func(r *iplease.Record) { r.Addresses = []netip.Addr{b, a} },
		"no holder":      func(r *iplease.Record) { r.Holder = market.DeploymentID{} },
		"no name":        func(r *iplease.Record) { r.Name = "" },
		"no ports":       func(r *iplease.Record) { r.Ports = nil },
		"parked, unpaid": func(r *iplease.Record) { r.State, r.Ports = iplease.Parked, nil },
		"no end":         func(r *iplease.Record) { r.State, r.Ports = iplease.Cooling, nil },
		"no order":       func(r *iplease.Record) { r.State, r.Name, r.Ports = iplease.Reserved, "", nil },
		"odd state":      func(r *iplease.Record) { r.State = 99 },
		"empty move":     func(r *iplease.Record) { r.Migration = &iplease.Migration{} },
	} {
		r := good
		spoil(&r)
		_, _, err := iplease.Restore(cfg, []iplease.Record{r})
		require.ErrorIs(t, err, market.ErrInvalid, name)
	}
	twice := good
	twice.Name = "other"
	_, _, err = iplease.Restore(cfg, []iplease.Record{good, twice})
	require.ErrorIs(t, err, market.ErrInvalid, "an address in two records")
	twice = good
	twice.Addresses = []netip.Addr{b}
	_, _, err = iplease.Restore(cfg, []iplease.Record{good, twice})
	require.ErrorIs(t, err, market.ErrInvalid, "a name in two records")
}

func TestFaultyWantsAreRefused(t *testing.T) {
	l := benchLease(1)
	for name, spoil := range map[string]func(*iplease.Want){
		"name":     func(w *iplease.Want) { w.Name = "X" },
		"no ports": func(w *iplease.Want) { w.Ports = nil },
		"protocol": func(w *iplease.Want) { w.Ports[0].Protocol = 7 },
		"port 0":   func(w *iplease.Want) { w.Ports[0].External = 0 },
		"service":  func(w *iplease.Want) { w.Ports[0].Service = "" },
		"sources":  func(w *iplease.Want) { w.Ports[0].Sources = []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8")} },
	} {
		tab := newTable(t, iplease.Pool{Name: "a", Ranges: ranges("192.0.2.0/24")})
		w := benchWant(l)
		spoil(&w)
		_, err := tab.Bind(l, w, time.Time{})
		require.ErrorIs(t, err, market.ErrInvalid, name)
		assert.ErrorIs(t, tab.Explain(l, w), market.ErrInvalid)
		assert.Empty(t, tab.Records())
	}
	tab := newTable(t, iplease.Pool{Name: "a", Ranges: ranges("192.0.2.0/24")})
	w := benchWant(l)
	w.Ports = append(w.Ports, w.Ports[0])
	w.Ports[1].Service = "db"
	_, err := tab.Bind(l, w, time.Time{})
	var conflict *iplease.ConflictError
	require.ErrorAs(t, err, &conflict)
	assert.Equal(t, "web", conflict.Has.Service)
	assert.Equal(t, "db", conflict.Wants.Service)
	assert.Contains(t, err.Error(), "443/TCP")
}

func FuzzParsing(f *testing.F) {
	for _, s := range []string{"tenant/web-ip", "192.0.2.0/24", "::1-::2", "/", "TCP", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := iplease.ParseClaimID(s); err == nil && id.String() != s {
			t.Fatalf("%q became %q", s, id)
		}
		if r, err := iplease.ParseRange(s); err == nil {
			again, err := iplease.ParseRange(r.String())
			if r.First.Compare(r.Last) <= 0 && (err != nil || again != r) {
				t.Fatalf("%q became %q and then %v, %v", s, r, again, err)
			}
		}
	})
}
