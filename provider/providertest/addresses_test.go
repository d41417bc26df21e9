package providertest_test

import (
	"context"
	"slices"
	"testing"

	"github.com/moorage-dev/moorage/iplease"
	ipdriver "github.com/moorage-dev/moorage/iplease/driver"
	"github.com/moorage-dev/moorage/provider"
	"github.com/moorage-dev/moorage/provider/providertest"
)

// brokenClaims is a store with the methods about claims replaced.
type brokenClaims struct {
	provider.Store
	save func(provider.AddressStore, []iplease.Record) error
	load func(provider.AddressStore) ([]iplease.Record, error)
}

func (s brokenClaims) SaveClaims(rs ...iplease.Record) error {
	inner := s.Store.(provider.AddressStore)
	if s.save != nil {
		return s.save(inner, rs)
	}
	return inner.SaveClaims(rs...)
}

func (s brokenClaims) LoadClaims() ([]iplease.Record, error) {
	inner := s.Store.(provider.AddressStore)
	if s.load != nil {
		return s.load(inner)
	}
	return inner.LoadClaims()
}

func claimStores(b brokenClaims) providertest.Harness {
	return providertest.Harness{Store: func(testing.TB) func() (provider.Store, error) {
		mem := provider.NewMemStore()
		return func() (provider.Store, error) { s := b; s.Store = mem; return s, nil }
	}}
}

// brokenAnnouncer is an announcer with some methods replaced. It does not watch.
type brokenAnnouncer struct {
	ipdriver.Announcer
	apply    func(ipdriver.Announcer, context.Context, ipdriver.Announcement) error
	withdraw func(ipdriver.Announcer, context.Context, iplease.ClaimID) error
	list     func(ipdriver.Announcer, context.Context) ([]iplease.ClaimID, error)
}

func (a brokenAnnouncer) Apply(ctx context.Context, n ipdriver.Announcement) error {
	if a.apply != nil {
		return a.apply(a.Announcer, ctx, n)
	}
	return a.Announcer.Apply(ctx, n)
}

func (a brokenAnnouncer) Withdraw(ctx context.Context, id iplease.ClaimID) error {
	if a.withdraw != nil {
		return a.withdraw(a.Announcer, ctx, id)
	}
	return a.Announcer.Withdraw(ctx, id)
}

func (a brokenAnnouncer) List(ctx context.Context) ([]iplease.ClaimID, error) {
	if a.list != nil {
		return a.list(a.Announcer, ctx)
	}
	return a.Announcer.List(ctx)
}

func announcers(b brokenAnnouncer) providertest.Harness {
	return providertest.Harness{Addresses: func(tb testing.TB) providertest.Addresses {
		tb.Helper()
		mem := providertest.MemoryAddresses(tb)
		open := mem.Open
		mem.Open = func() (ipdriver.Announcer, error) {
			a := b
			var err error
			a.Announcer, err = open()
			return a, err
		}
		return mem
	}}
}

func addressMutants() []mutant {
	return []mutant{
		{"forgets claims", "claims in the store", claimStores(brokenClaims{load: func(provider.AddressStore) ([]iplease.Record, error) { return nil, nil }})},
		{"keeps claims that are free", "claims in the store", claimStores(brokenClaims{save: func(s provider.AddressStore, rs []iplease.Record) error {
			for _, r := range rs {
				if r.State != iplease.Free {
					if err := s.SaveClaims(r); err != nil {
						return err
					}
				}
			}
			return nil
		}})},
		{"announces nothing", "an address moves", announcers(brokenAnnouncer{apply: func(ipdriver.Announcer, context.Context, ipdriver.Announcement) error { return nil }})},
		{"never changes an announcement", "an address moves", announcers(brokenAnnouncer{apply: func(a ipdriver.Announcer, ctx context.Context, n ipdriver.Announcement) error {
			if _, err := a.Status(ctx, n.Claim); err == nil {
				return nil
			}
			return a.Apply(ctx, n)
		}})},
		{"never withdraws", "an address moves", announcers(brokenAnnouncer{withdraw: func(ipdriver.Announcer, context.Context, iplease.ClaimID) error { return nil }})},
		{"loses bound claims in a crash", "restarted with an address", claimStores(brokenClaims{load: func(s provider.AddressStore) ([]iplease.Record, error) {
			rs, err := s.LoadClaims()
			return slices.DeleteFunc(rs, func(r iplease.Record) bool { return r.State == iplease.Bound }), err
		}})},
	}
}
