package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/moorage-dev/moorage/examples/internal/stack"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/provider/gateway/client"
)

func (p *program) restartCommand() *cobra.Command {
	return &cobra.Command{
		Use: "restart DSEQ SERVICE", Short: "Replace the replicas of a service by new ones", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withService(cmd.Context(), args[0], args[1], func(ctx context.Context, gw *client.Client, id market.LeaseID, service string) error {
				if err := gw.Restart(ctx, id, service); err != nil {
					return err
				}
				return p.print(map[string]any{"dseq": id.DSeq, "service": service},
					fmt.Sprintf("%s\trestarts: see \"tenant status %d\"", service, id.DSeq))
			})
		},
	}
}

func (p *program) migrateHostnamesCommand() *cobra.Command {
	return &cobra.Command{
		Use: "migrate-hostnames DSEQ HOSTNAME...", Short: "Move host names to a deployment from another of the tenant's", Args: cobra.MinimumNArgs(2),
		Long: `A host name leads to one deployment at a time: the one that asked for it first. A
second deployment whose document asks for it too runs without it, until the name
is moved to it with this command or the first one is closed. Both must be at the
same provider.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withLeases(cmd.Context(), args[0], func(ctx context.Context, b *stack.Buyer, leases []market.LeaseID) error {
				all, err := migrateHostnames(ctx, b, leases, args[1:])
				if err != nil {
					return err
				}
				rows := []string{"HOSTNAME\tMOVED\tFROM\tREASON"}
				failed := 0
				for _, m := range all {
					from := ""
					if m.From != nil {
						from = fmt.Sprint(m.From.DSeq)
					}
					if m.Rule != "" {
						failed++
					}
					rows = append(rows, fmt.Sprintf("%s\t%t\t%s\t%s", m.Hostname, m.Moved, from, m.Detail))
				}
				if err := p.print(all, rows...); err != nil {
					return err
				}
				if failed > 0 {
					return fmt.Errorf("%d of %d host names were not moved", failed, len(all))
				}
				return nil
			})
		},
	}
}

// migrateHostnames asks each lease of a deployment for the names, until one of
// them takes it.
func migrateHostnames(ctx context.Context, b *stack.Buyer, leases []market.LeaseID, names []string) ([]api.HostnameMoved, error) {
	out := make([]api.HostnameMoved, len(names))
	for i, id := range leases {
		gw, err := b.Gateway(ctx, id)
		if err != nil {
			return nil, err
		}
		results, err := gw.MigrateHostnames(ctx, id, names)
		if err != nil {
			return nil, err
		}
		for j, r := range results {
			if i == 0 || out[j].Rule != "" {
				out[j] = r
			}
		}
	}
	return out, nil
}

func (p *program) eventsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "events DSEQ", Short: "Follow what happens to a deployment at its providers, until Ctrl-C", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withLeases(cmd.Context(), args[0], func(ctx context.Context, b *stack.Buyer, leases []market.LeaseID) error {
				g, ctx := errgroup.WithContext(ctx)
				var printing sync.Mutex
				for _, id := range leases {
					g.Go(func() error { return p.follow(ctx, b, id, &printing) })
				}
				return g.Wait()
			})
		},
	}
}

// leaseEvent is an event with its lease.
type leaseEvent struct {
	Lease market.LeaseID `json:"lease"`
	api.Event
}

// follow prints the events of a lease until it ends, or the context.
func (p *program) follow(ctx context.Context, b *stack.Buyer, id market.LeaseID, printing *sync.Mutex) error {
	gw, err := b.Gateway(ctx, id)
	if err != nil {
		return err
	}
	for e, err := range gw.Events(ctx, id) {
		if ctx.Err() != nil {
			return nil // Ctrl-C ends following
		}
		if err != nil {
			return err
		}
		printing.Lock()
		err = p.event(leaseEvent{id, e})
		printing.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *program) event(e leaseEvent) error {
	if p.json {
		return json.NewEncoder(p.stdout).Encode(e)
	}
	_, err := fmt.Fprintf(p.stdout, "%s  %d/%d/%d  %-18s %-12s %-12s %s\n", e.Time.Local().Format(time.TimeOnly),
		e.Lease.DSeq, e.Lease.GSeq, e.Lease.OSeq, e.Kind, e.Service, e.State, e.Message)
	return err
}
