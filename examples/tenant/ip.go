package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/moorage-dev/moorage/examples/internal/stack"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway/api"
)

func (p *program) migrateEndpointsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "migrate-endpoints DSEQ ENDPOINT...", Short: "Move leased addresses to a deployment from another of the tenant's", Args: cobra.MinimumNArgs(2),
		Long: `A leased address leads to one deployment at a time: the first that asked for its
endpoint. A second deployment with the same endpoint name at the same provider
runs without it ("tenant lease-status" says that it is withheld) until it is
moved with this command, or the first one closes. The address stays the same;
only the endpoints that are named move. Replicas of the destination must be
ready.`,
		Example: "  tenant migrate-endpoints 1234 web-ip",
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withLeases(cmd.Context(), args[0], func(ctx context.Context, b *stack.Buyer, leases []market.LeaseID) error {
				all, err := migrateEndpoints(ctx, b, leases, args[1:])
				if err != nil {
					return err
				}
				rows := []string{"ENDPOINT\tMOVED\tADDRESS\tFROM\tGAP\tREASON"}
				failed := 0
				for _, m := range all {
					from, gap := "", ""
					if m.Moved {
						from, gap = fmt.Sprint(m.From.DSeq), fmt.Sprintf("%.1f ms at most", float64(m.GapMicros)/1000)
					}
					if m.Rule != "" {
						failed++
					}
					rows = append(rows, fmt.Sprintf("%s\t%t\t%s\t%s\t%s\t%s", m.Endpoint, m.Moved, addressesText(m.Addresses), from, gap, m.Detail))
				}
				if err := p.print(all, rows...); err != nil {
					return err
				}
				if failed > 0 {
					return fmt.Errorf("%d of %d endpoints were not moved", failed, len(all))
				}
				return nil
			})
		},
	}
}

// migrateEndpoints asks each lease of a deployment for the endpoints that no
// lease before it has taken. A lease that cannot be asked keeps no other from it;
// the error is that of the last, when none could.
func migrateEndpoints(ctx context.Context, b *stack.Buyer, leases []market.LeaseID, names []string) ([]api.EndpointMoved, error) {
	out := make([]api.EndpointMoved, len(names))
	asked := false
	var fault error
	for _, id := range leases {
		for j, name := range names {
			if out[j].Endpoint != "" && out[j].Rule == "" {
				continue
			}
			result, err := migrateEndpoint(ctx, b, id, name)
			if err != nil {
				fault = err
				result = api.EndpointMoved{Endpoint: name, Rule: api.RuleEndpointUnfinished, Detail: err.Error()}
			}
			asked = asked || err == nil
			out[j] = betterResult(out[j], result)
		}
	}
	if !asked {
		return nil, fault
	}
	return out, nil
}

func migrateEndpoint(ctx context.Context, b *stack.Buyer, id market.LeaseID, name string) (api.EndpointMoved, error) {
	gw, err := b.Gateway(ctx, id)
	if err != nil {
		return api.EndpointMoved{}, err
	}
	results, err := gw.MigrateEndpoints(ctx, id, []string{name})
	if err != nil {
		return api.EndpointMoved{}, fmt.Errorf("lease %s: %w", id, err)
	}
	return results[0], nil
}

// betterResult is the one of two results for an endpoint that says more: that the
// lease has it, else a refusal by a lease that asks for it.
func betterResult(before, now api.EndpointMoved) api.EndpointMoved {
	if before.Endpoint == "" || now.Rule == "" || before.Rule == api.RuleEndpointNotAsked {
		return now
	}
	return before
}

func addressesText(as []netip.Addr) string {
	var parts []string
	for _, a := range as {
		parts = append(parts, a.String())
	}
	return strings.Join(parts, " ")
}

// ipRows tells of the leased addresses of a lease.
func ipRows(s api.LeaseStatus) []string {
	if len(s.IPs) == 0 {
		return nil
	}
	rows := []string{"", "ENDPOINT\tSTATE\tADDRESS\tPORT\tSERVICE\tPORT STATE\tNODE\tEGRESS"}
	for _, ip := range s.IPs {
		state := string(ip.State)
		if ip.Retained {
			state += ", retained"
		}
		if len(ip.Ports) == 0 {
			rows = append(rows, fmt.Sprintf("%s\t%s\t\t\t\t%s", ip.Endpoint, state, ip.Reason))
		}
		for _, port := range ip.Ports {
			rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%d/%s -> %d\t%s\t%s\t%s\t%s", ip.Endpoint, state, port.Address,
				port.ExternalPort, port.Proto, port.Port, port.Service, portText(port), port.Node, egressText(port)))
		}
	}
	return rows
}

// egressText says whether connections leave from the address, or why not.
func egressText(p api.LeasedPort) string {
	if p.Egress || p.EgressReason == "" {
		return strconv.FormatBool(p.Egress)
	}
	return "false: " + p.EgressReason
}

// portText is the state of a port, with the reason and who may reach it.
func portText(p api.LeasedPort) string {
	text := p.State
	if p.Reason != "" && !strings.HasPrefix(p.Reason, p.State) {
		text += ": " + p.Reason
	} else if p.Reason != "" {
		text = p.Reason
	}
	for i, s := range p.Sources {
		text += map[bool]string{true: ", only from ", false: " "}[i == 0] + s.String()
	}
	return text
}

func (p *program) ipCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ip", Short: "List, park and release leased addresses",
		Long: `A leased address belongs to an endpoint name at a provider. It goes back to the
provider some minutes after the lease that has it closes, unless it is parked:
then the provider keeps it, at a price per block, for a later deployment with the
same endpoint name.`,
	}
	cmd.AddCommand(p.ipListCommand(), p.ipParkCommand(), p.ipReleaseCommand(), p.ipAllowCommand())
	return cmd
}

// heldIP is an address with its provider.
type heldIP struct {
	Provider market.Address `json:"provider"`
	api.HeldIP
}

// restBlocks is for how many blocks after its lease an address may rest at a
// provider: more than are made in the longest usual time.
const restBlocks = 1000

// ipProviders are where the tenant may have addresses: with a lease that is live or
// has just ended, or a retainer, or the one that is named.
func ipProviders(ctx context.Context, b *stack.Buyer, only string) ([]market.Address, error) {
	if only != "" {
		return []market.Address{market.Address(only)}, nil
	}
	var out []market.Address
	leases, err := collect(func(page market.Page) ([]market.Lease, string, error) {
		return b.Market.Leases(ctx, market.LeaseFilter{Owner: b.Owner}, page)
	})
	if err != nil {
		return nil, err
	}
	head, err := b.Market.Head(ctx)
	if err != nil {
		return nil, err
	}
	for _, l := range leases {
		if !l.State.Terminal() || l.ClosedAt > head.Height-restBlocks {
			out = append(out, l.ID.Provider)
		}
	}
	retainers, err := collect(func(page market.Page) ([]market.Retainer, string, error) {
		return b.Market.Retainers(ctx, market.RetainerFilter{Owner: b.Owner, State: market.RetainerOpen, Kind: api.RetainerKind}, page)
	})
	if err != nil {
		return nil, err
	}
	for _, r := range retainers {
		out = append(out, r.ID.Provider)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// ips asks a provider what the tenant has there.
func ips(ctx context.Context, b *stack.Buyer, provider market.Address) (api.HeldIPs, error) {
	pr, err := b.Market.Provider(ctx, provider)
	if err != nil {
		return api.HeldIPs{}, err
	}
	gw, err := b.Dial(pr)
	if err != nil {
		return api.HeldIPs{}, err
	}
	return gw.HeldIPs(ctx)
}

func (p *program) ipListCommand() *cobra.Command {
	var provider string
	cmd := &cobra.Command{
		Use: "list", Short: "List the addresses that the tenant has, with and without leases", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withReader(cmd.Context(), func(ctx context.Context, b *stack.Buyer) error {
				providers, err := ipProviders(ctx, b, provider)
				if err != nil {
					return err
				}
				all := []heldIP{}
				rows := []string{"ENDPOINT\tADDRESS\tSTATE\tDEPLOYMENT\tRETAINED\tPROVIDER"}
				unheard := 0
				var fault error
				for _, pr := range providers {
					held, err := ips(ctx, b, pr)
					if err != nil {
						unheard, fault = unheard+1, p.unheard(pr, err)
						continue
					}
					for _, ip := range held.IPs {
						all = append(all, heldIP{pr, ip})
						rows = append(rows, heldRow(pr, ip))
					}
				}
				if unheard > 0 && unheard == len(providers) {
					return fault
				}
				return p.print(all, rows...)
			})
		},
	}
	cmd.Flags().StringVar(&provider, "provider", "", "only at this provider")
	return cmd
}

// unheard reports a provider that could not be asked.
func (p *program) unheard(provider market.Address, err error) error {
	err = fmt.Errorf("provider %s: %w", provider, err)
	fmt.Fprintln(p.stderr, err)
	return err
}

func heldRow(provider market.Address, ip api.HeldIP) string {
	holder, retained := "", ""
	if ip.Holder != nil {
		holder = fmt.Sprint(ip.Holder.DSeq)
	}
	if ip.Retained {
		retained = "yes"
		if ip.RetainedUntil > 0 {
			retained = fmt.Sprintf("until #%d", ip.RetainedUntil)
		}
	}
	return fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s", ip.Endpoint, addressesText(ip.Addresses), ip.State, holder, retained, provider)
}

// atProvider runs f with the provider at which the tenant has an endpoint.
func (p *program) atProvider(ctx context.Context, endpoint, only string, f func(context.Context, *stack.Buyer, market.Provider, api.HeldIPs) error) error {
	return p.withReader(ctx, func(ctx context.Context, b *stack.Buyer) error {
		providers, err := ipProviders(ctx, b, only)
		if err != nil {
			return err
		}
		var fault error
		for _, address := range providers {
			held, err := ips(ctx, b, address)
			if err != nil {
				fault = p.unheard(address, err)
				continue
			}
			if slices.ContainsFunc(held.IPs, func(ip api.HeldIP) bool { return ip.Endpoint == endpoint }) {
				pr, err := b.Market.Provider(ctx, address)
				if err != nil {
					return err
				}
				return f(ctx, b, pr, held)
			}
		}
		if fault != nil {
			return fmt.Errorf("no provider that could be asked keeps an endpoint %q for you: %w", endpoint, fault)
		}
		return fmt.Errorf("no provider keeps an endpoint %q for you: see \"tenant ip list\"", endpoint)
	})
}

func (p *program) ipReleaseCommand() *cobra.Command {
	var provider string
	cmd := &cobra.Command{
		Use: "release ENDPOINT", Short: "End the keeping of an address", Args: cobra.ExactArgs(1),
		Long: `Release ends the retainer. A parked address goes back to the provider after its
cooling time; one that a lease has stays with it until it closes.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.atProvider(cmd.Context(), args[0], provider, func(ctx context.Context, b *stack.Buyer, pr market.Provider, _ api.HeldIPs) error {
				gw, err := b.Dial(pr)
				if err != nil {
					return err
				}
				ip, err := gw.ReleaseIP(ctx, args[0])
				if err != nil {
					return err
				}
				return p.print(heldIP{pr.Owner, ip}, "ENDPOINT\tADDRESS\tSTATE\tDEPLOYMENT\tRETAINED\tPROVIDER", heldRow(pr.Owner, ip))
			})
		},
	}
	cmd.Flags().StringVar(&provider, "provider", "", "the provider that has the address; empty finds it")
	return cmd
}

func (p *program) ipAllowCommand() *cobra.Command {
	var provider string
	cmd := &cobra.Command{
		Use: "allow ENDPOINT PORT/PROTOCOL [PREFIX...]", Short: "Say which clients may reach a port of an address", Args: cobra.MinimumNArgs(2),
		Long: `Allow limits a port to clients with addresses under the prefixes. It stays with
the endpoint when services and deployments change. Without prefixes everybody may
reach the port again.`,
		Example: "  tenant ip allow web-ip 5432/tcp 198.51.100.0/24",
		RunE: func(cmd *cobra.Command, args []string) error {
			limit, err := parseLimit(args[1], args[2:])
			if err != nil {
				return err
			}
			return p.atProvider(cmd.Context(), args[0], provider, func(ctx context.Context, b *stack.Buyer, pr market.Provider, _ api.HeldIPs) error {
				gw, err := b.Dial(pr)
				if err != nil {
					return err
				}
				if err := gw.LimitSources(ctx, args[0], limit); err != nil {
					return err
				}
				from := "everybody"
				if len(limit.Sources) > 0 {
					from = strings.Join(args[2:], " ")
				}
				return p.print(limit, fmt.Sprintf("%s %s\topen to %s", args[0], args[1], from))
			})
		},
	}
	cmd.Flags().StringVar(&provider, "provider", "", "the provider that has the address; empty finds it")
	return cmd
}

// parseLimit reads a port as 53/udp and prefixes.
func parseLimit(port string, prefixes []string) (api.SourceLimit, error) {
	number, proto, ok := strings.Cut(port, "/")
	n, err := strconv.ParseUint(number, 10, 16)
	if !ok || err != nil || n == 0 {
		return api.SourceLimit{}, fmt.Errorf("port %q: want a number and tcp or udp, as 443/tcp", port)
	}
	out := api.SourceLimit{Proto: strings.ToUpper(proto), ExternalPort: uint16(n), Sources: []netip.Prefix{}}
	for _, text := range prefixes {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return out, err
		}
		out.Sources = append(out.Sources, prefix)
	}
	return out, nil
}
