package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/x/authz"
	"github.com/spf13/cobra"

	"github.com/moorage-dev/moorage/examples/internal/keycmd"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/client"
	"github.com/moorage-dev/moorage/market/chain/marketpb"
)

// granting is what "grant" is asked for.
type granting struct {
	program  *program
	address  string
	from     string
	owner    string
	gasPrice string
	limit    string
	counts   []string
	most     string
	lasts    time.Duration
}

func (p *program) grantCommand() *cobra.Command {
	g := &granting{program: p}
	cmd := &cobra.Command{
		Use: "grant deposit|scale|update|close GRANTEE DSEQ", Short: "Let another account do one thing with one deployment",
		Long: `Grant lets an account do one thing with one deployment, within bounds. Grants for
other deployments stay as they are; a second one for the same deployment takes
the place of the first.

  node grant deposit moor1… 7 --from alice --limit 500000uakt
  node grant scale   moor1… 7 --from alice --count 1/1=1..5 --max-price 10uakt --for 24h
  node grant close   moor1… 7 --from alice

"node revoke" takes all grants of a role back.`,
		Args: cobra.ExactArgs(3), ValidArgs: roleNames(),
		RunE: func(cmd *cobra.Command, args []string) error { return g.grant(cmd, args[0], args[1], args[2]) },
	}
	g.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&g.owner, "owner", "", "owner of the deployment, for deposits into another's; empty is --from")
	f.StringVar(&g.limit, "limit", "", "deposit: what may be deposited in all, as 500000uakt")
	f.StringArrayVar(&g.counts, "count", nil, "scale: GROUP/UNIT=MIN..MAX; may be repeated")
	f.StringVar(&g.most, "max-price", "", "scale: the most the lease may cost per block, as 10.5uakt")
	f.DurationVar(&g.lasts, "for", 0, "how long it lasts; 0 is for ever")
	return cmd
}

func (p *program) revokeCommand() *cobra.Command {
	g := &granting{program: p}
	cmd := &cobra.Command{
		Use: "revoke deposit|scale|update|close GRANTEE", Short: "Take back what was granted, for every deployment",
		Args: cobra.ExactArgs(2), ValidArgs: roleNames(),
		RunE: func(cmd *cobra.Command, args []string) error {
			role, err := parseRole(args[0])
			if err != nil {
				return err
			}
			return g.submit(cmd, func(c *client.Client) (sdk.Msg, error) {
				url := (&marketpb.DeploymentAuthorization{Role: role}).MsgTypeURL()
				return &authz.MsgRevoke{Granter: string(c.Address()), Grantee: args[1], MsgTypeUrl: url}, nil
			})
		},
	}
	g.flags(cmd)
	return cmd
}

func (g *granting) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&g.address, "node", defaultNode, "gRPC address of the node")
	f.StringVar(&g.from, "from", "", "name of the key that grants")
	f.StringVar(&g.gasPrice, "gas-price", "", "what is paid for gas, as 0.025uakt; empty pays nothing")
	_ = cmd.MarkFlagRequired("from") // the flag is there
}

func roleNames() []string { return []string{"deposit", "scale", "update", "close"} }

func parseRole(name string) (marketpb.Role, error) {
	role, ok := marketpb.Role_value["ROLE_"+strings.ToUpper(name)]
	if !ok || role == 0 {
		return 0, fmt.Errorf("role %q: want one of %s", name, strings.Join(roleNames(), ", "))
	}
	return marketpb.Role(role), nil
}

func (g *granting) grant(cmd *cobra.Command, roleName, grantee, dseqText string) error {
	role, err1 := parseRole(roleName)
	dseq, err2 := strconv.ParseUint(dseqText, 10, 64)
	entry, err3 := g.entry()
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	entry.Dseq = dseq
	return g.submit(cmd, func(c *client.Client) (sdk.Msg, error) {
		entry.Owner = g.owner
		if g.owner == "" {
			entry.Owner = string(c.Address())
		}
		var until *time.Time
		if g.lasts > 0 {
			head, err := c.Head(cmd.Context())
			if err != nil {
				return nil, err
			}
			end := head.Time.Add(g.lasts)
			until = &end
		}
		return marketpb.NewGrant(c.Address(), market.Address(grantee),
			&marketpb.DeploymentAuthorization{Role: role, Grants: []marketpb.DeploymentGrant{entry}}, until)
	})
}

// entry reads the bounds.
func (g *granting) entry() (e marketpb.DeploymentGrant, err error) {
	if g.limit != "" {
		if e.SpendLimit, err = sdk.ParseCoinsNormalized(g.limit); err != nil {
			return e, fmt.Errorf("--limit: %w", err)
		}
	}
	if g.most != "" {
		i := strings.IndexFunc(g.most, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
		if i < 0 {
			return e, fmt.Errorf("--max-price %q: want a number and a denomination, as 10.5uakt", g.most)
		}
		e.MaxPrice = &marketpb.Price{AmountPerBlock: g.most[:i], Denom: g.most[i:]}
	}
	for _, text := range g.counts {
		var r marketpb.CountRange
		if _, err := fmt.Sscanf(text, "%d/%d=%d..%d", &r.Gseq, &r.Unit, &r.Min, &r.Max); err != nil {
			return e, fmt.Errorf("--count %q: want GROUP/UNIT=MIN..MAX, as 1/1=1..5", text)
		}
		e.Counts = append(e.Counts, r)
	}
	return e, nil
}

// submit signs and sends a message and says in which block it is.
func (g *granting) submit(cmd *cobra.Command, message func(*client.Client) (sdk.Msg, error)) (err error) {
	ring, err := keycmd.Options{Dir: g.program.keyDir, Backend: &g.program.backend, Stdin: cmd.InOrStdin()}.Open()
	if err != nil {
		return err
	}
	key, err := ring.Load(g.from)
	if err != nil {
		return err
	}
	conn, err := client.Dial(g.address, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	c, err := client.New(conn, client.Config{Signer: key, GasPrice: g.gasPrice})
	if err != nil {
		return err
	}
	msg, err := message(c)
	if err != nil {
		return err
	}
	receipt, err := c.SubmitWire(cmd.Context(), msg)
	if err != nil {
		return err
	}
	return g.program.print(cmd.OutOrStdout(), receipt, "in block %d, transaction %s\n", receipt.Height, receipt.TxID)
}
