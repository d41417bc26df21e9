package bidengine_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/bidengine"
	"github.com/moorage-dev/moorage/sdl"
)

// leasedPorts has a leased address with two ports, one of them HTTP, a shared
// HTTP name and a forwarded port.
const leasedPorts = `
version: "2.1"
endpoints: {my-ip: {kind: ip}}
services:
  web:
    image: nginx
    expose:
      - {port: 5000, as: 5000, to: [{global: true, ip: my-ip}]}
      - {port: 8080, as: 80, to: [{global: true, ip: my-ip}]}
  api:
    image: nginx
    expose:
      - {port: 80, as: 80, to: [{global: true}]}
      - {port: 6000, as: 6000, to: [{global: true}]}
      - {port: 6001, as: 6001, to: [{global: true, ip: my-ip}]}
profiles:
  compute:
    web: {resources: {cpu: {units: 1}, memory: {size: 512Mi}, storage: {size: 512Mi}}}
    api: {resources: {cpu: {units: 2}, memory: {size: 512Mi}, storage: {size: 512Mi}}}
  placement:
    dc:
      pricing:
        web: {denom: uact, amount: 100000}
        api: {denom: uact, amount: 100000}
deployment:
  web: {dc: {profile: web, count: 1}}
  api: {dc: {profile: api, count: 1}}
`

func TestAPortOfALeasedAddressIsChargedAsNothingElse(t *testing.T) {
	out, err := sdl.Compile([]byte(leasedPorts), sdl.Options{File: "x"})
	require.NoError(t, err)
	s := bidengine.Scale{"uact": {
		StoragePerMi: map[string]market.Decimal{bidengine.ClassEphemeral: {}, "default": {}},
		PerEndpoint:  market.NewDecimal(1), PerLeasedIP: market.NewDecimal(60),
	}}
	r := bidengine.Request{Order: order(nil), Denom: "uact"}
	r.Order.Spec = out.Groups[0]
	price, err := s.Price(t.Context(), r)
	require.NoError(t, err)
	assert.Equal(t, "62", price.String(), "one address, one HTTP name, one forwarded port: %+v", out.Groups[0].Units)
}

func TestAScaledUnitPaysForNoPortOfAnAddressThatAnotherPaysFor(t *testing.T) {
	out, err := sdl.Compile([]byte(leasedPorts), sdl.Options{File: "x"})
	require.NoError(t, err)
	s := snapshot(t)
	s.Addresses = func() []bidengine.Reason { return nil }
	s.Pricer = bidengine.Scale{"uact": {
		CPUPerMilliCore: decimal(t, "0.001"),
		StoragePerMi:    map[string]market.Decimal{bidengine.ClassEphemeral: {}, "default": {}},
		PerEndpoint:     market.NewDecimal(10), PerLeasedIP: market.NewDecimal(60),
	}}
	o := order(nil)
	o.Spec = out.Groups[0]
	require.Len(t, o.Spec.Units, 2)
	for i := range o.Spec.Units {
		o.Spec.Units[i].MinCount, o.Spec.Units[i].MaxCount = 1, 3
	}
	d, reasons := bidengine.Decide(t.Context(), o, s)
	require.Empty(t, reasons)
	assert.Equal(t, "83", d.Price.AmountPerBlock.String(), "3 cores, 2 endpoints, 1 address: %+v", d.Units)
}

func TestASpreadAsksItsStrategyOnce(t *testing.T) {
	asked := 0
	falling := bidengine.PricerFunc(func(context.Context, bidengine.Request) (market.Decimal, error) {
		asked++
		return market.NewDecimal(uint64(100 / asked)), nil
	})
	p, err := bidengine.NewSpread(falling, 10, rand.New(rand.NewPCG(1, 2))).Price(t.Context(), bidengine.Request{Ceiling: market.NewDecimal(105)})
	require.NoError(t, err)
	assert.Equal(t, 1, asked)
	assert.True(t, p.Cmp(market.NewDecimal(100)) >= 0 && p.Cmp(market.NewDecimal(105)) <= 0, p)
}
