package stack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/moorage-dev/moorage/cluster/kube"
	"github.com/moorage-dev/moorage/iplease"
	ipdriver "github.com/moorage-dev/moorage/iplease/driver"
	"github.com/moorage-dev/moorage/iplease/layer2"
	"github.com/moorage-dev/moorage/iplease/metallb"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider"
)

// IPFlags are the flags about leased addresses. Without pools none are leased.
type IPFlags struct {
	Pools     []string
	Interface string
	MetalLB   bool
	ParkPrice string
	Cooling   time.Duration
	Egress    bool
}

// Register adds the flags.
func (f *IPFlags) Register(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.Pools, "ip-pool", nil, `addresses to lease, as NAME=RANGE[,RANGE...][,-RANGE...][;KEY=VALUE...][;WORD...], for example
"public=203.0.113.16/28,-203.0.113.17,2001:db8::/64;class=premium": a range with "-" is never
leased; the words are avoid-edges (nor .0, .255 and the first of an IPv6 /64) and only-by-name
(for orders that name the pool); once for each pool`)
	flags.StringVar(&f.Interface, "ip-interface", "", "interface on whose segment leased addresses are announced; empty keeps them on this host")
	flags.BoolVar(&f.MetalLB, "ip-metallb", false, "with --cluster kube: lease the addresses of MetalLB's own pools; --ip-pool names some of them instead")
	flags.StringVar(&f.ParkPrice, "ip-park-price", "30", "what parking an address costs per block, in each denomination; 0 parks none")
	flags.DurationVar(&f.Cooling, "ip-cooling", iplease.DefaultCooling, "how long a released address rests before another tenant gets it")
	flags.BoolVar(&f.Egress, "ip-egress", true, "connections of a workload leave from its leased address")
}

// IPConfig says which addresses a [Seller] leases.
type IPConfig struct {
	Pools      []iplease.Pool
	Interface  string
	MetalLB    bool // lease MetalLB's own pools
	ParkPrices []market.Price
	Cooling    time.Duration
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
	out := IPConfig{Interface: f.Interface, MetalLB: f.MetalLB, Cooling: f.Cooling, Egress: f.Egress}
	if f.Cooling <= 0 {
		return out, fmt.Errorf("--ip-cooling: %s is not more than nothing", f.Cooling)
	}
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
	spec, rest, _ := strings.Cut(text, ";")
	name, ranges, ok := strings.Cut(spec, "=")
	if !ok || name == "" || ranges == "" {
		return iplease.Pool{}, fmt.Errorf("--ip-pool %q: want NAME=RANGE[,RANGE...][,-RANGE...][;KEY=VALUE...][;WORD...]", text)
	}
	p := iplease.Pool{Name: name}
	for one := range strings.SplitSeq(ranges, ",") {
		one, reserved := strings.CutPrefix(one, "-")
		r, err := iplease.ParseRange(one)
		if err != nil {
			return p, fmt.Errorf("--ip-pool %q: %w", name, err)
		}
		if reserved {
			p.Reserved = append(p.Reserved, r)
		} else {
			p.Ranges = append(p.Ranges, r)
		}
	}
	for _, r := range p.Reserved {
		if !slices.ContainsFunc(p.Ranges, func(o iplease.Range) bool { return o.Contains(r.First) || r.Contains(o.First) }) {
			return p, fmt.Errorf("--ip-pool %q: -%s is in none of the ranges", name, r)
		}
	}
	var attributes []string
	for word := range strings.SplitSeq(rest, ";") {
		switch {
		case word == "avoid-edges":
			p.AvoidEdges = true
		case word == "only-by-name":
			p.OnlyByName = true
		case strings.Contains(word, "="):
			attributes = append(attributes, word)
		case word != "":
			return p, fmt.Errorf("--ip-pool %q: %q is neither KEY=VALUE nor avoid-edges or only-by-name", name, word)
		}
	}
	var err error
	if p.Attributes, err = ParseAttributes(attributes); err != nil {
		return p, fmt.Errorf("--ip-pool %q: %w", name, err)
	}
	return p, nil
}

// announcer is an announcer with work of its own.
type announcer interface {
	ipdriver.Announcer
	Run(ctx context.Context) error
}

// openAddresses opens what announces leased addresses: MetalLB where containers
// run on Kubernetes, else this host; nil when none are leased.
func openAddresses(ctx context.Context, cfg SellerConfig, node string) (announcer, *provider.Addresses, error) {
	ips, log := cfg.IPs, cfg.Logger.With("part", "addresses")
	if len(ips.Pools) == 0 && !ips.MetalLB {
		return nil, nil, nil
	}
	leased := &provider.Addresses{
		Pools: ips.Pools, Cooling: ips.Cooling, ParkPrices: ips.ParkPrices, Egress: ips.Egress, DualFromOnePool: cfg.Kube != nil,
	}
	var a announcer
	var err error
	if cfg.Kube != nil {
		a, err = openMetalLB(ctx, *cfg.Kube, leased, log)
	} else {
		sum := sha256.Sum256([]byte(cfg.Home)) // programs with different homes share a host
		a, err = layer2.New(layer2.Config{
			Node: node, Interface: ips.Interface, StateDir: filepath.Join(cfg.Home, "addresses"),
			Instance: hex.EncodeToString(sum[:])[:8], Logger: log,
		})
	}
	if err != nil {
		return nil, nil, fmt.Errorf("leased addresses: %w", err)
	}
	leased.Announcer = a
	return a, leased, nil
}

// openMetalLB opens the announcer of a Kubernetes cluster. The pools that are named,
// else those that MetalLB has, are leased without what others have at the time.
func openMetalLB(ctx context.Context, k kube.Config, leased *provider.Addresses, log *slog.Logger) (announcer, error) {
	client, err := kubernetes.NewForConfig(k.REST)
	if err != nil {
		return nil, err
	}
	objects, err := dynamic.NewForConfig(k.REST)
	if err != nil {
		return nil, err
	}
	a, err := metallb.New(metallb.Config{Client: client, Dynamic: objects, Place: place, Instance: k.Instance, Log: log})
	if err != nil {
		return nil, err
	}
	named := leased.Pools
	leased.Refresh = func(ctx context.Context) ([]iplease.Pool, error) {
		seen, err := a.Pools(ctx)
		if err != nil {
			return nil, err
		}
		return poolsOf(named, seen), nil
	}
	if leased.Pools, err = leased.Refresh(ctx); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// poolsOf returns the pools that are named, else those that MetalLB has, without
// what Services of others have now.
func poolsOf(named []iplease.Pool, seen []ipdriver.Pool) []iplease.Pool {
	out := slices.Clone(named)
	for _, p := range seen {
		if len(named) > 0 {
			break
		}
		one := iplease.Pool{Name: p.Name}
		for _, r := range p.Ranges {
			one.Ranges = append(one.Ranges, iplease.Range(r))
		}
		out = append(out, one)
	}
	for i := range out {
		out[i].Reserved = slices.Clone(out[i].Reserved)
		for _, p := range seen {
			for _, at := range p.InUse {
				if slices.ContainsFunc(out[i].Ranges, func(r iplease.Range) bool { return r.Contains(at) }) {
					out[i].Reserved = append(out[i].Reserved, iplease.Range{First: at, Last: at})
				}
			}
		}
	}
	return out
}

// place says where the pods of a service are.
func place(lease market.LeaseID, service string) metallb.Place {
	labels := kube.Selector(lease, service)
	labels[kube.LabelManaged] = "true"
	return metallb.Place{Namespace: kube.Namespace(lease), Selector: kube.Selector(lease, service), Labels: labels}
}
