package gateway_test

import (
	"context"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway"
	"github.com/moorage-dev/moorage/provider/gateway/gatewaytest"
	"github.com/moorage-dev/moorage/provider/gateway/mtls"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// byName takes a certificate for that of the account that it names.
type byName struct{}

func (byName) Verify(_ context.Context, c *x509.Certificate, _ mtls.Use, _ time.Time) (market.Address, error) {
	return market.Address(c.Subject.CommonName), nil
}

func as(who market.Address, method, target string, body io.Reader) *http.Request {
	r := asTenant(httptest.NewRequest(method, target, body))
	r.TLS.PeerCertificates[0].Subject.CommonName = string(who)
	return r
}

func TestSlowBodiesOfOneTenantKeepNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		victim := gatewaytest.Lease(gatewaytest.Stranger)
		g := newGateway(t, gateway.Config{
			Certificates: byName{}, Limits: gateway.Limits{TenantBurst: 1000},
			Backend: gatewaytest.NewBackend(victim, gatewaytest.Lease(gatewaytest.Tenant)),
		})
		served := func(r *http.Request) int {
			w := httptest.NewRecorder()
			g.ServeHTTP(w, r)
			return w.Code
		}
		refused := make(chan int, 260)
		bodies := make([]*io.PipeWriter, 260)
		for i := range bodies {
			var body io.Reader
			body, bodies[i] = io.Pipe()
			go func() {
				refused <- served(as(gatewaytest.Tenant, http.MethodPut, "/deployment/7/manifest", body))
			}()
		}
		synctest.Wait()
		require.Len(t, refused, 260-gateway.DefaultRequests/4, "the tenant has no more than its share")
		assert.Equal(t, http.StatusTooManyRequests, <-refused)
		assert.Equal(t, http.StatusOK, served(as(gatewaytest.Stranger, http.MethodGet, "/lease/7/1/1/status", nil)))
		assert.Equal(t, http.StatusNoContent, served(as(gatewaytest.Stranger, http.MethodPut, "/deployment/7/manifest", emptyManifest())))
		assert.Equal(t, http.StatusOK, served(httptest.NewRequest(http.MethodGet, "/version", nil)))
		assert.Equal(t, http.StatusOK, served(as(gatewaytest.Tenant, http.MethodGet, "/lease/7/1/1/status", nil)), "what needs no body goes on")
		for _, b := range bodies {
			_ = b.Close()
		}
		synctest.Wait()
	})
}

// stuck is a backend that answers nobody until it is told to stop.
type stuck struct{ *gatewaytest.Backend }

func (stuck) PutManifest(ctx context.Context, id market.DeploymentID, _ manifest.Manifest) error {
	if id.Owner == gatewaytest.Tenant {
		<-ctx.Done()
	}
	return ctx.Err()
}

func TestSlowWorkForOneTenantKeepsNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, gateway.Config{
			Certificates: byName{}, Limits: gateway.Limits{Requests: 8, TenantBurst: 1000},
			Backend: stuck{gatewaytest.NewBackend(gatewaytest.Lease(gatewaytest.Stranger))},
		})
		done := make(chan int, 20)
		for range 20 {
			go func() {
				w := httptest.NewRecorder()
				g.ServeHTTP(w, as(gatewaytest.Tenant, http.MethodPut, "/deployment/7/manifest", emptyManifest()))
				done <- w.Code
			}()
		}
		synctest.Wait()
		require.Len(t, done, 20-2, "a quarter of eight may wait")
		w := httptest.NewRecorder()
		g.ServeHTTP(w, as(gatewaytest.Stranger, http.MethodPut, "/deployment/7/manifest", emptyManifest()))
		assert.Equal(t, http.StatusNoContent, w.Code)
		w = httptest.NewRecorder()
		g.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/status", nil))
		assert.Equal(t, http.StatusOK, w.Code)
		time.Sleep(gateway.RequestTimeout) // the backend is told to stop
	})
}
