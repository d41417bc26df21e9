package stack

import (
	"net/netip"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/iplease"
	ipdriver "github.com/moorage-dev/moorage/iplease/driver"
	"github.com/moorage-dev/moorage/market"
)

func TestWhatOthersHaveOfANetworksPoolIsNotLeased(t *testing.T) {
	addr := netip.MustParseAddr
	whole := ipdriver.Range{First: addr("203.0.113.0"), Last: addr("203.0.113.15")}
	seen := []ipdriver.Pool{{Name: "public", Ranges: []ipdriver.Range{whole}, InUse: []netip.Addr{addr("203.0.113.2"), addr("203.0.113.9")}}}
	got := poolsOf(nil, seen)
	assert.Equal(t, []iplease.Pool{{Name: "public", Ranges: []iplease.Range{iplease.Range(whole)}, Reserved: []iplease.Range{
		{First: addr("203.0.113.2"), Last: addr("203.0.113.2")}, {First: addr("203.0.113.9"), Last: addr("203.0.113.9")},
	}}}, got)
	named := []iplease.Pool{{Name: "some", Ranges: []iplease.Range{{First: addr("203.0.113.0"), Last: addr("203.0.113.7")}}}}
	got = poolsOf(named, seen)
	assert.Equal(t, []iplease.Range{{First: addr("203.0.113.2"), Last: addr("203.0.113.2")}}, got[0].Reserved)
	assert.Empty(t, named[0].Reserved)
}

func TestAPoolIsReadFromAFlag(t *testing.T) {
	one := func(s string) iplease.Range {
		r, err := iplease.ParseRange(s)
		require.NoError(t, err)
		return r
	}
	got, err := parsePool("public=203.0.113.16/28,-203.0.113.17,2001:db8::/64,-203.0.113.30-203.0.113.31;class=premium;avoid-edges;region=eu;only-by-name")
	require.NoError(t, err)
	assert.Equal(t, iplease.Pool{
		Name:     "public",
		Ranges:   []iplease.Range{one("203.0.113.16/28"), one("2001:db8::/64")},
		Reserved: []iplease.Range{one("203.0.113.17"), one("203.0.113.30-203.0.113.31")}, AvoidEdges: true, OnlyByName: true,
		Attributes: market.Attributes{{Key: "class", Value: "premium"}, {Key: "region", Value: "eu"}},
	}, got)
	for text, says := range map[string]string{
		"public":                          "want NAME=RANGE",
		"=203.0.113.0/24":                 "want NAME=RANGE",
		"public=203.0.113.0/24,":          `range ""`,
		"public=203.0.113.0/33":           `range "203.0.113.0/33"`,
		"public=203.0.113.0/24;avoid":     `"avoid" is neither`,
		"public=203.0.113.0/24;=premium":  "want key=value",
		"public=203.0.113.0/24,-10.0.0.1": "-10.0.0.1 is in none",
		"public=203.0.113.0/24,-premises": `range "premises"`,
	} {
		_, err := parsePool(text)
		assert.ErrorContains(t, err, says, text)
	}
}

func TestAddressesRestAsLongAsTheOperatorSays(t *testing.T) {
	var f IPFlags
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.Register(flags)
	c, err := f.Parse([]string{"uakt"})
	require.NoError(t, err)
	assert.Equal(t, iplease.DefaultCooling, c.Cooling)
	require.NoError(t, flags.Parse([]string{"--ip-cooling", "90s"}))
	c, err = f.Parse(nil)
	require.NoError(t, err)
	assert.Equal(t, 90*time.Second, c.Cooling)
	require.NoError(t, flags.Parse([]string{"--ip-cooling", "0s"}))
	_, err = f.Parse(nil)
	assert.ErrorContains(t, err, "--ip-cooling")
}
