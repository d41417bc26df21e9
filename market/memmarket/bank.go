package memmarket

import (
	"slices"

	"github.com/moorage-dev/moorage/market"
)

// bank is a [machine.Bank] over a map.
type bank struct {
	accounts  map[market.Address]market.Coins
	pot, fees market.Coins
	journal   *journal
}

// Take implements [machine.Bank].
func (b *bank) Take(from market.Address, c market.Coin) error {
	rest, err := b.accounts[from].Sub(c)
	if err != nil {
		return err
	}
	pot, err := b.pot.Add(c)
	if err != nil {
		return err
	}
	b.set(from, rest, pot, b.fees)
	return nil
}

// Give implements [machine.Bank].
func (b *bank) Give(to market.Address, c market.Coin) error {
	pot, err := b.pot.Sub(c)
	if err != nil {
		return err
	}
	sum, err := b.accounts[to].Add(c)
	if err != nil {
		return err
	}
	b.set(to, sum, pot, b.fees)
	return nil
}

// Fee implements [machine.Bank].
func (b *bank) Fee(c market.Coin) error {
	pot, err := b.pot.Sub(c)
	if err != nil {
		return err
	}
	fees, err := b.fees.Add(c)
	if err != nil {
		return err
	}
	b.journal.note(b.restore())
	b.pot, b.fees = pot, fees
	return nil
}

// set writes an account, the pot and the fees, with a note.
func (b *bank) set(a market.Address, coins, pot, fees market.Coins) {
	old, restore := b.accounts[a], b.restore()
	b.journal.note(func() { b.accounts[a] = old; restore() })
	b.accounts[a], b.pot, b.fees = coins, pot, fees
}

func (b *bank) restore() func() {
	pot, fees := b.pot, b.fees
	return func() { b.pot, b.fees = pot, fees }
}

// fund adds new money to an account.
func (b *bank) fund(a market.Address, coins market.Coins) error {
	sum := b.accounts[a]
	for _, c := range coins {
		var err error
		if sum, err = sum.Add(c); err != nil {
			return err
		}
	}
	b.accounts[a] = sum
	return nil
}

func (b *bank) balance(a market.Address) market.Coins { return slices.Clone(b.accounts[a]) }
