package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/moorage-dev/moorage/examples/internal/console"
	"github.com/moorage-dev/moorage/examples/internal/stack"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/tenant"
)

// The steps of deploy, each alone.

func (p *program) createCommand() *cobra.Command {
	var deposit string
	var dseq uint64
	var o terms
	cmd := &cobra.Command{
		Use: "create FILE", Short: "Put an order on the chain and return at once", Args: cobra.ExactArgs(1),
		Long: `Create is the first step of deploy. Go on with "tenant bids", "tenant lease" and
"tenant send-manifest".`,
		RunE: func(cmd *cobra.Command, args []string) error {
			plan, err := p.plan(args[0], deposit)
			if err != nil {
				return err
			}
			if err := o.apply(&plan); err != nil {
				return err
			}
			plan.DSeq = dseq
			return p.withBuyer(cmd.Context(), stack.BuyerConfig{}, func(ctx context.Context, b *stack.Buyer) error {
				id, orders, err := b.Create(ctx, plan)
				if err != nil {
					return err
				}
				return p.print(map[string]any{"dseq": id.DSeq, "orders": orderDocuments(orders)},
					fmt.Sprintf("deployment\t%d\t%d order(s) open", id.DSeq, len(orders)))
			})
		},
	}
	cmd.Flags().StringVar(&deposit, "deposit", "", "what to put into escrow, as 5000000uact; empty is the least the market takes")
	cmd.Flags().Uint64Var(&dseq, "dseq", 0, "number of the deployment; 0 chooses one")
	o.flags(cmd)
	return cmd
}

func (p *program) leaseCommand() *cobra.Command {
	var c choice
	cmd := &cobra.Command{
		Use: "lease DSEQ", Short: "Take a bid on each open order of a deployment", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withChoice(cmd.Context(), c, stack.BuyerConfig{}, func(ctx context.Context, b *stack.Buyer) error {
				orders, err := openOrders(ctx, b, args[0])
				if err != nil {
					return err
				}
				bids, err := b.AwaitBids(ctx, orders)
				if err != nil {
					return err
				}
				leases, err := b.Accept(ctx, bids)
				if err != nil {
					return err
				}
				rows := []string{"LEASE\tPROVIDER\tPRICE"}
				for i, id := range leases {
					rows = append(rows, fmt.Sprintf("%d/%d/%d\t%s\t%s", id.DSeq, id.GSeq, id.OSeq, id.Provider, bids[i].Price))
				}
				return p.print(leases, rows...)
			})
		},
	}
	c.flags(cmd)
	return cmd
}

// openOrders returns the orders of a deployment that wait for a lease.
func openOrders(ctx context.Context, b *stack.Buyer, dseq string) ([]market.Order, error) {
	id, err := deployment(b.Market.Address(), dseq)
	if err != nil {
		return nil, err
	}
	orders, err := collect(func(page market.Page) ([]market.Order, string, error) {
		return b.Market.Orders(ctx, market.OrderFilter{Owner: id.Owner, DSeq: id.DSeq, State: market.OrderOpen}, page)
	})
	if err == nil && len(orders) == 0 {
		err = fmt.Errorf("deployment %s has no open order", dseq)
	}
	return orders, err
}

func (p *program) sendManifestCommand() *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use: "send-manifest DSEQ FILE", Short: "Send the manifest to the providers of a deployment's leases", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			plan, err := p.plan(args[1], "")
			if err != nil {
				return err
			}
			con := console.New(p.stderr)
			cfg := stack.BuyerConfig{Progress: func(s tenant.Step) { show(con, s) }}
			return p.withBuyer(cmd.Context(), cfg, func(ctx context.Context, b *stack.Buyer) error {
				id, err := deployment(b.Market.Address(), args[0])
				if err != nil {
					return err
				}
				leases, err := b.Leases(ctx, id)
				if err != nil {
					return err
				}
				if err := b.SendManifest(ctx, leases, plan.Manifest); err != nil {
					return err
				}
				if !wait {
					return p.print(map[string]any{"dseq": id.DSeq, "hash": plan.Hash, "leases": leases},
						fmt.Sprintf("deployment %d\tmanifest accepted", id.DSeq))
				}
				status, err := b.AwaitReady(ctx, leases, plan.Hash)
				if err != nil {
					return err
				}
				return p.running(tenant.Running{Deployment: id, Leases: leases, Status: status})
			})
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until everything runs")
	return cmd
}
