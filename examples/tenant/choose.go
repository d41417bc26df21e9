package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/moorage-dev/moorage/examples/internal/console"
	"github.com/moorage-dev/moorage/examples/internal/stack"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/tenant"
)

// choice are the flags that say which bid is taken.
type choice struct {
	provider string
	ask      bool
	timeout  time.Duration
	grace    time.Duration
}

func (c *choice) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.provider, "provider", "", "take only the bid of this provider")
	f.BoolVar(&c.ask, "ask", false, "show the bids and ask which to take; without it the cheapest is taken")
	f.DurationVar(&c.timeout, "bid-timeout", tenant.DefaultBidTimeout, "how long to wait for bids")
	f.DurationVar(&c.grace, "bid-grace", 0, "how long to wait for more bids after the first")
	cmd.MarkFlagsMutuallyExclusive("provider", "ask")
}

// withChoice runs f with a buyer who takes bids as the flags say.
func (p *program) withChoice(ctx context.Context, c choice, cfg stack.BuyerConfig, f func(context.Context, *stack.Buyer) error) error {
	return p.with(ctx, func(ctx context.Context, s *session) error {
		cfg.Market, cfg.Home = s.market, p.home
		cfg.BidTimeout, cfg.BidGrace = c.timeout, c.grace
		chooser := &chooser{choice: c, ctx: ctx, market: s.market, con: console.New(p.stderr), in: bufio.NewReader(p.stdin)}
		cfg.Choose = chooser.choose
		b, err := stack.NewBuyer(ctx, cfg)
		if err != nil {
			return err
		}
		if err := f(ctx, b); chooser.err == nil {
			return err
		}
		return chooser.err
	})
}

// chooser is the policy of the flags: it prints the bids and takes one. It lives
// as long as one command, so it may keep its context.
type chooser struct {
	choice
	ctx    context.Context //nolint:containedctx // a policy has no context of its own
	market market.Client
	con    *console.Console
	in     *bufio.Reader
	err    error
}

func (c *chooser) choose(order market.OrderID, bids []market.Bid) (market.Bid, bool) {
	c.table(order, bids)
	switch {
	case c.ask:
		return c.question(bids)
	case c.provider == "":
		return tenant.Cheapest(order, bids)
	}
	for _, b := range bids {
		if b.ID.Provider == market.Address(c.provider) {
			return b, true
		}
	}
	return market.Bid{}, false
}

// table prints the bids with what is known of the providers.
func (c *chooser) table(order market.OrderID, bids []market.Bid) {
	c.con.Title("%d bid(s) on order %d/%d/%d", len(bids), order.DSeq, order.GSeq, order.OSeq)
	rows := []string{"\tPRICE\tPROVIDER\tLEASES\tFACTS"}
	for i, b := range bids {
		facts, leases := "", ""
		if pr, err := c.market.Provider(c.ctx, b.ID.Provider); err == nil {
			facts = factsText(pr.Attributes)
		}
		f := market.LeaseFilter{Provider: b.ID.Provider, State: market.LeaseActive}
		if some, more, err := c.market.Leases(c.ctx, f, market.Page{Limit: market.DefaultPageLimit}); err == nil {
			leases = strconv.Itoa(len(some))
			if more != "" {
				leases += "+"
			}
		}
		rows = append(rows, fmt.Sprintf("%d\t%s\t%s\t%s\t%s", i+1, b.Price, b.ID.Provider, leases, facts))
	}
	c.con.Table(rows...)
}

// factsText prints what a provider says of itself, its capabilities aside.
func factsText(as market.Attributes) string {
	var facts []string
	for _, a := range as {
		if !strings.HasPrefix(a.Key, "capabilities/") {
			facts = append(facts, a.Key+"="+a.Value)
		}
	}
	return strings.Join(facts, " ")
}

// allFactsText prints everything that a provider says of itself.
func allFactsText(as market.Attributes) string {
	facts := make([]string, len(as))
	for i, a := range as {
		facts[i] = a.Key + "=" + a.Value
	}
	return strings.Join(facts, " ")
}

// question lets a person choose. An empty answer takes none.
func (c *chooser) question(bids []market.Bid) (market.Bid, bool) {
	for {
		c.con.Print("Which one, 1 to %d? (empty takes none)", len(bids))
		line, err := c.in.ReadString('\n')
		line = strings.TrimSpace(line)
		if err != nil && line == "" {
			if !errors.Is(err, io.EOF) {
				c.err = err
			}
			return market.Bid{}, false
		}
		if line == "" {
			return market.Bid{}, false
		}
		if n, err := strconv.Atoi(line); err == nil && n >= 1 && n <= len(bids) {
			return bids[n-1], true
		}
		c.con.Print("%q is none of the numbers", line)
	}
}
