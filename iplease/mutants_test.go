package iplease_test

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/market"
)

// mutant is a table with one thing broken.
type mutant struct {
	*iplease.Table
	update   func(l market.LeaseID, wants []iplease.Want, now time.Time) []iplease.Outcome
	reserve  func(r iplease.Request) error
	close    func(l market.LeaseID, now time.Time)
	expire   func(now time.Time, height int64) []iplease.Expired
	retain   func(id iplease.ClaimID, until int64, price market.Price) error
	prepare  func(m iplease.Move, now time.Time) (bool, error)
	swtch    func(id iplease.ClaimID) (iplease.Claim, error)
	confirm  func(id iplease.ClaimID) error
	rollback func(id iplease.ClaimID) error
	pools    func(pools []iplease.Pool) ([]iplease.Stray, error)
	unsaved  func() []iplease.Record
	capacity func() []iplease.Capacity
}

func (m *mutant) Update(l market.LeaseID, wants []iplease.Want, now time.Time) []iplease.Outcome {
	if m.update != nil {
		return m.update(l, wants, now)
	}
	return m.Table.Update(l, wants, now)
}

func (m *mutant) Reserve(r iplease.Request) error {
	if m.reserve != nil {
		return m.reserve(r)
	}
	return m.Table.Reserve(r)
}

func (m *mutant) Close(l market.LeaseID, now time.Time) {
	if m.close != nil {
		m.close(l, now)
		return
	}
	m.Table.Close(l, now)
}

func (m *mutant) Expire(now time.Time, height int64) []iplease.Expired {
	if m.expire != nil {
		return m.expire(now, height)
	}
	return m.Table.Expire(now, height)
}

func (m *mutant) Retain(id iplease.ClaimID, until int64, price market.Price) error {
	if m.retain != nil {
		return m.retain(id, until, price)
	}
	return m.Table.Retain(id, until, price)
}

func (m *mutant) Prepare(mv iplease.Move, now time.Time) (bool, error) {
	if m.prepare != nil {
		return m.prepare(mv, now)
	}
	return m.Table.Prepare(mv, now)
}

func (m *mutant) Switch(id iplease.ClaimID) (iplease.Claim, error) {
	if m.swtch != nil {
		return m.swtch(id)
	}
	return m.Table.Switch(id)
}

func (m *mutant) Confirm(id iplease.ClaimID) error {
	if m.confirm != nil {
		return m.confirm(id)
	}
	return m.Table.Confirm(id)
}

func (m *mutant) Rollback(id iplease.ClaimID) error {
	if m.rollback != nil {
		return m.rollback(id)
	}
	return m.Table.Rollback(id)
}

func (m *mutant) SetPools(pools []iplease.Pool) ([]iplease.Stray, error) {
	if m.pools != nil {
		return m.pools(pools)
	}
	return m.Table.SetPools(pools)
}

func (m *mutant) Unsaved() []iplease.Record {
	if m.unsaved != nil {
		return m.unsaved()
	}
	return m.Table.Unsaved()
}

func (m *mutant) Capacity() []iplease.Capacity {
	if m.capacity != nil {
		return m.capacity()
	}
	return m.Table.Capacity()
}

// planters break one promise each, by name.
type planters map[string]func(m *mutant, t *iplease.Table)

// mutants are all faults. What the reference implementation does wrong is among
// them.
func mutants() planters {
	out := planters{}
	for _, some := range []planters{updateMutants(), lifeMutants(), moveMutants(), recordMutants()} {
		maps.Copy(out, some)
	}
	return out
}

func updateMutants() planters {
	return planters{
		"an update does not retarget a port": func(m *mutant, t *iplease.Table) {
			m.update = func(l market.LeaseID, wants []iplease.Want, now time.Time) []iplease.Outcome {
				wants = slices.Clone(wants)
				for i, w := range wants {
					c, _ := t.Claim(iplease.ClaimID{Owner: l.Owner, Name: w.Name})
					wants[i].Ports = slices.Clone(w.Ports)
					for j, p := range w.Ports {
						if old, ok := c.Port(p.Protocol, p.External); ok && old.Lease == l {
							wants[i].Ports[j] = old
						}
					}
				}
				return t.Update(l, wants, now)
			}
		},
		"an update does not take away a port": func(m *mutant, t *iplease.Table) {
			m.update = func(l market.LeaseID, wants []iplease.Want, now time.Time) []iplease.Outcome {
				wants = slices.Clone(wants)
				for i, w := range wants {
					c, _ := t.Claim(iplease.ClaimID{Owner: l.Owner, Name: w.Name})
					for _, p := range c.Ports {
						if p.Lease == l && !slices.ContainsFunc(w.Ports, func(q iplease.Port) bool { return q.Protocol == p.Protocol && q.External == p.External }) {
							wants[i].Ports = append(slices.Clone(wants[i].Ports), p)
						}
					}
				}
				return t.Update(l, wants, now)
			}
		},
		"an update keeps an endpoint that is not wanted": func(m *mutant, t *iplease.Table) {
			m.update = func(l market.LeaseID, wants []iplease.Want, now time.Time) (out []iplease.Outcome) {
				for _, w := range wants {
					c, err := t.Bind(l, w, now)
					out = append(out, iplease.Outcome{Name: w.Name, Claim: c, Err: err})
				}
				t.Unreserve(l.OrderID)
				return out
			}
		},
		"an update leaves reservations": func(m *mutant, t *iplease.Table) {
			m.update = func(l market.LeaseID, wants []iplease.Want, now time.Time) []iplease.Outcome {
				kept := t.ReservedFor(l.OrderID)
				out := t.Update(l, wants, now)
				for _, c := range kept {
					_ = t.Reserve(iplease.Request{Order: c.Order, Numbers: []uint32{c.Number}})
				}
				return out
			}
		},
	}
}

func lifeMutants() planters {
	return planters{
		"a reservation is not all or none": func(m *mutant, t *iplease.Table) {
			m.reserve = func(r iplease.Request) (err error) {
				for _, n := range r.Numbers {
					one := r
					one.Numbers = []uint32{n}
					err = errors.Join(err, t.Reserve(one))
				}
				return err
			}
		},
		"a parked claim backs every order": func(m *mutant, t *iplease.Table) {
			m.reserve = func(r iplease.Request) error {
				err := t.Reserve(r)
				for _, c := range t.Claims(r.Order.Owner) {
					if c.State == iplease.Parked {
						return nil
					}
				}
				return err
			}
		},
		"a reservation does not expire": func(m *mutant, t *iplease.Table) {
			m.reserve = func(r iplease.Request) error { r.Until = time.Time{}; return t.Reserve(r) }
		},
		"a reservation ignores the family": func(m *mutant, t *iplease.Table) {
			m.reserve = func(r iplease.Request) error { r.Family = 0; return t.Reserve(r) }
		},
		"closing does not cool": func(m *mutant, t *iplease.Table) {
			m.close = func(l market.LeaseID, now time.Time) { t.Close(l, now); t.Expire(now.Add(cooling), 0) }
		},
		"closing leaves the reservation": func(m *mutant, t *iplease.Table) {
			m.close = func(l market.LeaseID, now time.Time) {
				for _, c := range t.HeldBy(l.DeploymentID) {
					t.Release(l, c.ID.Name, now)
				}
			}
		},
		"closing takes every lease of the deployment": func(m *mutant, t *iplease.Table) {
			m.close = func(l market.LeaseID, now time.Time) {
				for g := range uint32(2) {
					l.GSeq = g + 1
					t.Close(l, now)
				}
			}
		},
		"closing purges all tenants": func(m *mutant, t *iplease.Table) {
			m.close = func(l market.LeaseID, now time.Time) {
				t.Close(l, now)
				for _, c := range t.Claims("") {
					for _, other := range c.Leases() {
						t.Close(other, now)
					}
				}
			}
		},
		"nothing expires": func(m *mutant, _ *iplease.Table) {
			m.expire = func(time.Time, int64) []iplease.Expired { return nil }
		},
		"retention does not end": func(m *mutant, t *iplease.Table) {
			m.expire = func(now time.Time, _ int64) []iplease.Expired { return t.Expire(now, 0) }
		},
		"what cools cannot be parked": func(m *mutant, t *iplease.Table) {
			m.retain = func(id iplease.ClaimID, until int64, price market.Price) error {
				if c, _ := t.Claim(id); c.State == iplease.Cooling {
					return nil
				}
				return t.Retain(id, until, price)
			}
		},
	}
}

func moveMutants() planters {
	return planters{
		"a move takes every endpoint": func(m *mutant, t *iplease.Table) {
			m.prepare = func(mv iplease.Move, now time.Time) (bool, error) {
				already, err := t.Prepare(mv, now)
				for _, c := range t.Claims(mv.Claim.Owner) {
					if err == nil && c.State == iplease.Bound && c.ID != mv.Claim {
						other := mv
						other.Claim = c.ID
						_, _ = t.Prepare(other, now)
					}
				}
				return already, err
			}
		},
		"a move does not check the pool": func(m *mutant, t *iplease.Table) {
			m.prepare = func(mv iplease.Move, now time.Time) (bool, error) {
				mv.Selection = iplease.Selection{}
				return t.Prepare(mv, now)
			}
		},
		"a switch is final": func(m *mutant, t *iplease.Table) {
			m.swtch = func(id iplease.ClaimID) (iplease.Claim, error) {
				c, err := t.Switch(id)
				_ = t.Confirm(id)
				return c, err
			}
		},
		"a confirmation goes back": func(m *mutant, t *iplease.Table) {
			m.confirm = func(id iplease.ClaimID) error { return t.Rollback(id) }
		},
		"a rollback keeps the destination": func(m *mutant, t *iplease.Table) {
			m.rollback = func(id iplease.ClaimID) error {
				if t.Confirm(id) == nil {
					return nil
				}
				return t.Rollback(id)
			}
		},
	}
}

func recordMutants() planters {
	return planters{
		"new pools move claims": func(m *mutant, t *iplease.Table) {
			m.pools = func(pools []iplease.Pool) ([]iplease.Stray, error) {
				strays, err := t.SetPools(pools)
				for _, s := range strays {
					for _, l := range s.Claim.Leases() {
						t.Close(l, time.Unix(0, 0))
					}
				}
				return strays, err
			}
		},
		"deletions are not saved": func(m *mutant, t *iplease.Table) {
			m.unsaved = func() []iplease.Record {
				return slices.DeleteFunc(t.Unsaved(), func(r iplease.Record) bool { return r.State == iplease.Free })
			}
		},
		"ports are not saved": func(m *mutant, t *iplease.Table) {
			m.unsaved = func() []iplease.Record {
				rs := t.Unsaved()
				for i := range rs {
					rs[i].Ports = rs[i].Ports[:min(1, len(rs[i].Ports))]
				}
				return rs
			}
		},
		"a migration is not saved": func(m *mutant, t *iplease.Table) {
			m.unsaved = func() []iplease.Record {
				rs := t.Unsaved()
				for i := range rs {
					rs[i].Migration = nil
				}
				return rs
			}
		},
		"capacity counts parked twice": func(m *mutant, t *iplease.Table) {
			m.capacity = func() []iplease.Capacity {
				out := t.Capacity()
				for i := range out {
					out[i].Free -= min(out[i].Free, out[i].Parked)
				}
				return out
			}
		},
	}
}

func TestTheModelCatchesEveryMutant(t *testing.T) {
	for name, plant := range mutants() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := caught(func(cfg iplease.Config, rs []iplease.Record) (table, error) {
				inner, _, err := iplease.Restore(cfg, rs)
				m := &mutant{Table: inner}
				plant(m, inner)
				return m, err
			}, 300, 300)
			assert.Error(t, err, "nothing was noticed")
		})
	}
}
