package providertest_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/provider"
	"github.com/moorage-dev/moorage/provider/providertest"
)

func TestEverythingInMemory(t *testing.T) {
	providertest.Run(t, providertest.Harness{Run: synctest.Test})
}

// The store on disk fsyncs in real time, so no bubble: only the cases that need
// no market.
func TestTheStoreOnDisk(t *testing.T) {
	dir := t.TempDir()
	h := providertest.Harness{Store: func(testing.TB) func() (provider.Store, error) {
		return func() (provider.Store, error) { return provider.OpenStore(dir) }
	}}
	for _, c := range providertest.Cases() {
		if c.Name == "store" || c.Name == "claims in the store" {
			require.NoError(t, h.Check(t, c))
		}
	}
}
