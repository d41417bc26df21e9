package gateway_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/provider/gateway/gatewaytest"
	"github.com/moorage-dev/moorage/provider/gateway/jwt"
)

func TestAddressesAreMovedListedParkedReleasedAndLimited(t *testing.T) {
	s := gatewaytest.Start(t, gateway.Config{})
	c := s.Client(t)
	moved, err := c.MigrateEndpoints(t.Context(), gatewaytest.Lease(gatewaytest.Tenant), []string{"my-ip", "other"})
	require.NoError(t, err)
	assert.True(t, moved[0].Moved)
	assert.Equal(t, api.RuleEndpointNotAsked, moved[1].Rule)
	ip, err := c.ParkIP(t.Context(), "my-ip")
	require.NoError(t, err)
	assert.True(t, ip.Retained)
	held, err := c.HeldIPs(t.Context())
	require.NoError(t, err)
	require.Len(t, held.IPs, 1)
	assert.Equal(t, ip, held.IPs[0])
	assert.Equal(t, "1.5", held.ParkPrices[0].AmountPerBlock.String())
	ip, err = c.ReleaseIP(t.Context(), "my-ip")
	require.NoError(t, err)
	assert.False(t, ip.Retained)
	limit := api.SourceLimit{Proto: "UDP", ExternalPort: 53, Sources: []netip.Prefix{netip.MustParsePrefix("2001:db8::/32")}}
	require.NoError(t, c.LimitSources(t.Context(), "my-ip", limit))
	assert.Equal(t, []api.SourceLimit{limit}, s.Backend.SourceLimits())
	_, err = c.ParkIP(t.Context(), "other")
	require.ErrorIs(t, err, market.ErrNotFound)
	_, err = c.MigrateEndpoints(t.Context(), gatewaytest.Lease(gatewaytest.Tenant), nil)
	require.ErrorIs(t, err, api.ErrMalformed)
}

func TestATokenMovesNoAddressOfADeploymentItIsNotFor(t *testing.T) {
	w := newWallet(t)
	lease := gatewaytest.Lease(w.addr)
	lease.DSeq = 8 // deployment 7 has the address
	backend := gatewaytest.NewBackend(gatewaytest.Lease(w.addr), lease)
	v, err := jwt.NewVerifier(jwt.Config{Provider: gatewaytest.Provider})
	require.NoError(t, err)
	s := gatewaytest.Start(t, gateway.Config{Backend: backend, Tokens: v})
	move := func(dseqs ...uint64) error {
		p := jwt.Permission{Provider: gatewaytest.Provider, Access: jwt.Granular}
		for _, d := range dseqs {
			p.Deployments = append(p.Deployments, jwt.Deployment{DSeq: d, Scope: []api.Scope{api.ScopeIPMigrate}, Services: []string{"web"}})
		}
		token := w.token(t, jwt.Leases{Access: jwt.Granular, Permissions: []jwt.Permission{p}})
		_, err := tokenClient(t, s, token).MigrateEndpoints(t.Context(), lease, []string{"my-ip"})
		return err
	}
	require.ErrorIs(t, move(8), api.ErrForbidden)
	require.ErrorIs(t, move(7), api.ErrForbidden)
	require.NoError(t, move(7, 8))
}

func TestABackEndWithoutAddressesSaysSo(t *testing.T) {
	g := newGateway(t, gateway.Config{Backend: panicking{gatewaytest.NewBackend()}, Certificates: everybody{}})
	for target, body := range map[string]string{
		"POST /lease/7/1/1/endpoints": `{"endpoints":["x"]}`, "GET /ips": "", "POST /ips/x/park": "", "POST /ips/x/release": "",
		"PUT /ips/x/sources": `{"proto":"TCP"}`,
	} {
		method, path, _ := strings.Cut(target, " ")
		w := httptest.NewRecorder()
		g.ServeHTTP(w, asTenant(httptest.NewRequest(method, path, strings.NewReader(body))))
		assert.Equal(t, http.StatusNotImplemented, w.Code, target)
	}
}
