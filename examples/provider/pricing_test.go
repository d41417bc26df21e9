package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/bidengine"
)

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pricing.json")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func price(t *testing.T, path string, tenant market.Address) (market.Decimal, error) {
	t.Helper()
	p, err := openPricing(path, []string{"uact"})
	require.NoError(t, err)
	r := bidengine.Request{Denom: "uact", Ceiling: market.NewDecimal(1000)}
	r.Order.ID.Owner = tenant
	r.Order.Spec.Units = []market.ResourceUnit{{Count: 1, Resources: market.Resources{CPU: market.CPU{MilliCores: 1000}}}}
	return p.Price(t.Context(), r)
}

func TestThePricingFile(t *testing.T) {
	rates := file(t, `{"rates": {"uact": {"cpu_per_milli_core": "0.01"}}, "percent": {"friend": 50}, "deny": ["foe"]}`)
	got, err := price(t, rates, "tenant")
	require.NoError(t, err)
	assert.Equal(t, "10", got.String())
	got, err = price(t, rates, "friend")
	require.NoError(t, err)
	assert.Equal(t, "5", got.String())
	var refusal *bidengine.RefusalError
	_, err = price(t, rates, "foe")
	require.ErrorAs(t, err, &refusal)

	got, err = price(t, file(t, `{"program": "/bin/sh", "arguments": ["-c", "echo 7"]}`), "tenant")
	require.NoError(t, err)
	assert.Equal(t, "7", got.String())

	got, err = price(t, file(t, `{"rates": {"uact": {"cpu_per_milli_core": "0.01"}}, "spread_percent": 10}`), "tenant")
	require.NoError(t, err)
	assert.GreaterOrEqual(t, got.Cmp(market.NewDecimal(10)), 0)
	assert.LessOrEqual(t, got.Cmp(market.NewDecimal(11)), 0)

	got, err = price(t, "", "tenant")
	require.NoError(t, err)
	assert.Equal(t, "4", got.String())
}

func TestAPricingFileThatMakesNoSenseIsRefused(t *testing.T) {
	for _, text := range []string{
		"", "{", `{"rate": {}}`, `{"rates": {}, "program": "/bin/true"}`, `{"program": "price"}`, `{"spread_percent": 100000}`,
	} {
		_, err := openPricing(file(t, text), []string{"uact"})
		require.Error(t, err, text)
	}
}

func TestOvercommitFactors(t *testing.T) {
	o, err := overcommit(map[string]int{"cpu": 150, "memory": 90})
	require.NoError(t, err)
	assert.Equal(t, inventory.Overcommit{CPUPercent: 150, MemoryPercent: 90}, o)
	for _, bad := range []map[string]int{{"cpu": 0}, {"gpu": 200}, {"cpu": 100_000}} {
		_, err := overcommit(bad)
		require.Error(t, err)
	}
}
