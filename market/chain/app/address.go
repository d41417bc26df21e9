package app

import (
	"fmt"

	sdk "github.com/cosmos/cosmos-sdk/types"
)

// DefaultAddressPrefix is the human-readable part of account addresses when a
// program has no other.
const DefaultAddressPrefix = "moor"

// maxPrefixLength bounds the prefix so that an address of a 32-byte account,
// with the longest suffix "valconspub", stays in the 90 characters of bech32.
const maxPrefixLength = 16

// ConfigureAddresses sets the prefix of addresses for the whole process and
// seals it. Call it once, first thing in main, before any address is made.
// Calling it again with the same prefix does nothing; with another it is an
// error, since addresses made so far would change their meaning. Not safe for
// concurrent use.
func ConfigureAddresses(prefix string) (err error) {
	if err := checkPrefix(prefix); err != nil {
		return err
	}
	config := sdk.GetConfig()
	defer func() {
		if recover() == nil {
			return
		}
		if set := config.GetBech32AccountAddrPrefix(); set != prefix {
			err = fmt.Errorf("app: address prefix %q: this process already uses %q", prefix, set)
		}
	}()
	config.SetBech32PrefixForAccount(prefix, prefix+"pub")
	config.SetBech32PrefixForValidator(prefix+"valoper", prefix+"valoperpub")
	config.SetBech32PrefixForConsensusNode(prefix+"valcons", prefix+"valconspub")
	config.Seal()
	return nil
}

func checkPrefix(prefix string) error {
	ok := len(prefix) > 0 && len(prefix) <= maxPrefixLength
	for i := 0; ok && i < len(prefix); i++ {
		ok = prefix[i] >= 'a' && prefix[i] <= 'z'
	}
	if !ok {
		return fmt.Errorf("app: address prefix %q: want 1 to %d lower-case letters", prefix, maxPrefixLength)
	}
	return nil
}

// AddressPrefix returns the prefix in force.
func AddressPrefix() string { return sdk.GetConfig().GetBech32AccountAddrPrefix() }
