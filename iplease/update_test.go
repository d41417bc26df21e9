package iplease_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/market"
)

// leaseOf is a lease of tenant anna: a deployment and a group.
func leaseOf(deployment uint64, group uint32) market.LeaseID {
	id := market.LeaseID{Provider: "provider"}
	id.Owner, id.DSeq, id.GSeq, id.OSeq = "anna", deployment, group, 1
	return id
}

func annas(name string) iplease.ClaimID { return iplease.ClaimID{Owner: "anna", Name: name} }

// wantOf is an endpoint with one TCP port.
func wantOf(l market.LeaseID, name string, number uint32, external uint16) iplease.Want {
	return iplease.Want{Name: name, Number: number, Ports: []iplease.Port{
		{Protocol: iplease.TCP, External: external, Lease: l, Service: "web", Port: 8080},
	}}
}

func texts(c iplease.Claim) (out []string) {
	for _, a := range c.Addresses() {
		out = append(out, a.String())
	}
	return out
}

func claimOf(t *testing.T, tab *iplease.Table, name string) iplease.Claim {
	t.Helper()
	c, _ := tab.Claim(annas(name))
	require.NoError(t, tab.Check())
	return c
}

func TestTwoNamesForOneNumberGetOneAddress(t *testing.T) {
	tab := newTable(t, iplease.Pool{Name: "p", Ranges: ranges("192.0.2.0/29")})
	l := leaseOf(1, 1)
	require.NoError(t, tab.Reserve(iplease.Request{Order: l.OrderID, Numbers: []uint32{1}}))
	out := tab.Update(l, []iplease.Want{wantOf(l, "one", 1, 80), wantOf(l, "two", 1, 81)}, time.Unix(1, 0))
	require.NoError(t, out[0].Err)
	var refused *iplease.NumberError
	require.ErrorAs(t, out[1].Err, &refused)
	assert.Equal(t, "one", refused.Has)
	require.ErrorIs(t, out[1].Err, market.ErrInvalid)
	_, err := tab.Bind(l, wantOf(l, "three", 1, 80), time.Unix(1, 0))
	require.ErrorAs(t, err, &refused)
	assert.Len(t, tab.Claims("anna"), 1)
	require.NoError(t, tab.Check())
}

func TestARenamedEndpointTakesItsAddressAndItsRulesAlong(t *testing.T) {
	tab := newTable(t, iplease.Pool{Name: "p", Ranges: ranges("192.0.2.0/29")})
	l := leaseOf(1, 1)
	only := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	tab.Update(l, []iplease.Want{wantOf(l, "one", 1, 80), wantOf(l, "two", 2, 80)}, time.Unix(1, 0))
	require.NoError(t, tab.SetSources(annas("two"), iplease.TCP, 80, only))
	out := tab.Update(l, []iplease.Want{wantOf(l, "four", 2, 80), wantOf(l, "three", 1, 80)}, time.Unix(1, 0))
	assert.Equal(t, []string{"192.0.2.1"}, texts(out[0].Claim))
	assert.Equal(t, only, out[0].Claim.Ports[0].Sources)
	assert.Equal(t, []string{"two"}, out[0].Claim.Former, "an announcer may know it by this name")
	assert.Equal(t, []string{"192.0.2.0"}, texts(out[1].Claim))
	tab.Withdrawn(out[0].Claim.IPv4, "two")
	assert.Empty(t, claimOf(t, tab, "four").Former)
	_, was := tab.Claim(annas("two"))
	assert.False(t, was)
}

func TestAnAddressThatIsKeptStaysUnderItsName(t *testing.T) {
	tab := newTable(t, iplease.Pool{Name: "p", Ranges: ranges("192.0.2.0/31")})
	l := leaseOf(1, 1)
	tab.Update(l, []iplease.Want{wantOf(l, "one", 1, 80)}, time.Unix(1, 0))
	require.NoError(t, tab.Retain(annas("one"), 0, market.Price{}))
	out := tab.Update(l, []iplease.Want{wantOf(l, "two", 1, 80)}, time.Unix(1, 0))
	require.NoError(t, out[0].Err)
	assert.Equal(t, iplease.Parked, claimOf(t, tab, "one").State)
	assert.Equal(t, []string{"192.0.2.1"}, texts(out[0].Claim))
}

func TestAParkedClaimBacksOneOrderWhenNothingIsFree(t *testing.T) {
	tab := newTable(t, iplease.Pool{Name: "p", Ranges: ranges("192.0.2.0/31")})
	first, now := leaseOf(1, 1), time.Unix(1, 0)
	tab.Update(first, []iplease.Want{wantOf(first, "mine", 1, 80)}, now)
	require.NoError(t, tab.Retain(annas("mine"), 0, market.Price{}))
	tab.Close(first, now)

	two := leaseOf(2, 1)
	require.NoError(t, tab.Reserve(iplease.Request{Order: two.OrderID, Numbers: []uint32{1, 2}}), "one is free, one is parked")
	require.ErrorIs(t, tab.Reserve(iplease.Request{Order: leaseOf(3, 1).OrderID, Numbers: []uint32{1}}), iplease.ErrExhausted)
	assert.Len(t, tab.ReservedFor(two.OrderID), 2)
	require.NoError(t, tab.Check())

	others := []iplease.Want{wantOf(two, "aa", 1, 80), wantOf(two, "bb", 2, 80)}
	var kept *iplease.KeptError
	require.ErrorAs(t, tab.Serves(two, others), &kept)
	assert.Equal(t, annas("mine"), kept.Claim)
	wants := []iplease.Want{wantOf(two, "aa", 2, 80), wantOf(two, "mine", 1, 80)}
	require.NoError(t, tab.Serves(two, wants), "whatever number the parked one has")
	for _, o := range tab.Update(two, wants, now) {
		require.NoError(t, o.Err)
	}
	assert.Equal(t, []string{"192.0.2.0"}, texts(claimOf(t, tab, "mine")))
	assert.Equal(t, []string{"192.0.2.1"}, texts(claimOf(t, tab, "aa")))
}

func TestAParkedClaimThatIsUsedLeavesAnotherAddressToTheOrderThatItBacked(t *testing.T) {
	tab := newTable(t, iplease.Pool{Name: "p", Ranges: ranges("192.0.2.0/31")})
	first, now := leaseOf(1, 1), time.Unix(1, 0)
	tab.Update(first, []iplease.Want{wantOf(first, "mine", 1, 80)}, now)
	require.NoError(t, tab.Retain(annas("mine"), 0, market.Price{}))
	tab.Close(first, now)
	second, third := leaseOf(2, 1), leaseOf(3, 1)
	require.NoError(t, tab.Reserve(iplease.Request{Order: second.OrderID, Numbers: []uint32{1}}))
	require.NoError(t, tab.Reserve(iplease.Request{Order: third.OrderID, Numbers: []uint32{1}, Until: now.Add(time.Hour)}))
	out := tab.Update(second, []iplease.Want{wantOf(second, "mine", 1, 80)}, now)
	require.NoError(t, out[0].Err)
	got := tab.ReservedFor(third.OrderID)
	require.Len(t, got, 1)
	assert.Equal(t, iplease.Reserved, got[0].State)
	assert.Equal(t, now.Add(time.Hour), got[0].Until)
	require.NoError(t, tab.Check())
}

func TestABackingParkedClaimIsOnlyParkedAgainWhenTheOrderIsOver(t *testing.T) {
	tab := newTable(t, iplease.Pool{Name: "p", Ranges: ranges("192.0.2.0/32")})
	first, second, now := leaseOf(1, 1), leaseOf(2, 1), time.Unix(1, 0)
	tab.Update(first, []iplease.Want{wantOf(first, "mine", 1, 80)}, now)
	require.NoError(t, tab.Retain(annas("mine"), 0, market.Price{}))
	tab.Close(first, now)
	r := iplease.Request{Order: second.OrderID, Numbers: []uint32{1}, Until: now.Add(time.Minute)}
	require.NoError(t, tab.CanReserve(r))
	require.NoError(t, tab.Reserve(r))
	ended := tab.Expire(now.Add(time.Hour), 0)
	require.Len(t, ended, 1)
	assert.Equal(t, iplease.Parked, ended[0].Now)
	assert.Equal(t, iplease.Parked, claimOf(t, tab, "mine").State)
	assert.Empty(t, tab.ReservedFor(second.OrderID))
	require.NoError(t, tab.Reserve(r))
	require.NoError(t, tab.Unretain(annas("mine"), now))
	assert.Equal(t, iplease.Cooling, claimOf(t, tab, "mine").State)
	assert.Empty(t, tab.ReservedFor(second.OrderID))
}

func TestARefusedReservationSaysWhatIsFreeAfterIt(t *testing.T) {
	tab := newTable(t, iplease.Pool{Name: "p", Ranges: ranges("192.0.2.0/31")})
	var none *iplease.ExhaustedError
	require.ErrorAs(t, tab.Reserve(iplease.Request{Order: leaseOf(1, 1).OrderID, Numbers: []uint32{1, 2, 3}}), &none)
	assert.Equal(t, uint64(2), none.IPv4)
}

func TestTwoGroupsCanSwapTheirPorts(t *testing.T) {
	tab := newTable(t, iplease.Pool{Name: "p", Ranges: ranges("192.0.2.0/29")})
	a, b, now := leaseOf(1, 1), leaseOf(1, 2), time.Unix(1, 0)
	update := func(l market.LeaseID, external uint16) error {
		return tab.Update(l, []iplease.Want{wantOf(l, "web", 1, external)}, now)[0].Err
	}
	require.NoError(t, update(a, 80))
	require.NoError(t, update(b, 81))
	require.ErrorIs(t, update(a, 81), iplease.ErrConflict, "the other group has it until its turn")
	require.NoError(t, update(b, 80))
	require.NoError(t, update(a, 81))
	c := claimOf(t, tab, "web")
	require.Len(t, c.Ports, 2)
	assert.Equal(t, b, c.Ports[0].Lease)
	assert.Equal(t, a, c.Ports[1].Lease)
	assert.Equal(t, []string{"192.0.2.0"}, texts(c))
}

func TestASecondGroupGetsWhatItAskedForOrIsTold(t *testing.T) {
	tab := newTable(t, iplease.Pool{Name: "p", Ranges: ranges("192.0.2.0/29", "2001:db8::/120")})
	a, b, now := leaseOf(1, 1), leaseOf(1, 2), time.Unix(1, 0)
	tab.Update(a, []iplease.Want{wantOf(a, "web", 1, 80)}, now)
	six := wantOf(b, "web", 1, 81)
	six.Family = iplease.IPv6
	var mismatch *iplease.MismatchError
	require.ErrorAs(t, tab.Explain(b, six), &mismatch)
	require.ErrorAs(t, tab.Update(b, []iplease.Want{six}, now)[0].Err, &mismatch)
	assert.Len(t, claimOf(t, tab, "web").Ports, 1)
}

func TestAMoveEndsWhenTheDestinationDropsTheEndpoint(t *testing.T) {
	tab := newTable(t, iplease.Pool{Name: "p", Ranges: ranges("192.0.2.0/29")})
	a, b, now := leaseOf(1, 1), leaseOf(2, 1), time.Unix(1, 0)
	tab.Update(a, []iplease.Want{wantOf(a, "web", 1, 80)}, now)
	prepare := func() {
		_, err := tab.Prepare(iplease.Move{Claim: annas("web"), To: b.DeploymentID, Ports: wantOf(b, "web", 1, 80).Ports}, now)
		require.NoError(t, err)
	}
	prepare()
	tab.Update(b, []iplease.Want{wantOf(b, "web", 1, 80)}, now)
	assert.NotNil(t, claimOf(t, tab, "web").Migration, "it is wanted")
	tab.Update(b, nil, now)
	assert.Nil(t, claimOf(t, tab, "web").Migration)
	_, err := tab.Switch(annas("web"))
	require.ErrorIs(t, err, market.ErrState)
	assert.Equal(t, a.DeploymentID, claimOf(t, tab, "web").Holder)

	prepare()
	_, err = tab.Switch(annas("web"))
	require.NoError(t, err)
	tab.Update(a, nil, now)
	c := claimOf(t, tab, "web")
	assert.Nil(t, c.Migration, "the source does not want it back")
	assert.Equal(t, b.DeploymentID, c.Holder)
}

func TestAnEmptyListOfSourcesIsRefused(t *testing.T) {
	tab := newTable(t, iplease.Pool{Name: "p", Ranges: ranges("192.0.2.0/29")})
	l := leaseOf(1, 1)
	w := wantOf(l, "web", 1, 80)
	w.Ports[0].Sources = []netip.Prefix{}
	require.ErrorIs(t, tab.Update(l, []iplease.Want{w}, time.Unix(1, 0))[0].Err, market.ErrInvalid)
	w.Ports[0].Sources = nil
	require.NoError(t, tab.Update(l, []iplease.Want{w}, time.Unix(1, 0))[0].Err)
	require.ErrorIs(t, tab.SetSources(annas("web"), iplease.TCP, 80, []netip.Prefix{}), market.ErrInvalid)
	assert.Nil(t, claimOf(t, tab, "web").Ports[0].Sources)
	assert.Empty(t, claimOf(t, tab, "web").Rules)
}

func TestAClaimWhoseNameIsTakenKeepsTheIdentityThatIsAnnounced(t *testing.T) {
	pools := []iplease.Pool{{Name: "p", Ranges: ranges("192.0.2.0/32", "2001:db8::1/128")}}
	tab := newTable(t, pools...)
	a, b, now := leaseOf(1, 1), leaseOf(2, 1), time.Unix(1, 0)
	tab.Update(a, []iplease.Want{wantOf(a, "web", 1, 80)}, now)
	tab.Close(a, now)
	six := wantOf(b, "web", 1, 80)
	six.Family = iplease.IPv6
	require.NoError(t, tab.Update(b, []iplease.Want{six}, now)[0].Err)
	tab, _, err := iplease.Restore(iplease.Config{Pools: pools, Cooling: cooling}, tab.Records())
	require.NoError(t, err)
	due := tab.Due(now.Add(time.Hour))
	require.Len(t, due, 1)
	assert.Empty(t, due[0].ID.Name)
	assert.Equal(t, []string{"web"}, due[0].Former)
	tab.Rest(due[0].IPv4, now.Add(2*time.Hour))
	assert.Empty(t, tab.Expire(now.Add(time.Hour), 0), "it still answers")
	assert.Len(t, tab.Expire(now.Add(2*time.Hour), 0), 1)
	require.NoError(t, tab.Check())
}

func TestADualClaimIsOfOnePoolWhereTheAnnouncerNeedsThat(t *testing.T) {
	pools := []iplease.Pool{
		{Name: "four", Ranges: ranges("192.0.2.0/29")}, {Name: "both", Ranges: ranges("198.51.100.0/31", "2001:db8::/120")},
		{Name: "six", Ranges: ranges("2001:db8:1::/120")},
	}
	l := leaseOf(1, 1)
	for one, want := range map[bool]string{false: "four", true: "both"} {
		tab, err := iplease.New(iplease.Config{Pools: pools, DualFromOnePool: one})
		require.NoError(t, err)
		w := wantOf(l, "web", 1, 80)
		w.Family = iplease.Dual
		out := tab.Update(l, []iplease.Want{w}, time.Unix(1, 0))
		require.NoError(t, out[0].Err)
		assert.Equal(t, want, out[0].Claim.Pool4)
		assert.Equal(t, "both", out[0].Claim.Pool6)
	}
	apart := iplease.Config{Pools: []iplease.Pool{pools[0], pools[2]}, DualFromOnePool: true}
	tab, err := iplease.New(apart)
	require.NoError(t, err)
	require.ErrorIs(t, tab.Reserve(iplease.Request{Order: l.OrderID, Numbers: []uint32{1}, Selection: iplease.Selection{Family: iplease.Dual}}), iplease.ErrExhausted)
	assert.NotContains(t, keys(iplease.AttributesOf(apart)), "capabilities/ip-lease/family/dual")
}

func TestEveryPortCanBeLeased(t *testing.T) {
	tab := newTable(t, iplease.Pool{Name: "p", Ranges: ranges("192.0.2.0/32")})
	l := leaseOf(1, 1)
	w := iplease.Want{Name: "web", Number: 1}
	for _, p := range []uint16{1, 22, 65535} {
		for _, proto := range []iplease.Protocol{iplease.TCP, iplease.UDP} {
			w.Ports = append(w.Ports, iplease.Port{Protocol: proto, External: p, Lease: l, Service: "web", Port: p})
		}
	}
	require.NoError(t, tab.Update(l, []iplease.Want{w}, time.Unix(1, 0))[0].Err)
	for _, p := range []uint16{1, 22, 65535} {
		h, ok := tab.Holder(netip.MustParseAddr("192.0.2.0"), iplease.UDP, p)
		assert.True(t, ok, p)
		assert.Equal(t, l, h.Lease)
	}
	for p := uint16(100); len(w.Ports) <= iplease.MaxPorts; p++ {
		w.Ports = append(w.Ports, iplease.Port{Protocol: iplease.TCP, External: p, Lease: l, Service: "web", Port: p})
	}
	require.ErrorIs(t, tab.Update(l, []iplease.Want{w}, time.Unix(1, 0))[0].Err, market.ErrInvalid)
}
