package app

import (
	"fmt"
	"os"
	"testing"
)

// TestMain sets the prefix of addresses before any test makes one, as programs
// do: the SDK keeps what it has once written, so tests in any order want it set.
func TestMain(m *testing.M) {
	if err := ConfigureAddresses(DefaultAddressPrefix); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}
