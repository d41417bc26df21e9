package gateway_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway"
	"github.com/moorage-dev/moorage/provider/gateway/gatewaytest"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// stuckWriter is a connection whose peer takes nothing.
type stuckWriter struct {
	httptest.ResponseRecorder
	deadline time.Time
}

func (w *stuckWriter) SetWriteDeadline(at time.Time) error { w.deadline = at; return nil }
func (w *stuckWriter) SetReadDeadline(time.Time) error     { return nil }
func (w *stuckWriter) FlushError() error                   { return nil }

func (w *stuckWriter) Write([]byte) (int, error) {
	if w.deadline.IsZero() {
		select {} // for ever
	}
	time.Sleep(time.Until(w.deadline))
	return 0, os.ErrDeadlineExceeded
}

func TestPlainReaderWhoTakesNothingIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := gatewaytest.NewBackend(gatewaytest.Lease(gatewaytest.Tenant))
		backend.Print(1000)
		g := newGateway(t, gateway.Config{Backend: backend, Certificates: everybody{}})
		start := time.Now()
		r := asTenant(httptest.NewRequest(http.MethodGet, "/lease/7/1/1/logs?follow=1", nil))
		g.ServeHTTP(&stuckWriter{}, r)
		assert.Equal(t, gateway.WriteTimeout, time.Since(start))
	})
}

func TestOldStreamsAreEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, gateway.Config{Certificates: everybody{}})
		start := time.Now()
		w := httptest.NewRecorder()
		g.ServeHTTP(w, asTenant(httptest.NewRequest(http.MethodGet, "/lease/7/1/1/logs?follow=1", nil)))
		assert.Equal(t, gateway.DefaultStreamAge, time.Since(start))
		assert.Contains(t, w.Body.String(), `"code":"too-many"`)
	})
}

func TestBackendThatHangsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, gateway.Config{Certificates: everybody{}, Backend: hanging{gatewaytest.NewBackend()}})
		start := time.Now()
		w := httptest.NewRecorder()
		g.ServeHTTP(w, asTenant(httptest.NewRequest(http.MethodPut, "/deployment/7/manifest", emptyManifest())))
		assert.Equal(t, gateway.RequestTimeout, time.Since(start))
		assert.Equal(t, http.StatusServiceUnavailable, w.Code)
	})
}

func TestNothingIsLeftBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("many streams", func(t *testing.T) {
		s := gatewaytest.Start(t, gateway.Config{})
		s.Backend.Print(10)
		c, id := s.Client(t), gatewaytest.Lease(gatewaytest.Tenant)
		for i := range 20 {
			for _, err := range c.Logs(t.Context(), id, driver.LogOptions{Follow: true, Tail: 5}) {
				require.NoError(t, err)
				break // with the stream still going
			}
			ctx, cancel := context.WithCancel(t.Context())
			_, err := c.Exec(ctx, id, driver.Exec{Service: "web", Command: []string{"hang"}, Stdout: writerFunc(func() {
				if i%2 == 0 {
					cancel()
				} else {
					s.Network.Cut()
					cancel()
				}
			})})
			require.ErrorIs(t, err, context.Canceled)
			cancel()
		}
	})
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+2 }, patience, 10*time.Millisecond,
		"goroutines of closed connections end")
}

type writerFunc func()

func (f writerFunc) Write(p []byte) (int, error) { f(); return len(p), nil }

// hanging does nothing until it is told to stop.
type hanging struct{ gateway.Backend }

func (hanging) PutManifest(ctx context.Context, _ market.DeploymentID, _ manifest.Manifest) error {
	<-ctx.Done()
	return ctx.Err()
}

func emptyManifest() io.Reader { return strings.NewReader("[]") }
