package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/tenant"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// terms are the flags of an order that SDL has no words for.
type terms struct {
	scale                                []string
	allowProviders, excludeProviders     []string
	allowDataCenters, excludeDataCenters []string
	notice                               int64
}

func (o *terms) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&o.scale, "scale", nil, "bounds within which a service may be scaled later, as web=1..5; may be repeated")
	f.StringSliceVar(&o.allowProviders, "allow-provider", nil, "take bids of these providers only")
	f.StringSliceVar(&o.excludeProviders, "exclude-provider", nil, "take no bids of these providers")
	f.StringSliceVar(&o.allowDataCenters, "allow-data-center", nil, "take bids from these data centres only")
	f.StringSliceVar(&o.excludeDataCenters, "exclude-data-center", nil, "take no bids from these data centres")
	f.Int64Var(&o.notice, "notice", 0, "blocks of notice before a provider may take its capacity back")
}

// apply writes the terms into the groups of a plan.
func (o terms) apply(p *tenant.Plan) error {
	for i := range p.Groups {
		g := &p.Groups[i]
		g.Requirements.Providers = market.Selection[market.Address]{Allowed: addresses(o.allowProviders), Excluded: addresses(o.excludeProviders)}
		g.Requirements.DataCenters = market.Selection[string]{Allowed: o.allowDataCenters, Excluded: o.excludeDataCenters}
		g.ReclaimBlocks = o.notice
	}
	for _, text := range o.scale {
		if err := bound(p, text); err != nil {
			return err
		}
	}
	return nil
}

func addresses(texts []string) []market.Address {
	var out []market.Address
	for _, t := range texts {
		out = append(out, market.Address(t))
	}
	return out
}

// bound sets the bounds of one service from a text like web=1..5, in every group
// that has the service.
func bound(p *tenant.Plan, text string) error {
	service, span, _ := strings.Cut(text, "=")
	low, high, ok := strings.Cut(span, "..")
	least, err1 := strconv.ParseUint(low, 10, 32)
	most, err2 := strconv.ParseUint(high, 10, 32)
	if !ok || err1 != nil || err2 != nil || least == 0 || least > most {
		return fmt.Errorf("--scale %q: want SERVICE=LEAST..MOST, as web=1..5", text)
	}
	found := false
	for i, g := range p.Manifest {
		unit, ok := unitOf(g, service)
		if !ok {
			continue
		}
		found = true
		units := p.Groups[i].Units
		j := slices.IndexFunc(units, func(u market.ResourceUnit) bool { return u.Resources.ID == unit })
		if j < 0 {
			return fmt.Errorf("--scale %q: the order has no unit %d", text, unit)
		}
		units[j].MinCount, units[j].MaxCount = uint32(least), uint32(most)
	}
	if !found {
		return fmt.Errorf("--scale %q: the document has no service %q", text, service)
	}
	return nil
}

// unitOf finds the unit of the order that a service is.
func unitOf(g manifest.Group, service string) (uint32, bool) {
	for _, s := range g.Services {
		if s.Name == service {
			return s.Resources.ID, true
		}
	}
	return 0, false
}
