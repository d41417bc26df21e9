package main

import (
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/moorage-dev/moorage/examples/internal/stack"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway/api"
)

// parking are the flags of park.
type parking struct {
	provider, denom, price, deposit string
	blocks                          int64
}

func (p *program) ipParkCommand() *cobra.Command {
	var o parking
	cmd := &cobra.Command{
		Use: "park ENDPOINT", Short: "Have an address kept when its lease closes, at a price", Args: cobra.ExactArgs(1),
		Long: `Park opens a retainer on the chain: a standing payment to the provider, with a
deposit of its own. As long as it is paid the provider keeps the address when the
lease closes, and gives it to the next deployment with the same endpoint name.
"tenant ip release" ends it; what is left of the deposit comes back.`,
		Example: "  tenant ip park web-ip --deposit 5000000uact",
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.atProvider(cmd.Context(), args[0], o.provider, func(ctx context.Context, b *stack.Buyer, pr market.Provider, held api.HeldIPs) error {
				return p.park(ctx, b, pr, held, args[0], o)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.provider, "provider", "", "the provider that has the address; empty finds it")
	f.StringVar(&o.denom, "denom", "", "denomination to pay in; empty is the first that the provider takes")
	f.StringVar(&o.price, "price", "", "price per block, as 30uact; empty is what the provider asks")
	f.StringVar(&o.deposit, "deposit", "", "what to pay from, as 5000000uact; empty is the least that the market takes")
	f.Int64Var(&o.blocks, "blocks", 0, "for how many blocks; 0 is as long as the deposit lasts")
	return cmd
}

// retainer is what to open for an address.
func (o parking) retainer(ctx context.Context, b *stack.Buyer, held api.HeldIPs, id market.RetainerID) (market.OpenRetainer, error) {
	m := market.OpenRetainer{ID: id}
	i := slices.IndexFunc(held.ParkPrices, func(p market.Price) bool { return o.denom == "" || p.Denom == o.denom })
	if i < 0 {
		return m, errors.New("the provider parks no addresses, or not in this denomination")
	}
	m.Price = held.ParkPrices[i]
	if o.price != "" {
		var err error
		if m.Price, err = parsePrice(o.price); err != nil {
			return m, err
		}
	}
	params, err := b.Market.Params(ctx)
	if err != nil {
		return m, err
	}
	m.Deposit = market.Coin{Denom: m.Price.Denom, Amount: params.MinDeposits.Of(m.Price.Denom)}
	if o.deposit != "" {
		if m.Deposit, err = market.ParseCoin(o.deposit); err != nil {
			return m, err
		}
	}
	if o.blocks > 0 {
		head, err := b.Market.Head(ctx)
		if err != nil {
			return m, err
		}
		m.ExpiresAt = head.Height + o.blocks
	}
	return m, nil
}

func (p *program) park(ctx context.Context, b *stack.Buyer, pr market.Provider, held api.HeldIPs, endpoint string, o parking) error {
	id := market.RetainerID{Owner: b.Owner, Provider: pr.Owner, Kind: api.RetainerKind, Name: endpoint}
	open, err := b.Market.Retainer(ctx, id)
	if err != nil && !errors.Is(err, market.ErrNotFound) {
		return err
	}
	if open.State != market.RetainerOpen {
		m, err := o.retainer(ctx, b, held, id)
		if err != nil {
			return err
		}
		if _, err := b.Market.Submit(ctx, m); err != nil {
			return err
		}
	}
	gw, err := b.Dial(pr)
	if err != nil {
		return err
	}
	ip, err := gw.ParkIP(ctx, endpoint)
	if err != nil {
		return err
	}
	return p.print(heldIP{pr.Owner, ip}, "ENDPOINT\tADDRESS\tSTATE\tDEPLOYMENT\tRETAINED\tPROVIDER", heldRow(pr.Owner, ip))
}
