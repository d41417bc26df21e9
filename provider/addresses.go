package provider

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"github.com/moorage-dev/moorage/iplease"
	ipdriver "github.com/moorage-dev/moorage/iplease/driver"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/bidengine"
)

// A leased address is reserved when an order is bid on, bound when the manifest
// comes, announced as long as a lease has it, and rests after that, or is parked.
// Package iplease decides all of it; here its table is kept on disk, the
// announcer is told, and the market's payments for parked addresses are looked
// after. What is on disk comes before what is announced.

// Addresses says which public addresses a provider leases.
type Addresses struct {
	// Pools are asked in order; at least one.
	Pools []iplease.Pool
	// Refresh, where it is set, is asked every InventoryEvery what Pools are now,
	// because others change them: the pools of a network ([ipdriver.PoolReporter]),
	// or what something else has of them. What it returns takes the place of Pools;
	// no claim moves. An error, and pools that cannot be, change nothing. What the
	// provider publishes follows at its next start.
	Refresh func(ctx context.Context) ([]iplease.Pool, error)
	// Announcer makes the addresses reachable. The caller closes it after Run.
	Announcer ipdriver.Announcer
	// Cooling is how long an address rests before another tenant gets it; 0 means
	// [iplease.DefaultCooling].
	Cooling time.Duration
	// ParkPrices are what is asked at least for keeping one endpoint's addresses
	// without a lease, per block, at most one per denomination. None keeps nothing.
	ParkPrices []market.Price
	// Egress asks the announcer to let connections of a workload leave from its
	// leased address.
	Egress bool
	// DualFromOnePool is as of [iplease.Config].
	DualFromOnePool bool
}

// table is what the table is made with.
func (a *Addresses) table() iplease.Config {
	return iplease.Config{Pools: a.Pools, Cooling: a.Cooling, DualFromOnePool: a.DualFromOnePool}
}

// AddressStore is a [Store] that also keeps the claims of leased addresses; it is
// needed with [Config.Addresses]. Both stores of this package are one.
type AddressStore interface {
	// SaveClaims writes records, each replacing the one with the same key; those of
	// state free are deleted. All or none.
	SaveClaims(records ...iplease.Record) error
	// LoadClaims returns all records, in no particular order.
	LoadClaims() ([]iplease.Record, error)
}

// addressBook is the table of leased addresses and what goes with it.
type addressBook struct {
	cfg   Addresses
	store AddressStore

	// leases serializes what is done about the manifest of one lease.
	leases keyedMutex[market.LeaseID]
	// claims serializes announcing and moving of one claim.
	claims keyedMutex[iplease.ClaimID]
	// saving keeps the writes in the order of the changes; it is locked before mu.
	saving sync.Mutex
	// wake asks for a look at what is parked.
	wake chan struct{}
	// pools are those of the table; only runAddresses has them.
	pools []iplease.Pool

	mu        sync.Mutex // guards all below; never held during a call-out
	table     *iplease.Table
	announced map[iplease.ClaimID]ipdriver.Announcement // as applied last
	refused   map[iplease.ClaimID]string                // why it could not be applied last
}

// validate says what is wrong with the configuration.
func (a *Addresses) validate(store Store) error {
	if a == nil {
		return nil
	}
	if a.Announcer == nil {
		return errors.New("Addresses: Announcer is missing")
	}
	if len(a.Pools) == 0 {
		return errors.New("Addresses: Pools are missing")
	}
	if _, ok := store.(AddressStore); !ok {
		return errors.New("Addresses: the Store keeps no claims")
	}
	seen := map[string]bool{}
	for _, p := range a.ParkPrices {
		if err := market.ValidateDenom(p.Denom); err != nil || p.AmountPerBlock.IsZero() || seen[p.Denom] {
			return fmt.Errorf("Addresses: ParkPrices: %s: want a price above 0, one per denomination", p)
		}
		seen[p.Denom] = true
	}
	return nil
}

// publish adds to a provider's attributes what its pools have. What the operator
// says goes before.
func (a *Addresses) publish(own market.Attributes) market.Attributes {
	if a == nil {
		return own
	}
	out := own.Clone()
	for _, add := range iplease.AttributesOf(a.table()) {
		if _, ok := own.Get(add.Key); !ok {
			out = append(out, add)
		}
	}
	return out.Sorted()
}

// openAddresses restores the table; nil when no addresses are leased.
func openAddresses(cfg Config) (*addressBook, error) {
	if cfg.Addresses == nil {
		return nil, nil
	}
	store := cfg.Store.(AddressStore)
	records, err := store.LoadClaims()
	if err != nil {
		return nil, err
	}
	table, strays, err := iplease.Restore(cfg.Addresses.table(), records)
	if err != nil {
		return nil, fmt.Errorf("provider: addresses: %w", err)
	}
	warnOfStrays(cfg.Logger, strays)
	return &addressBook{
		cfg: *cfg.Addresses, store: store, wake: make(chan struct{}, 1), table: table, pools: cfg.Addresses.Pools,
		announced: map[iplease.ClaimID]ipdriver.Announcement{}, refused: map[iplease.ClaimID]string{},
	}, nil
}

func warnOfStrays(log *slog.Logger, strays []iplease.Stray) {
	for _, s := range strays {
		log.Warn("a leased address is in no pool any more and stays until it is released", "address", s.Address, "claim", s.Claim.ID, "state", s.Claim.State)
	}
}

// change changes the table and writes what has changed. When it returns an error
// the change is not on disk; it is there with the next one, so whoever called
// tries again.
func (b *addressBook) change(f func(t *iplease.Table)) error {
	b.saving.Lock()
	defer b.saving.Unlock()
	b.mu.Lock()
	f(b.table)
	records := b.table.Unsaved()
	b.mu.Unlock()
	if len(records) == 0 {
		return nil
	}
	err := b.store.SaveClaims(records...)
	if err != nil {
		b.mu.Lock()
		b.table.KeepUnsaved(records)
		b.mu.Unlock()
	}
	return err
}

// look reads the table.
func (b *addressBook) look(f func(t *iplease.Table)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(b.table)
}

// claim returns a claim; its state is free when there is none.
func (b *addressBook) claim(id iplease.ClaimID) (c iplease.Claim) {
	b.look(func(t *iplease.Table) { c, _ = t.Claim(id) })
	return c
}

// runAddresses does what is due by time, follows the announcer, and looks after
// what is parked.
func (p *Provider) runAddresses(ctx context.Context) error {
	if p.addresses == nil {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-p.restored:
	}
	const tick = 5 * time.Second
	due, all, money := time.NewTicker(tick), time.NewTicker(p.cfg.ResyncEvery), time.NewTicker(p.cfg.WithdrawEvery)
	pools := time.NewTicker(p.cfg.InventoryEvery)
	defer pools.Stop()
	defer due.Stop()
	defer all.Stop()
	defer money.Stop()
	p.tryAgainLater("addresses", p.resyncAddresses(ctx))
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-due.C:
			err = p.expireAddresses(ctx)
		case <-pools.C:
			err = p.refreshPools(ctx)
		case <-all.C:
			err = p.resyncAddresses(ctx)
		case <-p.addresses.wake:
			err = p.reconcileParking(ctx)
		case <-money.C:
			err = p.withdrawRetainers(ctx)
		}
		if ctx.Err() == nil {
			p.tryAgainLater("addresses", err)
		}
	}
}

func (p *Provider) tryAgainLater(what string, err error) {
	if err != nil {
		p.cfg.Logger.Warn("periodic work failed, it will be tried again", "step", what, "err", err)
	}
}

// runAnnouncer has the leases looked at whose addresses may have changed.
func (p *Provider) runAnnouncer(ctx context.Context) error {
	if p.addresses == nil {
		return nil
	}
	w, ok := p.addresses.cfg.Announcer.(ipdriver.Watcher)
	if !ok {
		return nil
	}
	for wait := firstRetry; ctx.Err() == nil; wait = min(2*wait, lastRetry) {
		for id, err := range w.Watch(ctx) {
			if err != nil {
				p.cfg.Logger.Warn("lost sight of the announcer", "err", err)
				break
			}
			wait = firstRetry
			for _, lease := range p.addresses.claim(id).Leases() {
				p.bell.ring(lease)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	return ctx.Err()
}

// refreshPools leases what there is to lease now.
func (p *Provider) refreshPools(ctx context.Context) error {
	b := p.addresses
	if b.cfg.Refresh == nil {
		return nil
	}
	pools, err := b.cfg.Refresh(ctx)
	if err != nil {
		return fmt.Errorf("read the pools of addresses: %w", err)
	}
	if reflect.DeepEqual(pools, b.pools) {
		return nil
	}
	var strays []iplease.Stray
	b.look(func(t *iplease.Table) { strays, err = t.SetPools(pools) })
	if err != nil {
		return err
	}
	b.pools = pools
	p.cfg.Logger.Info("the pools of addresses have changed", "pools", len(pools))
	warnOfStrays(p.cfg.Logger, strays)
	p.retryDeclined(func(r bidengine.Reason) bool {
		return addressesExhausted(r) || r.Code == bidengine.AddressesUnsuitable
	})
	return nil
}

// restAgain is how long an address goes on resting that could not be withdrawn.
const restAgain = 30 * time.Second

// expireAddresses ends what is over. What still answers is not given to others,
// and keeps none of them waiting.
func (p *Provider) expireAddresses(ctx context.Context) error {
	b := p.addresses
	now, height := time.Now(), p.seenHeight()
	var due []iplease.Claim
	b.look(func(t *iplease.Table) { due = t.Due(now) })
	var answers []iplease.Claim
	var faults error
	for _, c := range due {
		if c.State != iplease.Cooling {
			continue
		}
		if err := p.withdrawClaim(ctx, c); err != nil {
			answers, faults = append(answers, c), errors.Join(faults, err)
		}
	}
	var ended []iplease.Expired
	err := b.change(func(t *iplease.Table) {
		for _, c := range answers {
			t.Rest(c.Addresses()[0], now.Add(restAgain))
		}
		ended = t.Expire(now, height)
	})
	if len(ended) > 0 {
		p.retryDeclined(addressesExhausted)
	}
	return errors.Join(faults, err)
}

// resyncAddresses looks at everything that has to do with addresses: leftovers
// of a crash, claims whose lease nobody knows, what is announced and should not
// be.
func (p *Provider) resyncAddresses(ctx context.Context) error {
	b := p.addresses
	listed, err := b.cfg.Announcer.List(ctx)
	if err != nil {
		return err
	}
	var claims []iplease.Claim
	b.look(func(t *iplease.Table) { claims = t.Claims("") })
	for _, c := range claims {
		switch c.State {
		case iplease.Reserved:
			p.queue.add(orderTask(c.Order))
		case iplease.Bound:
			listed = append(listed, c.ID)
			for _, lease := range c.Leases() {
				p.queue.add(leaseTask(lease))
			}
		case iplease.Free, iplease.Parked, iplease.Cooling:
		}
	}
	var faults error
	for _, id := range listed {
		faults = errors.Join(faults, p.finishMove(ctx, id), p.syncClaim(ctx, id))
	}
	return errors.Join(faults, p.expireAddresses(ctx), p.reconcileParking(ctx))
}
