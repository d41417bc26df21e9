package gatewaytest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway/api"
)

// leasedIP is the one endpoint of the provider in memory: deployment 7 of each
// tenant that has a lease has it.
const leasedIP = "my-ip"

func (b *Backend) ip(owner market.Address) api.HeldIP {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := api.HeldIP{
		Endpoint: leasedIP, Addresses: []netip.Addr{netip.MustParseAddr("203.0.113.7")}, State: "bound",
		Holder: &market.DeploymentID{Owner: owner, DSeq: 7}, Retained: b.parked,
	}
	return out
}

func (b *Backend) hasIP(owner market.Address, name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fault != nil {
		return b.fault
	}
	for id := range b.leases {
		if id.Owner == owner && name == leasedIP {
			return nil
		}
	}
	return fmt.Errorf("endpoint %.70s: %w", name, market.ErrNotFound)
}

// MigrateEndpoints implements [gateway.EndpointMigrator]: "my-ip" moves, nothing
// else is there.
func (b *Backend) MigrateEndpoints(_ context.Context, to market.LeaseID, names []string) ([]api.EndpointMoved, error) {
	if err := b.check(to); err != nil {
		return nil, err
	}
	out := make([]api.EndpointMoved, len(names))
	for i, name := range names {
		out[i] = api.EndpointMoved{Endpoint: name, Moved: name == leasedIP}
		if !out[i].Moved {
			out[i].Rule, out[i].Detail = api.RuleEndpointNotAsked, "the manifest does not ask for it"
		}
	}
	return out, nil
}

// HeldIPs implements [gateway.AddressKeeper].
func (b *Backend) HeldIPs(_ context.Context, owner market.Address) (api.HeldIPs, error) {
	price, err := market.ParseDecimal("1.5")
	out := api.HeldIPs{IPs: []api.HeldIP{}, ParkPrices: []market.Price{{Denom: "uact", AmountPerBlock: price}}}
	if err == nil {
		err = b.hasIP(owner, leasedIP)
	}
	switch {
	case err == nil:
		out.IPs = append(out.IPs, b.ip(owner))
	case errors.Is(err, market.ErrNotFound):
		err = nil
	}
	return out, err
}

// ParkIP implements [gateway.AddressKeeper].
func (b *Backend) ParkIP(_ context.Context, owner market.Address, name string) (api.HeldIP, error) {
	return b.setParked(owner, name, true)
}

// ReleaseIP implements [gateway.AddressKeeper].
func (b *Backend) ReleaseIP(_ context.Context, owner market.Address, name string) (api.HeldIP, error) {
	return b.setParked(owner, name, false)
}

func (b *Backend) setParked(owner market.Address, name string, on bool) (api.HeldIP, error) {
	if err := b.hasIP(owner, name); err != nil {
		return api.HeldIP{}, err
	}
	b.mu.Lock()
	b.parked = on
	b.mu.Unlock()
	return b.ip(owner), nil
}

// LimitSources implements [gateway.AddressKeeper].
func (b *Backend) LimitSources(_ context.Context, owner market.Address, name string, limit api.SourceLimit) error {
	if err := b.hasIP(owner, name); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limits = append(b.limits, limit)
	return nil
}

// SourceLimits returns the limits that were set, in order.
func (b *Backend) SourceLimits() []api.SourceLimit {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.limits)
}
