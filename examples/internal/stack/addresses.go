package stack

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/iplease/layer2"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider"
)

// IPFlags are the flags about leased addresses. Without pools none are leased.
type IPFlags struct {
	Pools     []string
	Interface string
	ParkPrice string
	Egress    bool
}

// Register adds the flags.
func (f *IPFlags) Register(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.Pools, "ip-pool", nil, `addresses to lease, as NAME=RANGE[,RANGE...][;KEY=VALUE...], for example
"public=203.0.113.16/28,2001:db8::/64;class=premium"; once for each pool`)
	flags.StringVar(&f.Interface, "ip-interface", "", "interface on whose segment leased addresses are announced; empty keeps them on this host")
	flags.StringVar(&f.ParkPrice, "ip-park-price", "30", "what parking an address costs per block, in each denomination; 0 parks none")
	flags.BoolVar(&f.Egress, "ip-egress", true, "connections of a workload leave from its leased address")
}

// IPConfig says which addresses a [Seller] leases.
type IPConfig struct {
	Pools      []iplease.Pool
	Interface  string
	ParkPrices []market.Price
	Egress     bool
}

// ipv6 reports whether a pool has IPv6 addresses: the containers that they lead to
// then need some of their own.
func (c IPConfig) ipv6() bool {
	return slices.ContainsFunc(c.Pools, func(p iplease.Pool) bool {
		return slices.ContainsFunc(p.Ranges, func(r iplease.Range) bool { return r.First.Is6() })
	})
}

// Parse reads the flags.
func (f IPFlags) Parse(denoms []string) (IPConfig, error) {
	out := IPConfig{Interface: f.Interface, Egress: f.Egress}
	for _, text := range f.Pools {
		p, err := parsePool(text)
		if err != nil {
			return out, err
		}
		out.Pools = append(out.Pools, p)
	}
	price, err := market.ParseDecimal(f.ParkPrice)
	if err != nil {
		return out, fmt.Errorf("--ip-park-price: %w", err)
	}
	for _, d := range denoms {
		if !price.IsZero() {
			out.ParkPrices = append(out.ParkPrices, market.Price{Denom: d, AmountPerBlock: price})
		}
	}
	return out, nil
}

// parsePool reads a pool as a flag gives it.
func parsePool(text string) (iplease.Pool, error) {
	spec, attributes, _ := strings.Cut(text, ";")
	name, ranges, ok := strings.Cut(spec, "=")
	if !ok || name == "" || ranges == "" {
		return iplease.Pool{}, fmt.Errorf("pool %q: want NAME=RANGE[,RANGE...][;KEY=VALUE...]", text)
	}
	p := iplease.Pool{Name: name}
	for one := range strings.SplitSeq(ranges, ",") {
		r, err := iplease.ParseRange(one)
		if err != nil {
			return p, fmt.Errorf("pool %q: %w", name, err)
		}
		p.Ranges = append(p.Ranges, r)
	}
	if attributes == "" {
		return p, nil
	}
	var err error
	p.Attributes, err = ParseAttributes(strings.Split(attributes, ";"))
	return p, err
}

// openAddresses opens an announcer on this host; nil without pools.
func openAddresses(cfg IPConfig, home, node string, log *slog.Logger) (*layer2.Announcer, *provider.Addresses, error) {
	if len(cfg.Pools) == 0 {
		return nil, nil, nil
	}
	sum := sha256.Sum256([]byte(home)) // programs with different homes share a host
	a, err := layer2.New(layer2.Config{
		Node: node, Interface: cfg.Interface, StateDir: filepath.Join(home, "addresses"),
		Instance: hex.EncodeToString(sum[:])[:8], Logger: log.With("part", "addresses"),
	})
	if err != nil {
		return nil, nil, fmt.Errorf("leased addresses: %w", err)
	}
	return a, &provider.Addresses{Pools: cfg.Pools, Announcer: a, ParkPrices: cfg.ParkPrices, Egress: cfg.Egress}, nil
}
