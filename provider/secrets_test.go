package provider_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/memcluster"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider"
	"github.com/moorage-dev/moorage/provider/gateway"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/provider/gateway/mtls"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// written is everything that was logged, at every level.
type written struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(p)
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

// oneToken takes one token for the tenant's.
type oneToken string

func (o oneToken) VerifyToken(_ context.Context, token string, _ time.Time) (market.Address, api.Grants, error) {
	if token != string(o) {
		return "", nil, api.ErrUnauthenticated
	}
	return theTenant, api.All{}, nil
}

type noCertificates struct{}

func (noCertificates) Verify(context.Context, *x509.Certificate, mtls.Use, time.Time) (market.Address, error) {
	return "", errors.ErrUnsupported
}

func TestLogsHoldNoSecretsOfADeployment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const env, password, token, wrong = "hidden-variable", "hidden-password", "hidden-token", "hidden-wrong-token"
		w, out := newWorld(t, memcluster.Config{}), &written{}
		log := slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		p, _ := w.start(func(c *provider.Config) { c.Logger = log })
		one := plan(t, "KEY="+env, nil)
		one.Manifest[0].Services[0].Credentials = &manifest.Credentials{Host: "registry.example", Username: "me", Password: password}
		var err error
		one.Hash, err = one.Manifest.Version()
		require.NoError(t, err)
		id, orders, err := w.tenant.Create(t.Context(), one)
		require.NoError(t, err)
		bids, err := w.tenant.AwaitBids(t.Context(), orders)
		require.NoError(t, err)
		leases, err := w.tenant.Accept(t.Context(), bids)
		require.NoError(t, err)

		g, err := gateway.New(gateway.Config{
			Provider: theProvider, Backend: p, Certificates: noCertificates{}, Tokens: oneToken(token), Logger: log,
		})
		require.NoError(t, err)
		put := func(token, body string) int {
			r := httptest.NewRequest(http.MethodPut, "/deployment/"+strings.Split(id.String(), "/")[1]+"/manifest", strings.NewReader(body))
			r.Header.Set("Authorization", "Bearer "+token)
			rec := httptest.NewRecorder()
			g.ServeHTTP(rec, r)
			return rec.Code
		}
		time.Sleep(5 * time.Second)
		body := string(one.Manifest.AppendCanonical(nil))
		require.Contains(t, body, env)
		assert.Equal(t, http.StatusUnauthorized, put(wrong, body))
		assert.Equal(t, http.StatusUnprocessableEntity, put(token, strings.Replace(body, env, env+"-other", 1)), "it is not the one that was ordered")
		assert.Equal(t, http.StatusBadRequest, put(token, body[:len(body)-2]))
		require.Equal(t, http.StatusNoContent, put(token, body))
		_, err = w.tenant.AwaitReady(t.Context(), leases, one.Hash)
		require.NoError(t, err)
		w.cluster.SetNodes(nil) // trouble is logged too
		time.Sleep(time.Hour)
		g.Close()

		require.NotEmpty(t, out.String())
		for _, secret := range []string{env, password, token, wrong} {
			assert.NotContains(t, out.String(), secret)
		}
	})
}
