package machine

import (
	"errors"
	"fmt"

	"github.com/moorage-dev/moorage/market"
)

// need returns a row that a message names. When it is not there the refusal is
// "<what>-unknown".
func need[K Key, V any](t Table[K, V], k K, what string) (V, error) {
	v, ok, err := lookup(t, k)
	if err == nil && !ok {
		err = market.Refuse(market.ErrNotFound, what+"-unknown", "%s %v", what, k)
	}
	return v, err
}

// free checks that nothing is stored under a key.
func free[K Key, V any](t Table[K, V], k K, what string) error {
	_, taken, err := lookup(t, k)
	if err == nil && taken {
		err = market.Refuse(market.ErrExists, what+"-exists", "%s %v", what, k)
	}
	return err
}

// take moves money into the pot. An account that has too little is a refusal.
func (m *Machine) take(from market.Address, c market.Coin) error {
	if c.Amount.IsZero() {
		return nil
	}
	err := m.Bank.Take(from, c)
	if errors.Is(err, market.ErrInsufficientFunds) {
		return market.Refuse(market.ErrInsufficientFunds, "balance-too-low", "%s has not %s to deposit", from, c)
	}
	return err
}

// give moves money out of the pot.
func (m *Machine) give(to market.Address, c market.Coin) error {
	if c.Amount.IsZero() {
		return nil
	}
	if err := m.Bank.Give(to, c); err != nil {
		return fmt.Errorf("machine: give %s to %s: %w", c, to, err)
	}
	return nil
}

// checkDeposit checks an amount against the least amounts of a parameter.
func checkDeposit(c market.Coin, least market.Coins) error {
	low := least.Of(c.Denom)
	if low.IsZero() {
		return market.Refuse(market.ErrInvalid, "deposit-denom", "%s is not taken here, want one of %v", c, least)
	}
	if c.Amount.Cmp(low) < 0 {
		return market.Refuse(market.ErrInvalid, "deposit-too-low", "a deposit of %s, want at least %s%s", c, low, c.Denom)
	}
	return nil
}

func deploymentEvent(id market.DeploymentID) market.LeaseID {
	return groupEvent(market.GroupID{DeploymentID: id})
}

func groupEvent(id market.GroupID) market.LeaseID { return orderEvent(market.OrderID{GroupID: id}) }

func orderEvent(id market.OrderID) market.LeaseID { return market.LeaseID{OrderID: id} }
