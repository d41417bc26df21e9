package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/moorage-dev/moorage/examples/internal/console"
	"github.com/moorage-dev/moorage/examples/internal/stack"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/tenant"
	"github.com/moorage-dev/moorage/provider/gateway/api"
)

// deployOptions are the flags of deploy.
type deployOptions struct {
	choice
	terms
	deposit      string
	dseq         uint64
	readyTimeout time.Duration
}

func (p *program) deployCommand() *cobra.Command {
	var o deployOptions
	cmd := &cobra.Command{
		Use: "deploy FILE", Short: "Bring an SDL document from a file to running containers", Args: cobra.ExactArgs(1),
		Long: `Deploy creates the deployment, waits for bids, takes the cheapest (or that of
--provider, or the one you choose with --ask), sends the manifest and waits until everything runs. If a step
fails the deployment is closed again and the deposit comes back.`,
		RunE: func(cmd *cobra.Command, args []string) error { return p.deploy(cmd.Context(), args[0], o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.deposit, "deposit", "", "what to put into escrow, as 5000000uact; empty is the least the market takes")
	f.Uint64Var(&o.dseq, "dseq", 0, "number of the deployment; 0 chooses one")
	o.choice.flags(cmd)
	o.terms.flags(cmd)
	f.DurationVar(&o.readyTimeout, "ready-timeout", tenant.DefaultReadyTimeout, "how long the containers may take to run")
	return cmd
}

func (p *program) deploy(ctx context.Context, file string, o deployOptions) error {
	plan, err := p.plan(file, o.deposit)
	if err != nil {
		return err
	}
	if err := o.apply(&plan); err != nil {
		return err
	}
	plan.DSeq = o.dseq
	con := console.New(p.stderr)
	cfg := stack.BuyerConfig{
		ReadyTimeout: o.readyTimeout, Progress: func(s tenant.Step) { show(con, s) },
	}
	return p.withChoice(ctx, o.choice, cfg, func(ctx context.Context, b *stack.Buyer) error {
		r, err := b.Deploy(ctx, plan)
		if err != nil {
			return err
		}
		return p.running(r)
	})
}

// plan compiles a file and prints its warnings.
func (p *program) plan(file, deposit string) (tenant.Plan, error) {
	src, err := stack.ReadFile(file)
	if err != nil {
		return tenant.Plan{}, err
	}
	plan, warnings, err := stack.CompilePlan(file, src)
	if err != nil {
		return plan, err
	}
	for _, w := range warnings {
		fmt.Fprintln(p.stderr, w)
	}
	if deposit != "" {
		plan.Deposit, err = market.ParseCoin(deposit)
	}
	return plan, err
}

// show prints a step of a deployment.
func show(con *console.Console, s tenant.Step) {
	if s.Height > 0 {
		con.SetHeight(s.Height)
	}
	switch s.Kind {
	case tenant.StepCreated:
		con.Step("order", "deployment %d is on the chain, %d order(s) open", s.Deployment.DSeq, len(s.Orders))
	case tenant.StepBids: // the table of bids is shown when one is chosen
	case tenant.StepLeased:
		for _, b := range s.Bids {
			con.Step("lease", "%d/%d/%d with %s at %s", b.ID.DSeq, b.ID.GSeq, b.ID.OSeq, b.ID.Provider, b.Price)
		}
	case tenant.StepManifest:
		con.Step("manifest", "accepted by %s", s.Leases[0].Provider)
	case tenant.StepStatus:
		for _, svc := range s.Status.Services {
			if svc.Reason != "" {
				con.Info("container", "%s is %s: %s", svc.Name, svc.State, svc.Reason)
			}
		}
	case tenant.StepReady:
		con.Step("container", "everything runs")
	case tenant.StepClosed:
		con.Step("close", "deployment %d is closed", s.Deployment.DSeq)
	}
}

// deployed is what deploy and update print.
type deployed struct {
	DSeq   uint64            `json:"dseq"`
	Leases []api.LeaseStatus `json:"leases"`
}

func (p *program) running(r tenant.Running) error {
	rows := []string{fmt.Sprintf("deployment\t%d", r.Deployment.DSeq)}
	for _, l := range r.Status {
		rows = append(rows, leaseRows(l)...)
	}
	return p.print(deployed{r.Deployment.DSeq, r.Status}, rows...)
}

// leaseRows is a lease's status as a table.
func leaseRows(l api.LeaseStatus) []string {
	rows := []string{fmt.Sprintf("lease %d/%d/%d\t%s\trevision %d\t%s", l.Lease.DSeq, l.Lease.GSeq, l.Lease.OSeq, l.Phase, l.Revision, l.Reason)}
	for _, s := range l.Services {
		rows = append(rows, fmt.Sprintf("  %s\t%s\t%d of %d ready\t%s", s.Name, s.State, s.Ready, s.Wanted, s.Reason))
		for _, h := range s.Hostnames {
			rows = append(rows, fmt.Sprintf("\t%s\t%s\t%s", h.Hostname, h.State, h.Reason))
		}
		for _, uri := range s.URIs {
			rows = append(rows, "\t"+uri)
		}
		for _, f := range s.Ports {
			rows = append(rows, fmt.Sprintf("\t%s:%d → %d/%s", f.Host, f.ExternalPort, f.Port, strings.ToLower(f.Proto)))
		}
	}
	return append(rows, ipRows(l)...)
}

func (p *program) updateCommand() *cobra.Command {
	return &cobra.Command{
		Use: "update DSEQ FILE", Short: "Replace what a deployment runs by a new version of its document", Args: cobra.ExactArgs(2),
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
				r, err := b.Update(ctx, id, plan)
				if err != nil {
					return err
				}
				return p.running(r)
			})
		},
	}
}

func (p *program) closeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "close DSEQ", Short: "End a deployment; what is left of the deposit comes back", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.with(cmd.Context(), func(ctx context.Context, s *session) error {
				id, err := deployment(s.market.Address(), args[0])
				if err != nil {
					return err
				}
				receipt, err := s.market.Submit(ctx, market.CloseDeployment{ID: id})
				if err != nil {
					return err
				}
				account, err := s.market.Account(ctx, id)
				if err != nil {
					return err
				}
				return p.print(map[string]any{"dseq": id.DSeq, "height": receipt.Height, "paid": account.Transferred},
					fmt.Sprintf("deployment %d\tclosed at height %d\tpaid %s", id.DSeq, receipt.Height, coinsText(account.Transferred)))
			})
		},
	}
}

func (p *program) depositCommand() *cobra.Command {
	return &cobra.Command{
		Use: "deposit DSEQ COIN", Short: "Add money to a deployment's escrow, as 5000000uact", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			coin, err := market.ParseCoin(args[1])
			if err != nil {
				return err
			}
			return p.with(cmd.Context(), func(ctx context.Context, s *session) error {
				id, err := deployment(s.market.Address(), args[0])
				if err != nil {
					return err
				}
				receipt, err := s.market.Submit(ctx, market.DepositDeployment{ID: id, Depositor: s.market.Address(), Amount: coin})
				if err != nil {
					return err
				}
				return p.print(receipt, fmt.Sprintf("deposited %s\tat height %d", coin, receipt.Height))
			})
		},
	}
}

func coinsText(cs market.Coins) string {
	if len(cs) == 0 {
		return "nothing"
	}
	parts := make([]string, len(cs))
	for i, c := range cs {
		parts[i] = c.String()
	}
	return strings.Join(parts, " ")
}

var errNoLease = errors.New("the deployment has no active lease")
