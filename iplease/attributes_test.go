package iplease_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/market"
)

func keys(as market.Attributes) (out []string) {
	for _, a := range as {
		out = append(out, a.Key)
	}
	return out
}

func TestAProviderPublishesWhatItsPoolsHave(t *testing.T) {
	pools := []iplease.Pool{
		{Name: "a", Ranges: ranges("192.0.2.0/24"), Attributes: market.Attributes{{Key: "class", Value: "premium"}, {Key: "note", Value: "two words"}}},
		{Name: "b", Ranges: ranges("2001:db8::/64")},
	}
	got := iplease.AttributesOf(iplease.Config{Pools: pools})
	assert.Equal(t, []string{
		"capabilities/ip-lease/class/premium", "capabilities/ip-lease/family/dual", "capabilities/ip-lease/family/ipv4",
		"capabilities/ip-lease/family/ipv6", "capabilities/ip-lease/pool/a", "capabilities/ip-lease/pool/b", "ip-lease",
	}, keys(got))
	require.NoError(t, got.Validate(100))
	assert.Nil(t, iplease.AttributesOf(iplease.Config{}))
}

func TestWhatAnOrderRequiresIsASelection(t *testing.T) {
	attr := func(keys ...string) (as market.Attributes) {
		for _, k := range keys {
			as = append(as, market.Attribute{Key: k, Value: "true"})
		}
		return as
	}
	s, err := iplease.SelectionOf(attr("ip-lease", "region", "capabilities/ip-lease/family/dual", "capabilities/ip-lease/pool/a", "capabilities/ip-lease/class/premium"))
	require.NoError(t, err)
	assert.Equal(t, iplease.Selection{Family: iplease.Dual, Pool: "a", Attributes: market.Attributes{{Key: "class", Value: "premium"}}}, s)
	s, err = iplease.SelectionOf(attr("capabilities/ip-lease/family/ipv4", "capabilities/ip-lease/family/ipv6"))
	require.NoError(t, err)
	assert.Equal(t, iplease.Dual, s.Family)
	s, err = iplease.SelectionOf(nil)
	require.NoError(t, err)
	assert.Equal(t, iplease.Selection{}, s)
	for _, bad := range []string{"capabilities/ip-lease/family/ipv5", "capabilities/ip-lease/family/any", "capabilities/ip-lease/lonely"} {
		_, err := iplease.SelectionOf(attr(bad))
		require.ErrorIs(t, err, market.ErrInvalid, bad)
	}
	_, err = iplease.SelectionOf(attr("capabilities/ip-lease/pool/a", "capabilities/ip-lease/pool/b"))
	require.ErrorIs(t, err, market.ErrInvalid)
}
