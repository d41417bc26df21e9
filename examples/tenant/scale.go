package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/moorage-dev/moorage/examples/internal/stack"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

func (p *program) scaleCommand() *cobra.Command {
	var maxPrice string
	cmd := &cobra.Command{
		Use: "scale DSEQ SERVICE=COUNT...", Short: "Change how many replicas run, within the bounds that were ordered", Args: cobra.MinimumNArgs(2),
		Long: `Scale asks the provider for other numbers of replicas. It confirms when it has the
room; the price changes in the same block, per replica as it was bid. The bounds
are ordered with "tenant deploy --scale SERVICE=LEAST..MOST".`,
		RunE: func(cmd *cobra.Command, args []string) error {
			most, err := parsePrice(maxPrice)
			if err != nil {
				return err
			}
			wanted, err := parseCounts(args[1:])
			if err != nil {
				return err
			}
			return p.withLeases(cmd.Context(), args[0], func(ctx context.Context, b *stack.Buyer, leases []market.LeaseID) error {
				return p.scale(ctx, b, leases, wanted, most)
			})
		},
	}
	cmd.Flags().StringVar(&maxPrice, "max-price", "", "the most the lease may cost per block afterwards, as 12.5uact")
	return cmd
}

// scale asks for the counts of each lease that has one of the services.
func (p *program) scale(ctx context.Context, b *stack.Buyer, leases []market.LeaseID, wanted map[string]uint32, most market.Price) error {
	var all []market.Lease
	rows := []string{"LEASE\tREPLICAS\tPRICE"}
	for _, id := range leases {
		counts, err := unitCounts(ctx, b, id, wanted)
		if err != nil {
			return err
		}
		if len(counts) == 0 {
			continue
		}
		lease, err := b.Scale(ctx, market.ScaleLease{ID: id, Counts: counts, MaxPrice: most})
		if err != nil {
			return err
		}
		all = append(all, lease)
		rows = append(rows, fmt.Sprintf("%d/%d/%d\t%s\t%s", id.DSeq, id.GSeq, id.OSeq, countsText(wanted), lease.Price))
	}
	if len(all) == 0 {
		return fmt.Errorf("no lease of the deployment has a service %s", countsText(wanted))
	}
	return p.print(all, rows...)
}

func countsText(wanted map[string]uint32) string {
	var parts []string
	for name, n := range wanted {
		parts = append(parts, fmt.Sprintf("%s=%d", name, n))
	}
	return strings.Join(parts, " ")
}

// unitCounts turns counts of services into counts of the order's units, with the
// manifest that the provider has.
func unitCounts(ctx context.Context, b *stack.Buyer, id market.LeaseID, wanted map[string]uint32) ([]market.UnitCount, error) {
	gw, err := b.Gateway(ctx, id)
	if err != nil {
		return nil, err
	}
	m, err := gw.Manifest(ctx, id.DeploymentID)
	if err != nil {
		return nil, err
	}
	if int(id.GSeq) > len(m) {
		return nil, fmt.Errorf("the manifest has no group %d", id.GSeq)
	}
	return countsOf(m[id.GSeq-1], wanted), nil
}

func countsOf(g manifest.Group, wanted map[string]uint32) []market.UnitCount {
	var out []market.UnitCount
	for _, s := range g.Services {
		if n, ok := wanted[s.Name]; ok {
			out = append(out, market.UnitCount{Unit: s.Resources.ID, Count: n})
		}
	}
	return out
}

func parseCounts(args []string) (map[string]uint32, error) {
	out := map[string]uint32{}
	for _, text := range args {
		name, count, ok := strings.Cut(text, "=")
		n, err := strconv.ParseUint(count, 10, 32)
		if !ok || name == "" || err != nil || n == 0 {
			return nil, fmt.Errorf("%q: want SERVICE=COUNT, as web=3", text)
		}
		out[name] = uint32(n)
	}
	return out, nil
}

// parsePrice reads a price as 12.5uact; "" is none.
func parsePrice(text string) (market.Price, error) {
	if text == "" {
		return market.Price{}, nil
	}
	i := strings.IndexFunc(text, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if i <= 0 {
		return market.Price{}, fmt.Errorf("price %q: want an amount and a denomination, as 12.5uact", text)
	}
	amount, err := market.ParseDecimal(text[:i])
	if err != nil {
		return market.Price{}, fmt.Errorf("price %q: %w", text, err)
	}
	p := market.Price{Denom: text[i:], AmountPerBlock: amount}
	return p, market.ValidateDenom(p.Denom)
}
