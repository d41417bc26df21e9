package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/moorage-dev/moorage/examples/internal/stack"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/client"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/provider/gateway/jwt"
)

// tokenVariable is where a token may stand, so that it is on no command line.
const tokenVariable = "MOORAGE_TOKEN"

// tokenOptions are the flags of "token".
type tokenOptions struct {
	valid    time.Duration
	provider string
	dseq     uint64
	services []string
	scopes   []string
	full     bool
	audience []string
}

func (p *program) tokenCommand() *cobra.Command {
	var o tokenOptions
	cmd := &cobra.Command{
		Use: "token", Short: "Sign a token that lets somebody else use some of the tenant's leases", Args: cobra.NoArgs,
		Long: `A token lets a person or a program without the tenant's key read logs, open
shells and so on at providers, as far as it says and until it ends (AEP-64). Nothing
goes to the chain. Who has it uses it so:

  MOORAGE_TOKEN=... tenant logs 1234

Examples:
  tenant token --scope logs --scope status
  tenant token --scope shell --provider moor1... --dseq 1234 --service web --valid 10m`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := p.loadKey()
			if err != nil {
				return err
			}
			claims, err := o.claims(key.Address(), time.Now())
			if err != nil {
				return err
			}
			token, err := jwt.Sign(claims, jwt.ES256K, key.Sign)
			if err != nil {
				return err
			}
			return p.print(map[string]any{"token": token, "expires": time.Unix(*claims.Expires, 0).UTC()}, token)
		},
	}
	f := cmd.Flags()
	f.DurationVar(&o.valid, "valid", time.Hour, "how long it is good")
	f.StringSliceVar(&o.scopes, "scope", nil, "what it allows: "+scopesText())
	f.BoolVar(&o.full, "full", false, "allow everything")
	f.StringVar(&o.provider, "provider", "", "only at this provider")
	f.Uint64Var(&o.dseq, "dseq", 0, "only for this deployment; needs --provider")
	f.StringSliceVar(&o.services, "service", nil, "only for these services; needs --dseq")
	f.StringSliceVar(&o.audience, "audience", nil, "providers that take it, as addresses; some take no token that does not name them. Programs other than this may not know it")
	cmd.MarkFlagsMutuallyExclusive("scope", "full")
	cmd.MarkFlagsOneRequired("scope", "full")
	return cmd
}

func scopesText() string {
	var names []string
	for _, s := range api.GrantableScopes() {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}

// claims turns the flags into what the token says.
func (o tokenOptions) claims(issuer market.Address, now time.Time) (jwt.Claims, error) {
	c := jwt.Lasting(issuer, now, o.valid)
	for _, a := range o.audience {
		c.Audience = append(c.Audience, market.Address(a))
	}
	var scopes []api.Scope
	for _, s := range o.scopes {
		if !api.Scope(s).Grantable() {
			return c, fmt.Errorf("scope %q: want one of %s", s, scopesText())
		}
		scopes = append(scopes, api.Scope(s))
	}
	switch {
	case o.dseq != 0 && o.provider == "":
		return c, errors.New("--dseq needs --provider")
	case len(o.services) > 0 && o.dseq == 0:
		return c, errors.New("--service needs --dseq")
	case o.dseq != 0 && len(o.services) == 0:
		return c, errors.New("--dseq needs --service: AEP-64 grants name the services of a deployment")
	case o.dseq != 0 && o.full:
		scopes = api.GrantableScopes()
	}
	one := jwt.Permission{Provider: market.Address(o.provider), Access: jwt.Full}
	switch {
	case o.dseq != 0:
		one.Access = jwt.Granular
		one.Deployments = []jwt.Deployment{{DSeq: o.dseq, Scope: scopes, Services: o.services}}
	case !o.full:
		one.Access, one.Scope = jwt.Scoped, scopes
	}
	if o.provider == "" {
		c.Leases = jwt.Leases{Access: one.Access, Scope: one.Scope}
	} else {
		c.Leases = jwt.Leases{Access: jwt.Granular, Permissions: []jwt.Permission{one}}
	}
	return c, c.Validate()
}

// withToken runs f as the holder of a token: without a key, and so without
// transactions.
func (p *program) withToken(ctx context.Context, token string, f func(context.Context, *stack.Buyer) error) (err error) {
	claims, err := jwt.Read(token)
	if err != nil {
		return fmt.Errorf("%s: %w", tokenVariable, err)
	}
	conn, err := client.Dial(p.node, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	m, err := client.New(conn, client.Config{})
	if err != nil {
		return err
	}
	b, err := stack.NewHolder(m, claims.Issuer, token)
	if err != nil {
		return err
	}
	return p.explain(f(ctx, b))
}

// heldToken is the token in the environment, "" if there is none.
func heldToken() string { return strings.TrimSpace(os.Getenv(tokenVariable)) }
