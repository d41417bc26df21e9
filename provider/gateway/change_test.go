package gateway_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/provider/gateway/gatewaytest"
)

func TestARestartReachesTheProviderOnce(t *testing.T) {
	s := gatewaytest.Start(t, gateway.Config{})
	id := gatewaytest.Lease(gatewaytest.Tenant)
	require.NoError(t, s.Client(t).Restart(t.Context(), id, "web"))
	assert.Equal(t, 1, s.Backend.Restarts())
	require.ErrorIs(t, s.Client(t).Restart(t.Context(), id, "api"), market.ErrNotFound)
}

func TestAMigrationAnswersForEachHostname(t *testing.T) {
	s := gatewaytest.Start(t, gateway.Config{})
	got, err := s.Client(t).MigrateHostnames(t.Context(), gatewaytest.Lease(gatewaytest.Tenant), []string{"shop.example", "held.example"})
	require.NoError(t, err)
	require.Equal(t, []api.HostnameMoved{
		{Hostname: "shop.example", Moved: true},
		{Hostname: "held.example", Rule: "hostname-taken", Detail: "another tenant has it"},
	}, got)
}

func TestABackEndThatCannotChangeLeasesSaysSo(t *testing.T) {
	g := newGateway(t, gateway.Config{Backend: panicking{gatewaytest.NewBackend()}, Certificates: everybody{}})
	for target, body := range map[string]string{
		"/lease/7/1/1/service/web/restart": "", "/lease/7/1/1/hostnames": `{"hostnames":["x"]}`,
	} {
		w := httptest.NewRecorder()
		g.ServeHTTP(w, asTenant(httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))))
		assert.Equal(t, http.StatusNotImplemented, w.Code, target)
		assert.Equal(t, api.CodeUnsupported, errorOf(t, w.Body).Code)
	}
}
