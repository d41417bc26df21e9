package iplease_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/market"
)

// table is what the test uses of a table, so that a mutant can stand in.
type table interface {
	Reserve(r iplease.Request) error
	Unreserve(id market.OrderID) bool
	Update(l market.LeaseID, wants []iplease.Want, now time.Time) []iplease.Outcome
	Explain(l market.LeaseID, w iplease.Want) error
	Close(l market.LeaseID, now time.Time)
	Expire(now time.Time, height int64) []iplease.Expired
	Retain(id iplease.ClaimID, until int64, price market.Price) error
	Serves(l market.LeaseID, wants []iplease.Want) error
	Withdrawn(at netip.Addr, former string)
	Rest(at netip.Addr, until time.Time)
	Unretain(id iplease.ClaimID, now time.Time) error
	SetSources(id iplease.ClaimID, p iplease.Protocol, external uint16, sources []netip.Prefix) error
	Prepare(m iplease.Move, now time.Time) (bool, error)
	Switch(id iplease.ClaimID) (iplease.Claim, error)
	Confirm(id iplease.ClaimID) error
	Rollback(id iplease.ClaimID) error
	SetPools(pools []iplease.Pool) ([]iplease.Stray, error)
	Unsaved() []iplease.Record
	Records() []iplease.Record
	Capacity() []iplease.Capacity
	Holder(a netip.Addr, p iplease.Protocol, external uint16) (iplease.Holder, bool)
	Check() error
}

type restorer func(iplease.Config, []iplease.Record) (table, error)

func honest(cfg iplease.Config, rs []iplease.Record) (table, error) {
	t, _, err := iplease.Restore(cfg, rs)
	return t, err
}

func ranges(texts ...string) (out []iplease.Range) {
	for _, s := range texts {
		r, err := iplease.ParseRange(s)
		if err != nil {
			panic(err)
		}
		out = append(out, r)
	}
	return out
}

// layouts are pools small enough that they run out.
func layouts() [][]iplease.Pool {
	premium := market.Attributes{{Key: "class", Value: "premium"}}
	a := iplease.Pool{Name: "a", Ranges: ranges("192.0.2.8-192.0.2.11", "192.0.2.2", "2001:db8::1-2001:db8::3"), Reserved: ranges("192.0.2.9")}
	b := iplease.Pool{Name: "b", Ranges: ranges("198.51.100.0/31"), Attributes: premium}
	c := iplease.Pool{Name: "c", Ranges: ranges("203.0.113.7", "2001:db8:1::/127"), OnlyByName: true}
	smaller := a
	smaller.Ranges, smaller.Reserved = ranges("192.0.2.8-192.0.2.10", "2001:db8::2"), nil
	return [][]iplease.Pool{{a, b, c}, {b, smaller}, {smaller, c}}
}

// walk drives a table and its model with choices and says how they differ.
type walk struct {
	pick    func(what string, n int) int
	restore restorer
	t       table
	m       *model
	now     time.Time
	height  int64
	// disk is what was written; saved is the model as of then.
	disk  map[netip.Addr][]byte
	saved *model
}

func newWalk(pick func(string, int) int, restore restorer) (*walk, error) {
	w := &walk{pick: pick, restore: restore, now: time.Unix(1000, 0).UTC(), disk: map[netip.Addr][]byte{}, m: &model{pools: layouts()[0]}}
	w.saved = w.m.clone()
	var err error
	w.t, err = restore(w.config(), nil)
	return w, err
}

func (w *walk) config() iplease.Config { return iplease.Config{Pools: w.m.pools, Cooling: cooling} }

func (w *walk) lease() market.LeaseID {
	id := market.LeaseID{Provider: "provider"}
	id.Owner = []market.Address{"anna", "bert"}[w.pick("owner", 2)]
	id.DSeq, id.GSeq, id.OSeq = uint64(1+w.pick("dseq", 3)), uint32(1+w.pick("gseq", 2)), 1
	return id
}

func (w *walk) selection() iplease.Selection {
	return []iplease.Selection{
		{}, {}, {}, {Family: iplease.IPv6}, {Family: iplease.Dual}, {Pool: "c"}, {Pool: "nowhere"},
		{Attributes: market.Attributes{{Key: "class", Value: "premium"}}},
	}[w.pick("selection", 8)]
}

func (w *walk) ports(l market.LeaseID) (out []iplease.Port) {
	number := uint32(1 + w.pick("of", ordered)) // of a move
	for range 1 + w.pick("ports", 2) {
		out = append(out, iplease.Port{
			Protocol: []iplease.Protocol{iplease.TCP, iplease.UDP}[w.pick("protocol", 2)],
			External: []uint16{80, 443}[w.pick("external", 2)], Lease: l, Number: number,
			Service: []string{"web", "db"}[w.pick("service", 2)], Port: []uint16{80, 8080}[w.pick("port", 2)],
		})
	}
	return out
}

// ordered is how many addresses an order has paid for; there are more names.
const ordered = 2

func name(n int) string { return []string{"one", "two", "three"}[n] }

func (w *walk) claim() iplease.ClaimID {
	return iplease.ClaimID{Owner: []market.Address{"anna", "bert"}[w.pick("owner", 2)], Name: name(w.pick("name", 3))}
}

// steps are the operations, each with what it may say. The weight of one is how
// often it is there.
func (w *walk) steps() map[string]func() error {
	return map[string]func() error{
		"reserve": w.stepReserve, "update": w.stepUpdate, "update more": w.stepUpdate, "close": w.stepClose, "expire": w.stepExpire,
		"unreserve": func() error {
			o := w.lease().OrderID
			return same("unreserve", w.t.Unreserve(o), w.m.unreserve(o))
		},
		"rest": w.stepRest, "retain": w.stepRetain, "sources": w.stepSources, "migrate": w.stepMigrate, "prepare": w.stepPrepare, "finish": w.stepFinish, "pools": w.stepPools,
		"save": func() error { w.save(); return nil }, "crash": w.stepCrash,
	}
}

func same[T comparable](what string, got, want T) error {
	if got != want {
		return fmt.Errorf("%s: got %v, want %v", what, got, want)
	}
	return nil
}

func (w *walk) stepReserve() error {
	r := iplease.Request{Order: w.lease().OrderID, Numbers: []uint32{1, 2}[:1+w.pick("numbers", 2)], Selection: w.selection()}
	if w.pick("expires", 2) == 1 {
		r.Until = w.now.Add(30 * time.Second)
	}
	err := w.t.Reserve(r)
	if err != nil && !errors.Is(err, iplease.ErrExhausted) {
		return err
	}
	return same("reserve", err == nil, w.m.reserve(r))
}

func (w *walk) stepUpdate() error {
	l := w.lease()
	var wants []iplease.Want
	for i := range ordered {
		if w.pick("wanted", 3) > 0 {
			wants = append(wants, iplease.Want{Name: name(w.pick("name", 3)), Number: uint32(1 + (i+w.pick("number", 5)/4)%ordered), Selection: w.selection(), Ports: w.ports(l)})
		}
	}
	served := w.t.Serves(l, wants) == nil
	reserved := w.m.reserved(l.OrderID, 1) != nil && w.m.reserved(l.OrderID, 2) != nil
	var explained []string
	for _, want := range wants {
		explained = append(explained, verdict(w.t.Explain(l, want)))
	}
	got := w.t.Update(l, wants, w.now)
	for i, want := range w.m.update(l, wants, w.now) {
		if err := same("outcome of "+wants[i].Name, verdict(got[i].Err), want); err != nil {
			return err
		}
	}
	if served && reserved && slices.ContainsFunc(got, func(o iplease.Outcome) bool { return errors.Is(o.Err, iplease.ErrExhausted) }) {
		return fmt.Errorf("reserved for and served, yet exhausted: %+v", got)
	}
	if len(wants) == 1 && explained[0] != verdict(got[0].Err) && explained[0] != "exhausted" && explained[0] != "invalid" { // before what is not wanted is let go
		return fmt.Errorf("explained as %q, was %q", explained[0], verdict(got[0].Err))
	}
	return nil
}

// verdict names an error as the model does.
func verdict(err error) string {
	for name, s := range map[string]error{
		"withheld": iplease.ErrWithheld, "conflict": iplease.ErrConflict, "exhausted": iplease.ErrExhausted, "mismatch": iplease.ErrMismatch,
		"not-found": market.ErrNotFound, "state": market.ErrState, "invalid": market.ErrInvalid,
	} {
		if errors.Is(err, s) {
			return name
		}
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func (w *walk) stepClose() error {
	l := w.lease()
	w.t.Close(l, w.now)
	once := w.t.Records()
	w.t.Close(l, w.now)
	if !reflect.DeepEqual(once, w.t.Records()) {
		return errors.New("closing twice is not as closing once")
	}
	w.m.close(l, w.now)
	return nil
}

func (w *walk) stepExpire() error {
	w.now = w.now.Add(time.Duration(w.pick("seconds", 5)) * 20 * time.Second)
	w.height += int64(w.pick("blocks", 4))
	w.t.Expire(w.now, w.height)
	w.m.expire(w.now, w.height)
	return nil
}

func (w *walk) stepRetain() error {
	id := w.claim()
	if w.pick("retain", 3) == 0 {
		err := w.t.Unretain(id, w.now)
		c := w.m.named(id)
		if c != nil && c.Retained {
			w.m.unretain(c, w.now)
		}
		return same("unretain", err == nil, c != nil)
	}
	until := []int64{0, w.height + 1, w.height + 5}[w.pick("until", 3)]
	price := market.Price{Denom: "uact", AmountPerBlock: market.NewDecimal(uint64(1 + w.pick("price", 2)))}
	return same("retain", w.t.Retain(id, until, price) == nil, w.m.retain(id, until, price))
}

// stepRest prolongs the rest of a claim, or says that its first former name is
// announced no more.
func (w *walk) stepRest() error {
	if len(w.m.claims) == 0 {
		return nil
	}
	c := &w.m.claims[w.pick("claim", len(w.m.claims))]
	if w.pick("withdrawn", 2) == 1 && len(c.Former) > 0 {
		w.t.Withdrawn(c.Key(), c.Former[0])
		c.Former = c.Former[1:]
		return nil
	}
	until := w.now.Add(time.Duration(w.pick("seconds", 5)) * 20 * time.Second)
	w.t.Rest(c.Addresses[len(c.Addresses)-1], until)
	if c.State == iplease.Cooling && c.Until.Before(until) {
		c.Until = until
	}
	return nil
}

func (w *walk) stepSources() error {
	id, p, external := w.claim(), iplease.TCP, []uint16{80, 443}[w.pick("external", 2)]
	var sources []netip.Prefix
	if w.pick("limited", 3) > 0 {
		sources = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	}
	return same("sources", w.t.SetSources(id, p, external, sources) == nil, w.m.setSources(id, p, external, sources))
}

func (w *walk) stepPrepare() error {
	to := w.lease()
	id := iplease.ClaimID{Owner: []market.Address{"anna", "bert"}[w.pick("owner", 2)], Name: name(w.pick("name", 2))}
	m := iplease.Move{Claim: id, To: to.DeploymentID, Ports: w.ports(to), Selection: w.selection()}
	already, err := w.t.Prepare(m, w.now)
	got := verdict(err)
	if already {
		got = "already"
	}
	return same("prepare", got, w.m.prepare(m, w.now))
}

// stepMigrate prepares a move that is likely to be allowed.
func (w *walk) stepMigrate() error {
	for _, c := range w.m.claims {
		if c.State == iplease.Bound && c.Migration == nil && w.pick("this", 2) == 0 {
			to := w.lease()
			to.Owner = c.Owner
			m := iplease.Move{Claim: iplease.ClaimID{Owner: c.Owner, Name: c.Name}, To: to.DeploymentID, Ports: w.ports(to)}
			already, err := w.t.Prepare(m, w.now)
			got := verdict(err)
			if already {
				got = "already"
			}
			return same("prepare", got, w.m.prepare(m, w.now))
		}
	}
	return nil
}

func (w *walk) stepFinish() error {
	id := w.claim()
	switch w.pick("step", 3) {
	case 0:
		_, err := w.t.Switch(id)
		return same("switch", err == nil, w.m.finish(id, "switch"))
	case 1:
		return same("confirm", w.t.Confirm(id) == nil, w.m.finish(id, "confirm"))
	default:
		return same("rollback", w.t.Rollback(id) == nil, w.m.finish(id, "rollback"))
	}
}

func (w *walk) stepPools() error {
	pools := layouts()[w.pick("layout", len(layouts()))]
	strays, err := w.t.SetPools(pools)
	if err != nil {
		return err
	}
	w.m.pools = pools
	want := 0
	for _, c := range w.m.claims {
		for _, a := range c.Addresses {
			if _, ok := w.m.poolOf(a); !ok {
				want++
			}
		}
	}
	return same("strays", len(strays), want)
}

func (w *walk) save() {
	for _, r := range w.t.Unsaved() {
		if r.State == iplease.Free {
			delete(w.disk, r.Key())
			continue
		}
		text, err := json.Marshal(r)
		if err != nil {
			panic(err)
		}
		w.disk[r.Key()] = text
	}
	w.saved = w.m.clone()
}

// stepCrash loses what was not saved.
func (w *walk) stepCrash() error {
	var rs []iplease.Record
	for _, text := range w.disk {
		var r iplease.Record
		if err := json.Unmarshal(text, &r); err != nil {
			return err
		}
		rs = append(rs, r)
	}
	pools := w.m.pools
	w.m = w.saved.clone()
	w.m.pools = pools // the operator's configuration
	w.m.revision = 0
	for _, c := range w.m.claims {
		w.m.revision = max(w.m.revision, c.Revision)
	}
	var err error
	w.t, err = w.restore(w.config(), rs)
	return err
}

// step does one operation and checks everything.
func (w *walk) step() error {
	steps := w.steps()
	var names []string
	for n := range steps {
		names = append(names, n)
	}
	slices.Sort(names)
	chosen := names[w.pick("operation", len(names))]
	before := w.t.Records()
	if err := steps[chosen](); err != nil {
		return fmt.Errorf("%s: %w", chosen, err)
	}
	if err := errors.Join(w.m.compare(w.t), paid(w.t.Records())); err != nil {
		return fmt.Errorf("after %s: %w", chosen, err)
	}
	if chosen == "crash" {
		return nil
	}
	return transitions(before, w.t.Records())
}

// paid checks that no lease has more claims than it has ordered, and that each
// parked claim backs one order at most.
func paid(records []iplease.Record) error {
	has := map[market.LeaseID]int{}
	for _, r := range records {
		var leases []market.LeaseID
		for _, p := range r.Ports {
			if !slices.Contains(leases, p.Lease) {
				leases = append(leases, p.Lease)
			}
		}
		for _, l := range leases {
			if has[l]++; has[l] > ordered {
				return fmt.Errorf("lease %s has %d claims and has ordered %d", l, has[l], ordered)
			}
		}
	}
	return nil
}

// transitions checks that every claim that went from one state to another was
// allowed to.
func transitions(before, after []iplease.Record) error {
	states := map[netip.Addr][2]iplease.State{}
	for _, r := range before {
		states[r.Key()] = [2]iplease.State{r.State, iplease.Free}
	}
	for _, r := range after {
		s := states[r.Key()]
		states[r.Key()] = [2]iplease.State{s[0], r.State}
	}
	for a, s := range states {
		if s[0] != s[1] && !s[0].CanBecome(s[1]) {
			return fmt.Errorf("%s went from %s to %s", a, s[0], s[1])
		}
	}
	return nil
}

func TestPropertyTheTableIsAsTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, err := newWalk(func(what string, n int) int { return rapid.IntRange(0, n-1).Draw(t, what) }, honest)
		require.NoError(t, err)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			require.NoError(t, w.step())
		}
	})
}

// caught walks with random choices until a fault shows, and returns it.
func caught(restore restorer, walks, steps int) error {
	for seed := range walks {
		r := rand.New(rand.NewPCG(uint64(seed), 7))
		w, err := newWalk(func(_ string, n int) int { return r.IntN(n) }, restore)
		if err != nil {
			return err
		}
		for range steps {
			if err := w.step(); err != nil {
				return err
			}
		}
	}
	return nil
}

// A lease renames its endpoints again and again: what it has, what of it cools
// included, is never more than it has ordered.
func TestPropertyRenamingTakesNoMoreAddressesThanAreOrdered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table, err := iplease.New(iplease.Config{Pools: layouts()[0], Cooling: cooling})
		require.NoError(t, err)
		l := market.LeaseID{Provider: "provider"}
		l.Owner, l.DSeq, l.GSeq, l.OSeq = "anna", 1, 1, 1
		require.NoError(t, table.Reserve(iplease.Request{Order: l.OrderID, Numbers: []uint32{1, 2}}))
		port := []iplease.Port{{Protocol: iplease.TCP, External: 80, Lease: l, Service: "web", Port: 80}}
		names := []string{"one", "two", "three", "four", "five", "six"}
		for range rapid.IntRange(1, 12).Draw(t, "updates") {
			some := rapid.Permutation(names).Draw(t, "names")
			wants := []iplease.Want{{Name: some[0], Number: 1, Ports: port}, {Name: some[1], Number: 2, Ports: port}}
			for _, o := range table.Update(l, wants, time.Unix(1, 0)) {
				require.NoError(t, o.Err)
			}
			require.Len(t, table.Claims("anna"), ordered)
			require.NoError(t, table.Check())
		}
	})
}

func TestLongWalksFindNothing(t *testing.T) { require.NoError(t, caught(honest, 100, 300)) }
