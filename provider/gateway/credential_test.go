package gateway_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/provider/gateway"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/provider/gateway/gatewaytest"
	"github.com/moorage-dev/moorage/provider/gateway/jwt"
	"github.com/moorage-dev/moorage/provider/gateway/stream"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// sign makes a token of any claims.
func (w wallet) sign(tb testing.TB, c jwt.Claims) string {
	tb.Helper()
	token, err := jwt.Sign(c, jwt.ES256K, func(m []byte) ([]byte, error) {
		digest := sha256.Sum256(m)
		return ecdsa.SignCompact(w.key, digest[:], true)[1:], nil
	})
	require.NoError(tb, err)
	return token
}

// granted are claims for these deployments, with every scope.
func granted(ds ...jwt.Deployment) jwt.Leases {
	for i := range ds {
		ds[i].Scope = api.GrantableScopes()
	}
	return jwt.Leases{Access: jwt.Granular, Permissions: []jwt.Permission{{
		Provider: gatewaytest.Provider, Access: jwt.Granular, Deployments: ds,
	}}}
}

// Answers to routes, as far as a credential decides: 0 is success.

func always(status int) func(gateway.Route) int { return func(gateway.Route) int { return status } }

// within allows what is about a deployment; more says what it refuses there.
func within(more func(rt gateway.Route) bool) func(gateway.Route) int {
	return func(rt gateway.Route) int {
		if rt.Scope.Grantable() && (!strings.Contains(rt.Pattern, "{dseq}") || more(rt)) {
			return http.StatusForbidden
		}
		return 0
	}
}

func aboutLease(rt gateway.Route) bool { return strings.Contains(rt.Pattern, "{gseq}") }

func aboutService(rt gateway.Route) bool {
	return strings.Contains(rt.Pattern, "/service/") || strings.HasSuffix(rt.Pattern, "/shell") || strings.HasSuffix(rt.Pattern, "/hostnames")
}

func TestEveryRouteWithEveryKindOfToken(t *testing.T) {
	w := newWallet(t)
	s, _ := tokenServer(t, w)
	full := jwt.Leases{Access: jwt.Full}
	here := jwt.Permission{Provider: gatewaytest.Provider, Access: jwt.Full}
	elsewhere := jwt.Permission{Provider: gatewaytest.Stranger, Access: jwt.Full}
	web := []string{"web"}
	cases := []struct {
		name   string
		leases jwt.Leases
		change func(*jwt.Claims)
		want   func(gateway.Route) int
	}{
		{"full", full, nil, always(0)},
		{"scoped", jwt.Leases{Access: jwt.Scoped, Scope: api.GrantableScopes()}, nil, always(0)},
		{"for this provider", jwt.Leases{Access: jwt.Granular, Permissions: []jwt.Permission{elsewhere, here}}, nil, always(0)},
		{"with this audience", full, func(c *jwt.Claims) { c.Audience = jwt.Audience{gatewaytest.Stranger, gatewaytest.Provider} }, always(0)},
		{"expired", full, func(c *jwt.Claims) {
			for _, at := range []*int64{c.IssuedAt, c.NotBefore, c.Expires} {
				*at -= 3600
			}
		}, always(http.StatusUnauthorized)},
		{"not good yet", full, func(c *jwt.Claims) { *c.NotBefore += 3600; *c.Expires += 7200 }, always(http.StatusUnauthorized)},
		{"of another audience", full, func(c *jwt.Claims) { c.Audience = jwt.Audience{gatewaytest.Stranger} }, always(http.StatusUnauthorized)},
		{"for another provider", jwt.Leases{Access: jwt.Granular, Permissions: []jwt.Permission{elsewhere}}, nil, always(http.StatusUnauthorized)},
		{"signed by another", full, func(c *jwt.Claims) { c.Issuer = newWallet(t).addr }, always(http.StatusUnauthorized)},
		{"for another deployment", granted(jwt.Deployment{DSeq: 8, Services: web}), nil, within(func(gateway.Route) bool { return true })},
		{"for another group", granted(jwt.Deployment{DSeq: 7, GSeq: 2, Services: web}), nil, within(aboutLease)},
		{"for another order", granted(jwt.Deployment{DSeq: 7, GSeq: 1, OSeq: 2, Services: web}), nil, within(aboutLease)},
		{"for another service", granted(jwt.Deployment{DSeq: 7, Services: []string{"db"}}), nil, within(aboutService)},
		{"for the lease", granted(jwt.Deployment{DSeq: 7, GSeq: 1, OSeq: 1, Services: web}), nil, within(func(gateway.Route) bool { return false })},
	}
	anybody := browser(t)
	for _, tc := range cases {
		c := jwt.Lasting(w.addr, time.Now(), time.Minute)
		c.Leases = tc.leases
		if tc.change != nil {
			tc.change(&c)
		}
		token := w.sign(t, c)
		for _, rt := range gateway.Routes() {
			got, body := ask(t, s, rt, anybody, "Bearer "+token)
			assert.Equal(t, expect(rt, tc.want(rt)), got, "%s %s with a token %s: %s", rt.Method, rt.Pattern, tc.name, body)
		}
	}
}

func TestATokenMovesNothingAwayFromWhatItIsNotFor(t *testing.T) {
	w := newWallet(t)
	seven, eight := gatewaytest.Lease(w.addr), gatewaytest.Lease(w.addr)
	eight.DSeq = 8
	backend := gatewaytest.NewBackend(seven, eight)
	group := func(service string) manifest.Manifest {
		return manifest.Manifest{{Name: "g", Services: []manifest.Service{
			{Name: "other"}, {Name: service, Expose: []manifest.Expose{{Port: 80, Global: true, IP: "my-ip"}}},
		}}}
	}
	require.NoError(t, backend.PutManifest(t.Context(), seven.DeploymentID, group("db")))
	require.NoError(t, backend.PutManifest(t.Context(), eight.DeploymentID, group("web")))
	v, err := jwt.NewVerifier(jwt.Config{Provider: gatewaytest.Provider})
	require.NoError(t, err)
	s := gatewaytest.Start(t, gateway.Config{Backend: backend, Tokens: v, Limits: gateway.Limits{AnonymousBurst: 10_000}})
	on := func(dseq uint64, gseq uint32, services ...string) jwt.Deployment {
		return jwt.Deployment{DSeq: dseq, GSeq: gseq, Services: services}
	}
	cases := []struct {
		name             string
		grants           []jwt.Deployment
		hostname, ipMove bool
	}{
		{"only where it goes", []jwt.Deployment{on(8, 0, "web")}, false, false},
		{"only where it comes from", []jwt.Deployment{on(7, 0, "db", "web")}, false, false},
		{"another service there", []jwt.Deployment{on(8, 0, "web"), on(7, 0, "other")}, false, false},
		{"another group there", []jwt.Deployment{on(8, 0, "web"), on(7, 2, "db", "web")}, false, false},
		{"another service here", []jwt.Deployment{on(8, 0, "other"), on(7, 0, "db", "web")}, false, false},
		{"both", []jwt.Deployment{on(8, 1, "web"), on(7, 1, "db", "web")}, true, true},
	}
	for _, tc := range cases {
		c := tokenClient(t, s, w.token(t, granted(tc.grants...)))
		check := func(err error, ok bool) {
			t.Helper()
			if ok {
				assert.NoError(t, err, tc.name)
			} else {
				assert.ErrorIs(t, err, api.ErrForbidden, tc.name)
			}
		}
		_, err := c.MigrateHostnames(t.Context(), eight, []string{"shop.example"})
		check(err, tc.hostname)
		_, err = c.MigrateEndpoints(t.Context(), eight, []string{"my-ip"})
		check(err, tc.ipMove)
	}
}

// tokenGateway serves the lease of a wallet and takes tokens, without a network.
func tokenGateway(t *testing.T, w wallet) *gateway.Gateway {
	t.Helper()
	v, err := jwt.NewVerifier(jwt.Config{Provider: gatewaytest.Provider})
	require.NoError(t, err)
	return newGateway(t, gateway.Config{Backend: gatewaytest.NewBackend(gatewaytest.Lease(w.addr)), Tokens: v})
}

func TestPlainStreamEndsWithItsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWallet(t)
		g := tokenGateway(t, w)
		r := httptest.NewRequest(http.MethodGet, "/lease/7/1/1/logs?follow=1", nil)
		r.Header.Set("Authorization", "Bearer "+w.token(t, jwt.Leases{Access: jwt.Full}))
		rec := httptest.NewRecorder()
		g.ServeHTTP(rec, r)
		assert.Contains(t, rec.Body.String(), `"code":"unauthenticated"`)
	})
}

// everything is what comes until the connection ends.
func everything(ctx context.Context, conn *websocket.Conn) string {
	var all strings.Builder
	for {
		_, message, err := conn.Read(ctx)
		if err != nil {
			return all.String()
		}
		all.Write(message)
	}
}

func TestShellEndsWithItsTokenUnlessItsClientComesBackWithANewerOne(t *testing.T) {
	for _, renewed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWallet(t)
			g := tokenGateway(t, w)
			l, cert := newPipeListener(t), gatewaytest.Certificate(t, gatewaytest.Provider)
			ctx, stop := context.WithCancel(t.Context())
			served := make(chan error, 1)
			go func() { served <- g.Serve(ctx, l, cert) }()
			tr := &http.Transport{DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				conn := tls.Client(l.connect(), &tls.Config{InsecureSkipVerify: true})
				return conn, conn.HandshakeContext(ctx)
			}}
			dialed := &http.Client{Transport: tr}
			header := func(lasting time.Duration) http.Header {
				c := jwt.Lasting(w.addr, time.Now(), lasting)
				c.Leases = jwt.Leases{Access: jwt.Full}
				return http.Header{"Authorization": {"Bearer " + w.sign(t, c)}}
			}
			const url = "https://gateway/lease/7/1/1/shell?service=web&cmd0=hang"
			conn, _ := dial(t, dialed, url, header(time.Minute))
			if renewed {
				hello, err := stream.ReadHello(t.Context(), conn)
				require.NoError(t, err)
				require.NoError(t, conn.CloseNow())
				conn, _ = dial(t, dialed, url+"&received=0&stream="+hello.Stream, header(time.Hour))
			}
			heard := make(chan string, 1)
			go func() { heard <- everything(ctx, conn) }()
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			select {
			case text := <-heard:
				assert.False(t, renewed, "it goes on")
				assert.Contains(t, text, string(api.CodeUnauthenticated))
			default:
				assert.True(t, renewed, "it has ended")
			}
			stop()
			require.NoError(t, <-served)
			tr.CloseIdleConnections()
		})
	}
}
