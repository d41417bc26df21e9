package market_test

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moorage-dev/moorage/market"
)

func limits() market.Limits { return market.DefaultParams("uakt").Limits }

func price(n uint64) market.Price {
	return market.Price{Denom: "uakt", AmountPerBlock: market.NewDecimal(n)}
}

// group returns a group that is valid.
func group() market.GroupSpec {
	return market.GroupSpec{Name: "web", Units: []market.ResourceUnit{{
		Resources: market.Resources{
			ID: 1, CPU: market.CPU{MilliCores: 500}, Memory: market.Memory{Bytes: 1 << 29},
			Storage: []market.Volume{{Name: "default", Bytes: 1 << 30}}, Endpoints: []market.Endpoint{{}},
		},
		Count: 1, Price: price(10),
	}}}
}

func TestGroupsAreCheckedAgainstTheLimits(t *testing.T) {
	require.NoError(t, group().Validate(limits()))
	bad := map[string]func(g *market.GroupSpec){
		"group-name":     func(g *market.GroupSpec) { g.Name = "" },
		"group-units":    func(g *market.GroupSpec) { g.Units = nil },
		"unit-id":        func(g *market.GroupSpec) { g.Units = append(g.Units, g.Units[0]) },
		"unit-replicas":  func(g *market.GroupSpec) { g.Units[0].Count = 0 },
		"unit-cpu":       func(g *market.GroupSpec) { g.Units[0].CPU.MilliCores = 384_001 },
		"unit-memory":    func(g *market.GroupSpec) { g.Units[0].Memory.Bytes = 0 },
		"unit-gpus":      func(g *market.GroupSpec) { g.Units[0].GPU.Units = 25 },
		"unit-volumes":   func(g *market.GroupSpec) { g.Units[0].Storage = make([]market.Volume, 17) },
		"unit-endpoints": func(g *market.GroupSpec) { g.Units[0].Endpoints = make([]market.Endpoint, 65) },
		"endpoint-kind":  func(g *market.GroupSpec) { g.Units[0].Endpoints[0].Kind = 9 },
		"volume-name":    func(g *market.GroupSpec) { g.Units[0].Storage[0].Name = "" },
		"unit-storage":   func(g *market.GroupSpec) { g.Units[0].Storage[0].Bytes = 1 << 63 },
		"group-signers":  func(g *market.GroupSpec) { g.Requirements.SignedBy.AnyOf = make([]market.Address, 17) },
		"signer":         func(g *market.GroupSpec) { g.Requirements.SignedBy.AllOf = []market.Address{"a b"} },
		"attribute-key":  func(g *market.GroupSpec) { g.Requirements.Attributes = market.Attributes{{Key: "a b"}} },
		"attribute-value": func(g *market.GroupSpec) {
			g.Requirements.Attributes = market.Attributes{{Key: "a", Value: strings.Repeat("x", 257)}}
		},
		"attributes":       func(g *market.GroupSpec) { g.Units[0].CPU.Attributes = make(market.Attributes, 101) },
		"group-price-zero": func(g *market.GroupSpec) { g.Units[0].Price = price(0) },
		"price-denom":      func(g *market.GroupSpec) { g.Units[0].Price.Denom = "!" },
		"group-bytes": func(g *market.GroupSpec) {
			for i := range 100 {
				g.Requirements.Attributes = append(g.Requirements.Attributes, market.Attribute{Key: fmt.Sprintf("%0128d", i), Value: strings.Repeat("x", 256)})
			}
			g.Units[0].GPU.Attributes = g.Requirements.Attributes[:64]
			g.Units[0].CPU.Attributes = g.Requirements.Attributes[:1]
		},
		"group-price": func(g *market.GroupSpec) {
			u := g.Units[0]
			u.ID, u.Price.Denom = 2, "uact"
			g.Units = append(g.Units, u)
		},
	}
	g := group()
	for _, name := range []string{"\xff", "a\x00b", strings.Repeat("x", 65)} {
		g.Name = name
		assert.ErrorIs(t, g.Validate(limits()), market.ErrInvalid, "%q", name)
	}
	for rule, bend := range bad {
		g := group()
		bend(&g)
		var re *market.RuleError
		err := g.Validate(limits())
		if assert.ErrorAs(t, err, &re, rule) {
			assert.Equal(t, rule, re.Rule)
			assert.True(t, errors.Is(err, market.ErrInvalid) || errors.Is(err, market.ErrLimit))
		}
	}
}

func TestTheSizeOfAGroupCountsAllItHolds(t *testing.T) {
	g := group()
	base := g.Size()
	g.Requirements.SignedBy = market.SignedBy{AllOf: []market.Address{"abcd"}, AnyOf: []market.Address{"ab"}}
	g.Requirements.Providers = market.Selection[market.Address]{Allowed: []market.Address{"abcd"}, Excluded: []market.Address{"ab"}}
	g.Requirements.DataCenters = market.Selection[string]{Allowed: []string{"abcd"}, Excluded: []string{"ab"}}
	g.Requirements.Attributes = market.Attributes{{Key: "abcd", Value: "ab"}}
	assert.Equal(t, base+3*(20+18)+22, g.Size())
	base = g.Size()
	u := &g.Units[0]
	u.CPU.Attributes, u.Memory.Attributes, u.GPU.Attributes = g.Requirements.Attributes, g.Requirements.Attributes, g.Requirements.Attributes
	u.Storage = append(u.Storage, market.Volume{Name: "ab", Attributes: g.Requirements.Attributes})
	u.Endpoints = append(u.Endpoints, market.Endpoint{}, market.Endpoint{})
	assert.Equal(t, base+3*22+18+22+32, g.Size())
	base = g.Size()
	g.Units = append(g.Units, market.ResourceUnit{Price: price(1)})
	assert.Equal(t, base+16+len("uakt"), g.Size())
}

func TestAttributeKeys(t *testing.T) {
	for key, ok := range map[string]bool{
		"region": true, "a/b_c.d-e": true, "vendor/nvidia/model/*": true, "a*/b*c": true, "1": true,
		"": false, "a b": false, "a**": false, "*x*": false, "ä": false, strings.Repeat("x", 129): false,
	} {
		err := market.Attributes{{Key: key}}.Validate(1)
		assert.Equal(t, ok, err == nil, "%q: %v", key, err)
	}
}

// A star is what path.Match makes of it.
func TestAStarMatchesAsInPaths(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringMatching(`[ab/]{0,2}\*?[ab]{0,2}(/[ab]{0,2}\*?[ab]{0,2})?`).Draw(t, "pattern")
		key := rapid.StringMatching(`[ab/]{0,6}`).Draw(t, "key")
		want, err := path.Match(pattern, key)
		require.NoError(t, err)
		g := group()
		g.Requirements.Attributes = market.Attributes{{Key: pattern}}
		got := g.Match(market.Provider{Attributes: market.Attributes{{Key: key}}}, nil, time.Time{}) == nil
		require.Equal(t, want, got, "pattern %q, key %q", pattern, key)
	})
}

// BenchmarkMatch is the dearest match that the limits allow: everything is
// compared with everything.
func BenchmarkMatch(b *testing.B) {
	p := market.Provider{Owner: "p"}
	for i := range 50 {
		p.Attributes = append(p.Attributes, market.Attribute{Key: fmt.Sprintf("%s%d/%s", market.CapabilityStorage, i, strings.Repeat("a/", 40)), Value: "x"},
			market.Attribute{Key: fmt.Sprintf("%s%s%d", market.CapabilityGPU, strings.Repeat("a/", 40), i), Value: "x"})
	}
	keys := func(n int) (as market.Attributes) {
		for i := range n {
			as = append(as, market.Attribute{Key: strings.Repeat("*/", 40) + strings.Repeat("*", i&1), Value: "x"})
		}
		return as
	}
	g := market.GroupSpec{}
	for range 20 {
		u := market.ResourceUnit{Resources: market.Resources{GPU: market.GPU{Units: 1, Attributes: append(keys(63), market.Attribute{Key: strings.Repeat("*/", 40) + "*", Value: "x"})}}}
		for range 16 {
			u.Storage = append(u.Storage, market.Volume{Attributes: keys(8)})
		}
		g.Units = append(g.Units, u)
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = g.Match(p, nil, time.Time{})
	}
}

func TestSumsOfAGroup(t *testing.T) {
	g := group()
	g.Units[0].Count = 3
	g.Units = append(g.Units, market.ResourceUnit{Resources: market.Resources{ID: 2, CPU: market.CPU{MilliCores: 1}, Memory: market.Memory{Bytes: 1}, GPU: market.GPU{Units: 2}}, Count: 2, Price: price(7)})
	ceiling, err := g.Ceiling()
	require.NoError(t, err)
	assert.Equal(t, price(44), ceiling)
	assert.Equal(t, market.Totals{Replicas: 5, MilliCores: 1502, MemoryBytes: 3<<29 + 2, GPUs: 4, StorageBytes: 3 << 30}, g.Totals())
}

func TestMatching(t *testing.T) {
	now := time.Unix(1000, 0)
	attr := func(k, v string) market.Attribute { return market.Attribute{Key: k, Value: v} }
	audit := func(auditor market.Address, expires time.Time, as ...market.Attribute) market.Audit {
		return market.Audit{ID: market.AuditID{Provider: "p", Auditor: auditor}, Attributes: as, ExpiresAt: expires}
	}
	region := attr("region", "eu")
	cases := []struct {
		name   string
		bend   func(g *market.GroupSpec)
		have   market.Attributes
		audits []market.Audit
		rule   string
	}{
		{name: "nothing is asked for"},
		{name: "the attribute is there", bend: require1(region), have: market.Attributes{attr("tier", "x"), region}},
		{name: "the attribute is missing", bend: require1(region), have: market.Attributes{attr("tier", "x")}, rule: "bid-attributes"},
		{name: "the value differs", bend: require1(region), have: market.Attributes{attr("region", "us")}, rule: "bid-attributes"},
		{name: "a star stands for a part", bend: require1(attr("a/*/c", "1")), have: market.Attributes{attr("a/b/c", "1")}},
		{name: "a star does not cross a slash", bend: require1(attr("a/*", "1")), have: market.Attributes{attr("a/b/c", "1")}, rule: "bid-attributes"},
		{name: "all of them have signed", bend: signed([]market.Address{"x", "y"}, nil, region), have: market.Attributes{region},
			audits: []market.Audit{audit("x", time.Time{}, region), audit("y", now.Add(1), region)}},
		{name: "one of all has not signed", bend: signed([]market.Address{"x", "y"}, nil, region), have: market.Attributes{region},
			audits: []market.Audit{audit("x", time.Time{}, region)}, rule: "bid-signed-by-all"},
		{name: "one of all has signed something else", bend: signed([]market.Address{"x"}, nil, region), have: market.Attributes{region},
			audits: []market.Audit{audit("x", time.Time{}, attr("region", "us"))}, rule: "bid-signed-by-all"},
		{name: "the word is expired", bend: signed([]market.Address{"x"}, nil, region), have: market.Attributes{region},
			audits: []market.Audit{audit("x", now, region)}, rule: "bid-signed-by-all"},
		{name: "any of them has signed", bend: signed(nil, []market.Address{"x", "y"}, region), have: market.Attributes{region},
			audits: []market.Audit{audit("y", time.Time{}, region)}},
		{name: "none of any has signed", bend: signed(nil, []market.Address{"x", "y"}, region), have: market.Attributes{region},
			audits: []market.Audit{audit("z", time.Time{}, region)}, rule: "bid-signed-by-any"},
		{name: "the word is about another provider", bend: signed(nil, []market.Address{"x"}, region), have: market.Attributes{region},
			audits: []market.Audit{{ID: market.AuditID{Provider: "q", Auditor: "x"}, Attributes: market.Attributes{region}}}, rule: "bid-signed-by-any"},
		{name: "signed but no longer claimed", bend: signed([]market.Address{"x"}, nil, region),
			audits: []market.Audit{audit("x", time.Time{}, region)}, rule: "bid-attributes"},
		{name: "the storage is there", bend: volume(attr("class", "beta2"), attr("persistent", "true")),
			have: market.Attributes{attr("capabilities/storage/1/class", "beta2"), attr("capabilities/storage/1/persistent", "true")}},
		{name: "the storage is in two halves", bend: volume(attr("class", "beta2"), attr("persistent", "true")),
			have: market.Attributes{attr("capabilities/storage/1/class", "beta2"), attr("capabilities/storage/2/persistent", "true")}, rule: "bid-storage"},
		{name: "storage 1 is not storage 12", bend: volume(attr("class", "beta2"), attr("persistent", "true")),
			have: market.Attributes{attr("capabilities/storage/12/class", "beta2"), attr("capabilities/storage/1/persistent", "true")}, rule: "bid-storage"},
		{name: "any GPU will do", bend: gpu()},
		{name: "one of two GPUs is there", bend: gpu(attr("vendor/nvidia/model/a100", "true"), attr("vendor/nvidia/model/h100", "true")),
			have: market.Attributes{attr("capabilities/gpu/vendor/nvidia/model/h100", "true")}},
		{name: "any model of a vendor", bend: gpu(attr("vendor/nvidia/model/*", "true")),
			have: market.Attributes{attr("capabilities/gpu/vendor/nvidia/model/h100", "true")}},
		{name: "another vendor", bend: gpu(attr("vendor/amd/model/*", "true")),
			have: market.Attributes{attr("capabilities/gpu/vendor/nvidia/model/h100", "true")}, rule: "bid-gpu"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			g := group()
			if c.bend != nil {
				c.bend(&g)
			}
			err := g.Match(market.Provider{Owner: "p", Attributes: c.have}, c.audits, now)
			if c.rule == "" {
				require.NoError(t, err)
				return
			}
			var re *market.RuleError
			require.ErrorAs(t, err, &re)
			require.ErrorIs(t, err, market.ErrMismatch)
			assert.Equal(t, c.rule, re.Rule)
		})
	}
}

func require1(as ...market.Attribute) func(*market.GroupSpec) {
	return func(g *market.GroupSpec) { g.Requirements.Attributes = as }
}

func signed(all, some []market.Address, as ...market.Attribute) func(*market.GroupSpec) {
	return func(g *market.GroupSpec) {
		g.Requirements = market.Requirements{SignedBy: market.SignedBy{AllOf: all, AnyOf: some}, Attributes: as}
	}
}

func volume(as ...market.Attribute) func(*market.GroupSpec) {
	return func(g *market.GroupSpec) { g.Units[0].Storage[0].Attributes = as }
}

func gpu(as ...market.Attribute) func(*market.GroupSpec) {
	return func(g *market.GroupSpec) { g.Units[0].GPU = market.GPU{Units: 1, Attributes: as} }
}

func TestProvidersAreChecked(t *testing.T) {
	good := market.Provider{Owner: "p", HostURI: "https://p.example:8443", Attributes: market.Attributes{{Key: "b", Value: "1"}, {Key: "a", Value: "2"}}}
	require.NoError(t, good.Validate(limits()))
	for _, uri := range []string{"", "p.example", "http://p.example", "https://", "https://p.example/", "https://u@p.example", "https://p.example?q", "https://p.example#f", "https://" + strings.Repeat("x", 300)} {
		p := good
		p.HostURI = uri
		assert.ErrorIs(t, p.Validate(limits()), market.ErrInvalid, "%q", uri)
	}
	p := good
	p.Owner = ""
	assert.ErrorIs(t, p.Validate(limits()), market.ErrInvalid)
	p = good
	p.Website = strings.Repeat("x", 257)
	assert.ErrorIs(t, p.Validate(limits()), market.ErrInvalid)
	p.Website = "line\nbreak"
	assert.ErrorIs(t, p.Validate(limits()), market.ErrInvalid)
	p = good
	p.Attributes = market.Attributes{{Key: "a"}, {Key: "a"}}
	assert.ErrorIs(t, p.Validate(limits()), market.ErrInvalid)
	assert.Equal(t, market.Attributes{{Key: "a", Value: "2"}, {Key: "b", Value: "1"}}, good.Attributes.Sorted())
}

func TestParametersAreChecked(t *testing.T) {
	require.NoError(t, market.DefaultParams("uakt", "uact").Validate())
	bad := map[string]func(p *market.Params){
		"no denominations":  func(p *market.Params) { p.MinDeposits = nil },
		"no bid deposits":   func(p *market.Params) { p.BidDeposits = nil },
		"no bids":           func(p *market.Params) { p.MaxBids = 0 },
		"too many bids":     func(p *market.Params) { p.MaxBids = 1001 },
		"negative lifetime": func(p *market.Params) { p.OrderLifetimeBlocks = -1 },
		"endless grace":     func(p *market.Params) { p.GraceBlocks = 1 << 62 },
		"more than all":     func(p *market.Params) { p.FeePerMyriad = 10_001 },
		"bad denomination":  func(p *market.Params) { p.MinDeposits = market.Coins{market.NewCoin("!", 1)} },
		"unsorted": func(p *market.Params) {
			p.MinDeposits = market.Coins{market.NewCoin("uakt", 1), market.NewCoin("uact", 1)}
		},
		"zero deposit":       func(p *market.Params) { p.BidDeposits = market.Coins{market.NewCoin("uakt", 0)} },
		"a count too high":   func(p *market.Params) { p.Limits.MaxGroups = 1001 },
		"groups too big":     func(p *market.Params) { p.Limits.MaxGroupBytes = 1<<20 + 1 },
		"a quantity too big": func(p *market.Params) { p.Limits.MaxMemoryBytes = 1 << 60 },
	}
	for name, bend := range bad {
		p := market.DefaultParams("uakt")
		bend(&p)
		assert.ErrorIs(t, p.Validate(), market.ErrInvalid, name)
	}
}

func TestClonesShareNoMemory(t *testing.T) {
	spec := group()
	spec.Requirements = market.Requirements{SignedBy: market.SignedBy{AllOf: []market.Address{"x"}, AnyOf: []market.Address{"y"}}, Attributes: market.Attributes{{Key: "a"}}}
	unit := &spec.Units[0]
	unit.CPU.Attributes, unit.Memory.Attributes = market.Attributes{{Key: "c"}}, market.Attributes{{Key: "m"}}
	unit.GPU.Attributes, unit.Storage[0].Attributes = market.Attributes{{Key: "g"}}, market.Attributes{{Key: "s"}}
	copied, want := spec.Clone(), spec.Clone()
	spec.Requirements.SignedBy.AllOf[0], spec.Requirements.SignedBy.AnyOf[0], spec.Requirements.Attributes[0].Key = "!", "!", "!"
	unit.CPU.Attributes[0].Key, unit.Memory.Attributes[0].Key, unit.GPU.Attributes[0].Key, unit.Storage[0].Attributes[0].Key = "!", "!", "!", "!"
	unit.Storage[0].Name, unit.Endpoints[0].Kind, unit.Count = "!", 2, 99
	assert.Equal(t, want, copied)
	msg := market.CreateDeployment{Groups: []market.GroupSpec{copied}}
	cloned := market.CloneMsg(msg).(market.CreateDeployment)
	msg.Groups[0].Units[0].Count = 98
	assert.EqualValues(t, 1, cloned.Groups[0].Units[0].Count)
}

func TestStatesHaveNames(t *testing.T) {
	assert.Equal(t, "starved", market.GroupStarved.String())
	assert.Equal(t, "withdrawn", market.BidWithdrawn.String())
	assert.Equal(t, "closing", market.LeaseClosing.String())
	assert.Equal(t, "invalid-0", market.OrderState(0).String())
	assert.Equal(t, "insufficient-funds", market.ReasonInsufficientFunds.String())
	assert.Equal(t, "reason-12345", market.CloseReason(12345).String())
	assert.True(t, market.CloseReason(12345).Provider())
	assert.False(t, market.ReasonInsufficientFunds.Provider())
	assert.True(t, market.BidWithdrawn.Terminal())
	assert.False(t, market.BidWon.Terminal())
}

func TestAllReadsAListToItsEnd(t *testing.T) {
	pages := map[string][]int{"": {1, 2}, "a": nil, "b": {3}}
	next := map[string]string{"": "a", "a": "b", "b": ""}
	list := func(p market.Page) ([]int, string, error) { return pages[p.Token], next[p.Token], nil }
	var got []int
	for v, err := range market.All(list) {
		require.NoError(t, err)
		got = append(got, v)
	}
	assert.Equal(t, []int{1, 2, 3}, got)
	for v, err := range market.All(list) {
		require.NoError(t, err)
		assert.Equal(t, 1, v)
		break
	}
	for _, err := range market.All(func(market.Page) ([]int, string, error) { return nil, "", market.ErrUnavailable }) {
		assert.ErrorIs(t, err, market.ErrUnavailable)
	}
}
