package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/provider/gateway/mtls"
)

// principal is who asks, and what the credential grants.
type principal struct {
	tenant market.Address
	grants api.Grants
}

// maxToken bounds a bearer token in bytes.
const maxToken = 16 << 10

// authenticate finds out who asks. The error wraps [api.ErrUnauthenticated],
// or [market.ErrUnavailable] when it cannot be found out.
func (g *Gateway) authenticate(ctx context.Context, r *http.Request) (principal, error) {
	token, hasToken := r.Header["Authorization"]
	hasCert := r.TLS != nil && len(r.TLS.PeerCertificates) > 0
	switch {
	case hasToken && hasCert:
		return principal{}, fmt.Errorf("%w: both a certificate and a token", api.ErrUnauthenticated)
	case hasToken:
		return g.byToken(ctx, token)
	case hasCert:
		return g.byCertificate(ctx, r)
	}
	return principal{}, fmt.Errorf("%w: a client certificate or a token is needed", api.ErrUnauthenticated)
}

func (g *Gateway) byCertificate(ctx context.Context, r *http.Request) (principal, error) {
	certs := r.TLS.PeerCertificates
	if len(certs) != 1 {
		return principal{}, fmt.Errorf("%w: want exactly one certificate", api.ErrUnauthenticated)
	}
	owner, err := g.cfg.Certificates.Verify(ctx, certs[0], mtls.ClientUse, time.Now())
	switch {
	case errors.Is(err, mtls.ErrRejected):
		return principal{}, fmt.Errorf("%w: %w", api.ErrUnauthenticated, err)
	case err != nil:
		return principal{}, fmt.Errorf("%w: certificate: %w", market.ErrUnavailable, err)
	}
	return principal{owner, api.All{}}, nil
}

func (g *Gateway) byToken(ctx context.Context, headers []string) (principal, error) {
	if g.cfg.Tokens == nil {
		return principal{}, fmt.Errorf("%w: tokens are not accepted here", api.ErrUnauthenticated)
	}
	if len(headers) != 1 || len(headers[0]) > maxToken {
		return principal{}, fmt.Errorf("%w: want one token of at most %d bytes", api.ErrUnauthenticated, maxToken)
	}
	kind, token, ok := strings.Cut(headers[0], " ")
	if !ok || !strings.EqualFold(kind, "Bearer") || token == "" {
		return principal{}, fmt.Errorf("%w: want a bearer token", api.ErrUnauthenticated)
	}
	owner, grants, err := g.cfg.Tokens.VerifyToken(ctx, token, time.Now())
	if err != nil {
		return principal{}, err
	}
	return principal{owner, grants}, nil
}

// authorize checks that the credential grants what the route needs.
func (g *Gateway) authorize(p principal, a api.Access) error {
	if a.Scope == api.ScopeAny || p.grants.Allows(a) {
		return nil
	}
	return fmt.Errorf("%w: the token does not grant %s here", api.ErrForbidden, a.Scope)
}
