package gateway_test

import (
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/provider/gateway/client"
	"github.com/moorage-dev/moorage/provider/gateway/gatewaytest"
	"github.com/moorage-dev/moorage/provider/gateway/jwt"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// wallet is a tenant with a key of the chain.
type wallet struct {
	key  *secp256k1.PrivateKey
	addr market.Address
}

func newWallet(tb testing.TB) wallet {
	tb.Helper()
	key, err := secp256k1.GeneratePrivateKey()
	require.NoError(tb, err)
	addr, err := jwt.Address("akash", key.PubKey().SerializeCompressed())
	require.NoError(tb, err)
	return wallet{key, addr}
}

func (w wallet) token(tb testing.TB, l jwt.Leases) string {
	tb.Helper()
	c := jwt.Lasting(w.addr, time.Now(), time.Minute)
	c.Leases = l
	token, err := jwt.Sign(c, jwt.ES256K, func(m []byte) ([]byte, error) {
		digest := sha256.Sum256(m)
		return ecdsa.SignCompact(w.key, digest[:], true)[1:], nil
	})
	require.NoError(tb, err)
	return token
}

// tokenServer serves the lease of a wallet and takes tokens.
func tokenServer(tb testing.TB, w wallet) (*gatewaytest.Server, *gatewaytest.Backend) {
	tb.Helper()
	v, err := jwt.NewVerifier(jwt.Config{Provider: gatewaytest.Provider})
	require.NoError(tb, err)
	backend := gatewaytest.NewBackend(gatewaytest.Lease(w.addr))
	require.NoError(tb, backend.PutManifest(tb.Context(), gatewaytest.Lease(w.addr).DeploymentID, manifest.Manifest{
		{Name: "first", Services: []manifest.Service{{Name: "db"}, {Name: "web"}}},
	}))
	return gatewaytest.Start(tb, gateway.Config{
		Backend: backend, Tokens: v, Limits: gateway.Limits{AnonymousBurst: 10_000, TenantBurst: 10_000},
	}), backend
}

func TestEveryRouteWithEveryScopeOfAToken(t *testing.T) {
	w := newWallet(t)
	s, _ := tokenServer(t, w)
	anybody := browser(t)
	scopes := []api.Scope{api.ScopeRestart} // which no route needs
	for _, rt := range gateway.Routes() {
		if rt.Scope.Grantable() && !slices.Contains(scopes, rt.Scope) {
			scopes = append(scopes, rt.Scope)
		}
	}
	for _, scope := range scopes {
		token := w.token(t, jwt.Leases{Access: jwt.Granular, Permissions: []jwt.Permission{{
			Provider: gatewaytest.Provider, Access: jwt.Granular,
			Deployments: []jwt.Deployment{{DSeq: 7, Scope: []api.Scope{scope}, Services: []string{"web"}}},
		}}})
		for _, rt := range gateway.Routes() {
			refused := 0
			if rt.Scope != scope || rt.Scope.Grantable() && !strings.Contains(rt.Pattern, "{dseq}") {
				// What is about no deployment is not for a token for one.
				refused = http.StatusForbidden
			}
			got, body := ask(t, s, rt, anybody, "Bearer "+token)
			assert.Equal(t, expect(rt, refused), got, "%s %s with %s: %s", rt.Method, rt.Pattern, scope, body)
		}
	}
}

func tokenClient(tb testing.TB, s *gatewaytest.Server, token string) *client.Client {
	tb.Helper()
	c, err := client.New(client.Config{
		Provider: gatewaytest.Provider, HostURI: s.URI(), Market: s.Registry,
		Token: func(context.Context) (string, error) { return token, nil },
	})
	require.NoError(tb, err)
	tb.Cleanup(c.Close)
	return c
}

func TestTokenForOneServiceShowsNoOther(t *testing.T) {
	w := newWallet(t)
	s, backend := tokenServer(t, w)
	lease := gatewaytest.Lease(w.addr)
	backend.Print(4)
	only := func(service string) *client.Client {
		return tokenClient(t, s, w.token(t, jwt.Leases{Access: jwt.Granular, Permissions: []jwt.Permission{{
			Provider: gatewaytest.Provider, Access: jwt.Granular,
			Deployments: []jwt.Deployment{{DSeq: 7, GSeq: 1, Scope: api.GrantableScopes(), Services: []string{service}}},
		}}}))
	}
	web, db := only("web"), only("db")
	count := func(c *client.Client, o driver.LogOptions) (n int, last error) {
		o.Tail = -1
		for _, err := range c.Logs(t.Context(), lease, o) {
			if err != nil {
				return n, err
			}
			n++
		}
		return n, nil
	}
	n, err := count(web, driver.LogOptions{})
	require.NoError(t, err)
	assert.Equal(t, 4, n)
	n, err = count(db, driver.LogOptions{})
	require.NoError(t, err)
	assert.Zero(t, n, "all lines are of web")
	_, err = count(db, driver.LogOptions{Service: "web"})
	require.ErrorIs(t, err, api.ErrForbidden)

	st, err := db.LeaseStatus(t.Context(), lease)
	require.NoError(t, err)
	assert.Empty(t, st.Services)
	_, err = db.ServiceStatus(t.Context(), lease, "web")
	require.ErrorIs(t, err, api.ErrForbidden)
	m, err := db.Manifest(t.Context(), lease.DeploymentID)
	require.NoError(t, err)
	require.Len(t, m[0].Services, 1)
	assert.Equal(t, "db", m[0].Services[0].Name)
	_, err = db.Exec(t.Context(), lease, driver.Exec{Service: "web", Command: []string{"echo"}, Stdout: io.Discard})
	require.ErrorIs(t, err, api.ErrForbidden)
	code, err := web.Exec(t.Context(), lease, driver.Exec{Service: "web", Command: []string{"echo"}, Stdout: io.Discard})
	require.NoError(t, err)
	assert.Zero(t, code)
}

func TestTokenAndCertificateTogetherAreRefusedByTheClient(t *testing.T) {
	_, err := client.New(client.Config{
		Provider: "p", HostURI: "https://h", Market: gatewaytest.NewRegistry(), Certificate: gatewaytest.Certificate(t, "tenant1"),
		Token: func(context.Context) (string, error) { return "", nil },
	})
	require.ErrorIs(t, err, market.ErrInvalid)
}
