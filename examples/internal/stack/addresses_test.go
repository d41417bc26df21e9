package stack

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/moorage-dev/moorage/iplease"
	ipdriver "github.com/moorage-dev/moorage/iplease/driver"
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
