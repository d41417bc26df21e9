package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/moorage-dev/moorage/examples/internal/stack"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/tenant"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/provider/gateway/client"
)

func (p *program) listCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the tenant's deployments", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.with(cmd.Context(), func(ctx context.Context, s *session) error {
				f := market.DeploymentFilter{Owner: s.market.Address(), State: market.DeploymentActive}
				if all {
					f.State = 0
				}
				list, err := collect(func(page market.Page) ([]market.Deployment, string, error) { return s.market.Deployments(ctx, f, page) })
				if err != nil {
					return err
				}
				rows := []string{"DSEQ\tSTATE\tCREATED AT\tMANIFEST"}
				for _, d := range list {
					rows = append(rows, fmt.Sprintf("%d\t%s\t#%d\t%s…", d.ID.DSeq, d.State, d.CreatedAt, d.Hash.String()[:12]))
				}
				return p.print(documents(list), rows...)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "closed ones too")
	return cmd
}

// collect reads a list to its end.
func collect[T any](list func(market.Page) ([]T, string, error)) ([]T, error) {
	out := []T{}
	for item, err := range market.All(list) {
		if err != nil {
			return nil, err
		}
		out = append(out, item)
	}
	return out, nil
}

func (p *program) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status DSEQ", Aliases: []string{"lease-status"}, Short: "Ask the providers how a deployment does", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withLeases(cmd.Context(), args[0], func(ctx context.Context, b *stack.Buyer, leases []market.LeaseID) error {
				var all []api.LeaseStatus
				var rows []string
				for _, id := range leases {
					gw, err := b.Gateway(ctx, id)
					if err != nil {
						return err
					}
					status, err := gw.LeaseStatus(ctx, id)
					if err != nil {
						return err
					}
					all = append(all, status)
					rows = append(rows, leaseRows(status)...)
				}
				return p.print(all, rows...)
			})
		},
	}
}

// withReader runs f with the tenant, or as the holder of the token in the
// environment.
func (p *program) withReader(ctx context.Context, f func(context.Context, *stack.Buyer) error) error {
	if token := heldToken(); token != "" {
		return p.withToken(ctx, token, f)
	}
	return p.withBuyer(ctx, stack.BuyerConfig{}, f)
}

// withLeases runs f with the active leases of a deployment.
func (p *program) withLeases(ctx context.Context, dseq string, f func(context.Context, *stack.Buyer, []market.LeaseID) error) error {
	return p.withReader(ctx, func(ctx context.Context, b *stack.Buyer) error {
		id, err := deployment(b.Owner, dseq)
		if err != nil {
			return err
		}
		leases, err := b.Leases(ctx, id)
		if errors.Is(err, market.ErrNotFound) {
			return fmt.Errorf("%w: %w", errNoLease, err)
		}
		if err != nil {
			return err
		}
		return f(ctx, b, leases)
	})
}

// withService runs f with the gateway of the lease that has the service; "" is
// the first service of the first lease.
func (p *program) withService(ctx context.Context, dseq, service string, f func(context.Context, *client.Client, market.LeaseID, string) error) error {
	return p.withLeases(ctx, dseq, func(ctx context.Context, b *stack.Buyer, leases []market.LeaseID) error {
		var names []string
		for _, id := range leases {
			gw, err := b.Gateway(ctx, id)
			if err != nil {
				return err
			}
			status, err := gw.LeaseStatus(ctx, id)
			if err != nil {
				return err
			}
			for _, s := range status.Services {
				if service == "" || s.Name == service {
					return f(ctx, gw, id, s.Name)
				}
				names = append(names, s.Name)
			}
		}
		return fmt.Errorf("no service %q in deployment %s: there are %s", service, dseq, strings.Join(names, ", "))
	})
}

func (p *program) balanceCommand() *cobra.Command {
	return &cobra.Command{
		Use: "balance [DSEQ]", Short: "Show the account's money, or a deployment's escrow and how long it lasts", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return p.escrow(cmd.Context(), args[0])
			}
			return p.with(cmd.Context(), func(ctx context.Context, s *session) error {
				coins, err := s.market.Balances(ctx, s.market.Address())
				if err != nil {
					return err
				}
				rows := []string{"account\t" + string(s.market.Address())}
				for _, c := range coins {
					rows = append(rows, c.Denom+"\t"+c.Amount.String())
				}
				return p.print(map[string]any{"address": s.market.Address(), "coins": coins}, rows...)
			})
		},
	}
}

func (p *program) escrow(ctx context.Context, dseq string) error {
	return p.withBuyer(ctx, stack.BuyerConfig{}, func(ctx context.Context, b *stack.Buyer) error {
		id, err := deployment(b.Market.Address(), dseq)
		if err != nil {
			return err
		}
		balance, err := b.Balance(ctx, id)
		if err != nil {
			return err
		}
		rows := []string{
			"state\t" + balance.State.String(),
			"in escrow, last settled\t" + coinsText(balance.Funds),
			"paid so far\t" + coinsText(balance.Spent),
		}
		if balance.BlocksLeft >= 0 {
			rows = append(rows, "price\t"+balance.PerBlock.String(), "lasts\t"+lastsText(balance))
		}
		return p.print(balanceDocument{balance, balance.State.String()}, rows...)
	})
}

// lastsText says how long the money lasts.
func lastsText(b tenant.Balance) string {
	text := fmt.Sprintf("%d blocks more", b.BlocksLeft)
	const day = 24 * time.Hour
	switch {
	case b.TimeLeft <= 0:
		return text
	case b.TimeLeft >= 2*day:
		return fmt.Sprintf("%s, about %d days", text, b.TimeLeft/day)
	case b.TimeLeft >= 2*time.Hour:
		return fmt.Sprintf("%s, about %d hours", text, b.TimeLeft/time.Hour)
	}
	return fmt.Sprintf("%s, about %s", text, b.TimeLeft.Round(time.Second))
}

func (p *program) providersCommand() *cobra.Command {
	var wide bool
	cmd := &cobra.Command{
		Use: "providers", Short: "List the providers of the market", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.with(cmd.Context(), func(ctx context.Context, s *session) error {
				list, err := collect(func(page market.Page) ([]market.Provider, string, error) { return s.market.Providers(ctx, page) })
				if err != nil {
					return err
				}
				rows := []string{"PROVIDER\tGATEWAY\tATTRIBUTES"}
				for _, pr := range list {
					facts := factsText(pr.Attributes)
					if wide {
						facts = allFactsText(pr.Attributes)
					}
					rows = append(rows, fmt.Sprintf("%s\t%s\t%s", pr.Owner, pr.HostURI, facts))
				}
				return p.print(list, rows...)
			})
		},
	}
	cmd.Flags().BoolVar(&wide, "wide", false, "capabilities too: storage classes, GPUs")
	return cmd
}

func (p *program) bidsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "bids DSEQ", Short: "List the bids on a deployment", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.with(cmd.Context(), func(ctx context.Context, s *session) error {
				id, err := deployment(s.market.Address(), args[0])
				if err != nil {
					return err
				}
				list, err := collect(func(page market.Page) ([]market.Bid, string, error) {
					return s.market.Bids(ctx, market.BidFilter{Owner: id.Owner, DSeq: id.DSeq}, page)
				})
				if err != nil {
					return err
				}
				rows := []string{"ORDER\tPROVIDER\tPRICE\tSTATE"}
				for _, b := range list {
					rows = append(rows, fmt.Sprintf("%d/%d/%d\t%s\t%s\t%s", b.ID.DSeq, b.ID.GSeq, b.ID.OSeq, b.ID.Provider, b.Price, b.State))
				}
				return p.print(bidDocuments(list), rows...)
			})
		},
	}
}

// screened is one provider's answer to a screening.
type screened struct {
	Provider market.Address `json:"provider"`
	Offers   []api.Offer    `json:"offers,omitempty"`
	Error    string         `json:"error,omitempty"`
}

func (p *program) screenCommand() *cobra.Command {
	var o terms
	cmd := &cobra.Command{
		Use: "screen FILE", Short: "Ask every provider what it would bid on a document, before ordering", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			plan, err := p.plan(args[0], "")
			if err != nil {
				return err
			}
			if err := o.apply(&plan); err != nil {
				return err
			}
			return p.withBuyer(cmd.Context(), stack.BuyerConfig{}, func(ctx context.Context, b *stack.Buyer) error {
				list, err := collect(func(page market.Page) ([]market.Provider, string, error) { return b.Market.Providers(ctx, page) })
				if err != nil {
					return err
				}
				var all []screened
				rows := []string{"PROVIDER\tGROUP\tPRICE OR REASON"}
				for _, pr := range list {
					one := screen(ctx, b, pr, plan.Groups)
					all = append(all, one)
					rows = append(rows, one.rows()...)
				}
				return p.print(all, rows...)
			})
		},
	}
	o.flags(cmd)
	return cmd
}

func screen(ctx context.Context, b *stack.Buyer, pr market.Provider, groups []market.GroupSpec) screened {
	out := screened{Provider: pr.Owner}
	gw, err := b.Dial(pr)
	if err == nil {
		out.Offers, err = gw.Screen(ctx, groups)
	}
	if err != nil {
		out.Error = err.Error()
	}
	return out
}

func (s screened) rows() []string {
	if s.Error != "" {
		return []string{fmt.Sprintf("%s\t\t%s", s.Provider, s.Error)}
	}
	var rows []string
	for _, o := range s.Offers {
		answer := ""
		if o.Bid {
			answer = o.Price.String()
		}
		for _, r := range o.Reasons {
			answer += r.Detail + " (" + r.Rule + ") "
		}
		rows = append(rows, fmt.Sprintf("%s\t%s\t%s", s.Provider, o.Group, answer))
	}
	return rows
}
