package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/provider/gateway/gatewaytest"
	"github.com/moorage-dev/moorage/provider/gateway/mtls"
	"github.com/moorage-dev/moorage/provider/gateway/stream"
)

// patience bounds waits for what must happen.
const patience = 10 * time.Second

// browser returns an HTTP client that checks nothing of the server.
func browser(tb testing.TB, certs ...tls.Certificate) *http.Client {
	tb.Helper()
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: certs}}
	tb.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// path fills the pattern of a route in for the tenant's lease.
func path(rt gateway.Route) string {
	p := strings.NewReplacer("{dseq}", "7", "{gseq}", "1", "{oseq}", "1", "{service}", "web", "{endpoint}", "my-ip").Replace(rt.Pattern)
	if strings.HasSuffix(p, "/shell") {
		p += "?service=web&cmd0=echo"
	}
	return p
}

// answer is a response whose body is closed when the test ends.
type answer struct {
	Status int
	Header http.Header
	Body   io.Reader
}

// get makes a request that no test need clean up after.
func get(tb testing.TB, c *http.Client, url string) answer {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, url, nil)
	require.NoError(tb, err)
	resp, err := c.Do(req)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = resp.Body.Close() })
	return answer{resp.StatusCode, resp.Header, resp.Body}
}

// dial opens a WebSocket until the test ends, or returns the refusal.
func dial(tb testing.TB, c *http.Client, url string, header http.Header) (*websocket.Conn, answer) {
	tb.Helper()
	//nolint:bodyclose // the library keeps the body, closed
	conn, resp, err := websocket.Dial(tb.Context(), url, &websocket.DialOptions{HTTPClient: c, HTTPHeader: header})
	require.NotNil(tb, resp, err)
	if err == nil {
		tb.Cleanup(func() { _ = conn.CloseNow() })
		return conn, answer{resp.StatusCode, resp.Header, nil}
	}
	return nil, answer{resp.StatusCode, resp.Header, resp.Body}
}

func errorOf(tb testing.TB, r io.Reader) *api.Error {
	tb.Helper()
	var doc api.Body
	require.NoError(tb, json.NewDecoder(r).Decode(&doc), "every refusal is JSON")
	require.NotNil(tb, doc.Error)
	return doc.Error
}

func TestEveryRouteWithEveryKindOfCredential(t *testing.T) {
	s := gatewaytest.Start(t, gateway.Config{Tokens: tokens{}, Limits: gateway.Limits{AnonymousBurst: 10_000}})
	require.NoError(t, s.Backend.PutManifest(t.Context(), gatewaytest.Lease(gatewaytest.Tenant).DeploymentID, nil))
	revoked := gatewaytest.Certificate(t, gatewaytest.Tenant)
	s.Registry.Revoke(s.Registry.Publish(t, revoked))
	expired, err := mtls.Generate(mtls.Request{Owner: gatewaytest.Tenant, Validity: time.Minute}, time.Now().Add(-time.Hour))
	require.NoError(t, err)
	s.Registry.Publish(t, expired)
	stranger := gatewaytest.Certificate(t, gatewaytest.Stranger)
	s.Registry.Publish(t, stranger)
	double := s.TenantCert
	double.Certificate = append(double.Certificate[:1:1], stranger.Certificate...)

	credentials := []struct {
		name   string
		client *http.Client
		token  string
		want   int // for routes that need a credential; 0 is success
	}{
		{"none", browser(t), "", 401},
		{"unknown certificate", browser(t, gatewaytest.Certificate(t, gatewaytest.Tenant)), "", 401},
		{"revoked certificate", browser(t, revoked), "", 401},
		{"expired certificate", browser(t, expired), "", 401},
		{"two certificates", browser(t, double), "", 401},
		{"certificate and token", browser(t, s.TenantCert), "Bearer tenant", 401},
		{"bad token", browser(t), "Bearer nonsense", 401},
		{"another scheme", browser(t), "Basic dGVuYW50Og==", 401},
		{"empty token", browser(t), "Bearer ", 401},
		{"another tenant", browser(t, stranger), "", 404},
		{"token without grants", browser(t), "Bearer nothing", 403},
		{"the tenant", browser(t, s.TenantCert), "", 0},
		{"token of the tenant", browser(t), "Bearer tenant", 0},
	}
	for _, rt := range gateway.Routes() {
		for _, cred := range credentials {
			t.Run(rt.Method+" "+rt.Pattern+"/"+cred.name, func(t *testing.T) {
				got, body := ask(t, s, rt, cred.client, cred.token)
				want := expect(rt, cred.want)
				require.Equal(t, want, got, body)
				if got >= 400 && got != 404 {
					assert.NotContains(t, body, "web", "nothing of the lease in %s", body)
				}
			})
		}
	}
}

// expect returns the status that a route should answer.
func expect(rt gateway.Route, refused int) int {
	switch {
	case rt.Scope == api.ScopePublic:
		return http.StatusOK
	case rt.Pattern == "/ips" && refused == http.StatusNotFound:
		return http.StatusOK // whoever has nothing gets an empty list
	case rt.Scope == api.ScopeAny && refused != http.StatusUnauthorized:
		return http.StatusOK // no lease is asked about
	case refused != 0:
		return refused
	case strings.HasSuffix(rt.Pattern, "/shell"):
		return http.StatusSwitchingProtocols
	case rt.Method == http.MethodPut, strings.HasSuffix(rt.Pattern, "/restart"):
		return http.StatusNoContent
	}
	return http.StatusOK
}

// ask makes the request of a route and returns the status and the beginning of
// the body.
func ask(t *testing.T, s *gatewaytest.Server, rt gateway.Route, c *http.Client, token string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	header := http.Header{}
	if token != "" {
		header.Set("Authorization", token)
	}
	if strings.HasSuffix(rt.Pattern, "/shell") {
		conn, got := dial(t, c, s.URI()+path(rt), header)
		if conn != nil {
			_ = conn.CloseNow()
			return got.Status, ""
		}
		body, _ := io.ReadAll(got.Body)
		return got.Status, string(body)
	}
	body := "[]"
	switch {
	case strings.HasSuffix(rt.Pattern, "/hostnames"):
		body = `{"hostnames":["a.example"]}`
	case strings.HasSuffix(rt.Pattern, "/endpoints"):
		body = `{"endpoints":["my-ip"]}`
	case strings.HasSuffix(rt.Pattern, "/sources"):
		body = `{"proto":"TCP","external_port":80,"sources":["10.0.0.0/8"]}`
	case rt.Method == http.MethodPost:
		body = `{"groups":[]}`
	}
	req, err := http.NewRequestWithContext(ctx, rt.Method, s.URI()+path(rt), strings.NewReader(body))
	require.NoError(t, err)
	req.Header = header
	resp, err := c.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	begin := make([]byte, 1<<10)
	n := 0
	if resp.StatusCode >= 400 {
		n, _ = io.ReadFull(resp.Body, begin)
	}
	return resp.StatusCode, string(begin[:n])
}

// tokens knows a token that grants all and one that grants nothing.
type tokens struct{}

type noGrants struct{}

func (noGrants) Allows(api.Access) bool { return false }

func (tokens) VerifyToken(_ context.Context, token string, _ time.Time) (market.Address, api.Grants, error) {
	switch token {
	case "tenant":
		return gatewaytest.Tenant, api.All{}, nil
	case "nothing":
		return gatewaytest.Tenant, noGrants{}, nil
	}
	return "", nil, api.ErrUnauthenticated
}

func TestPlainHandlerRefusesInsteadOfPanicking(t *testing.T) {
	g := newGateway(t, gateway.Config{})
	for _, rt := range gateway.Routes() {
		w := httptest.NewRecorder()
		g.ServeHTTP(w, httptest.NewRequest(rt.Method, path(rt), nil))
		want := expect(rt, http.StatusUnauthorized)
		assert.Equal(t, want, w.Code, rt.Pattern)
		assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	}
}

func newGateway(tb testing.TB, cfg gateway.Config) *gateway.Gateway {
	tb.Helper()
	cfg.Provider = gatewaytest.Provider
	if cfg.Backend == nil {
		cfg.Backend = gatewaytest.NewBackend(gatewaytest.Lease(gatewaytest.Tenant))
	}
	if cfg.Certificates == nil {
		v, err := mtls.NewVerifier(gatewaytest.NewRegistry(), mtls.Config{})
		require.NoError(tb, err)
		cfg.Certificates = v
	}
	g, err := gateway.New(cfg)
	require.NoError(tb, err)
	tb.Cleanup(g.Close)
	return g
}

// everybody takes any certificate for the tenant's.
type everybody struct{}

func (everybody) Verify(context.Context, *x509.Certificate, mtls.Use, time.Time) (market.Address, error) {
	return gatewaytest.Tenant, nil
}

// asTenant makes a request that a server would have of the tenant.
func asTenant(r *http.Request) *http.Request {
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}}
	return r
}

func TestMalformedRequestsAreRefused(t *testing.T) {
	g := newGateway(t, gateway.Config{Certificates: everybody{}, Limits: gateway.Limits{TenantBurst: 10_000}})
	cases := []struct {
		method, target, body string
		status               int
		code                 api.Code
	}{
		{"GET", "/nothing", "", 404, api.CodeNotFound},
		{"GET", "/", "", 404, api.CodeNotFound},
		{"DELETE", "/version", "", 405, api.CodeMethod},
		{"POST", "/lease/7/1/1/status", "", 405, api.CodeMethod},
		{"GET", "/lease/0/1/1/status", "", 400, api.CodeMalformed},
		{"GET", "/lease/7/01/1/status", "", 400, api.CodeMalformed},
		{"GET", "/lease/7/1/+1/status", "", 400, api.CodeMalformed},
		{"GET", "/lease/7/4294967296/1/status", "", 400, api.CodeMalformed},
		{"GET", "/lease/18446744073709551616/1/1/status", "", 400, api.CodeMalformed},
		{"GET", "/lease/8/1/1/status", "", 404, api.CodeNotFound},
		{"GET", "/lease/7/1/1/status?x=1", "", 400, api.CodeMalformed},
		{"GET", "/lease/7/1/1/logs?services=web", "", 400, api.CodeMalformed},
		{"GET", "/lease/7/1/1/logs?follow=yes", "", 400, api.CodeMalformed},
		{"GET", "/lease/7/1/1/logs?tail=many", "", 400, api.CodeMalformed},
		{"GET", "/lease/7/1/1/logs?tail=99999999", "", 400, api.CodeMalformed},
		{"GET", "/lease/7/1/1/logs?tail=1&tail=2", "", 400, api.CodeMalformed},
		{"GET", "/lease/7/1/1/logs?stream=x", "", 400, api.CodeMalformed},
		{"GET", "/lease/7/1/1/shell?service=web&cmd0=sh", "", 400, api.CodeMalformed},
		{"PUT", "/deployment/7/manifest", "{", 400, api.CodeMalformed},
		{"PUT", "/deployment/7/manifest", `[{"nme":"x"}]`, 400, api.CodeMalformed},
		{"PUT", "/deployment/7/manifest", "[" + strings.Repeat(" ", gateway.MaxManifest), 413, api.CodeTooLarge},
		{"PUT", "/deployment/8/manifest", "[]", 404, api.CodeNotFound},
		{"GET", "/lease/7/1/1/logs?since=yesterday", "", 400, api.CodeMalformed},
		{"GET", "/lease/7/1/1/logs?replica=-1", "", 400, api.CodeMalformed},
		{"POST", "/lease/7/1/1/hostnames", `{"hostnames":[]}`, 400, api.CodeMalformed},
		{"POST", "/lease/7/1/1/hostnames", `{"hostnames":["` + strings.Repeat(`x","`, 300) + `"]}`, 400, api.CodeMalformed},
		{"POST", "/lease/7/1/1/hostnames", `{"hostnames":["` + strings.Repeat("x", gateway.MaxMigration), 413, api.CodeTooLarge},
		{"POST", "/lease/8/1/1/hostnames", `{"hostnames":["x"]}`, 404, api.CodeNotFound},
		{"POST", "/lease/7/1/1/service/api/restart", "", 404, api.CodeNotFound},
		{"GET", "/lease/7/1/1/service/web/restart", "", 405, api.CodeMethod},
		{"POST", "/screening", `{"groups":[]}{}`, 400, api.CodeMalformed},
		{"POST", "/screening", `{"groups":[],"x":1}`, 400, api.CodeMalformed},
		{"POST", "/screening", `{"groups":"` + strings.Repeat("x", gateway.MaxScreening), 413, api.CodeTooLarge},
	}
	for _, tc := range cases {
		t.Run(tc.method+" "+tc.target, func(t *testing.T) {
			w := httptest.NewRecorder()
			g.ServeHTTP(w, asTenant(httptest.NewRequest(tc.method, tc.target, strings.NewReader(tc.body))))
			require.Equal(t, tc.status, w.Code, w.Body.String())
			assert.Equal(t, tc.code, errorOf(t, w.Body).Code)
			assert.Equal(t, "application/json", w.Header().Get("Content-Type"))
		})
	}
}

func TestShellArgumentsAreChecked(t *testing.T) {
	s := gatewaytest.Start(t, gateway.Config{})
	for _, query := range []string{
		"", "service=web", "cmd0=sh", "service=web&cmd0=", "service=web&cmd1=sh", "service=web&cmd0=sh&cmd2=x",
		"service=web&cmd0=sh&cmd256=x", "service=web&cmd0=sh&cmd01=x", "service=web&cmd0=sh&tty=maybe",
		"service=web&cmd0=sh&replica=-1", "service=web&cmd0=sh&stream=x&received=y",
	} {
		conn, got := dial(t, browser(t, s.TenantCert), s.URI()+"/lease/7/1/1/shell?"+query, nil)
		require.Nil(t, conn, query)
		assert.Equal(t, http.StatusBadRequest, got.Status, query)
		assert.Equal(t, api.CodeMalformed, errorOf(t, got.Body).Code, query)
	}
}

func TestPanicOfTheBackendIsOneAnswer(t *testing.T) {
	g := newGateway(t, gateway.Config{Backend: panicking{}, Certificates: everybody{}})
	w := httptest.NewRecorder()
	g.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/status", nil))
	require.Equal(t, http.StatusInternalServerError, w.Code)
	assert.NotContains(t, w.Body.String(), "secret")
}

type panicking struct{ gateway.Backend }

func (panicking) Status(context.Context) (api.ProviderStatus, error) { panic("secret") }

func TestAbilitiesThatTheBackendLacksAreUnsupported(t *testing.T) {
	g := newGateway(t, gateway.Config{Backend: panicking{gatewaytest.NewBackend()}, Certificates: everybody{}})
	for _, target := range []string{"/lease/7/1/1/logs", "/lease/7/1/1/events", "/lease/7/1/1/shell?service=web&cmd0=sh"} {
		w := httptest.NewRecorder()
		g.ServeHTTP(w, asTenant(httptest.NewRequest(http.MethodGet, target, nil)))
		assert.Equal(t, http.StatusNotImplemented, w.Code, target)
		assert.Equal(t, api.CodeUnsupported, errorOf(t, w.Body).Code)
	}
}

func TestStrangersAreSlowedDownByAddressAndTenantsByName(t *testing.T) {
	g := newGateway(t, gateway.Config{Certificates: everybody{}, Limits: gateway.Limits{
		AnonymousRate: 1, AnonymousBurst: 3, TenantRate: 1, TenantBurst: 5,
	}})
	do := func(r *http.Request, from string) int {
		r.RemoteAddr = from
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r)
		if w.Code == http.StatusTooManyRequests {
			assert.Equal(t, "1", w.Header().Get("Retry-After"))
		}
		return w.Code
	}
	lease := func() *http.Request { return httptest.NewRequest(http.MethodGet, "/lease/7/1/1/status", nil) }
	for range 3 {
		assert.Equal(t, 401, do(lease(), "192.0.2.1:1000"))
	}
	assert.Equal(t, 429, do(lease(), "192.0.2.1:2000"))
	assert.Equal(t, 429, do(httptest.NewRequest(http.MethodGet, "/version", nil), "192.0.2.1:1"))
	assert.Equal(t, 429, do(httptest.NewRequest(http.MethodGet, "/x", nil), "192.0.2.1:1"))
	assert.Equal(t, 200, do(httptest.NewRequest(http.MethodGet, "/version", nil), "192.0.2.2:1"))
	for i := range 3 {
		assert.Equal(t, 200, do(httptest.NewRequest(http.MethodGet, "/version", nil), "[2001:db8::"+strconv.Itoa(i)+"]:1"))
	}
	assert.Equal(t, 429, do(httptest.NewRequest(http.MethodGet, "/version", nil), "[2001:db8::ffff]:1"), "one /64 is one caller")
	for range 5 {
		assert.Equal(t, 200, do(asTenant(lease()), "192.0.2.3:1"))
	}
	assert.Equal(t, 429, do(asTenant(lease()), "192.0.2.4:1"))
}

func TestStreamsPerTenantAreBounded(t *testing.T) {
	s := gatewaytest.Start(t, gateway.Config{Limits: gateway.Limits{StreamsPerTenant: 2, Streams: 3}})
	url := s.URI() + "/lease/7/1/1/logs?follow=1"
	ctx, cancel := context.WithCancel(t.Context())
	for range 2 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		require.NoError(t, err)
		resp, err := browser(t, s.TenantCert).Do(req)
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		require.Equal(t, http.StatusOK, resp.StatusCode)
	}
	got := get(t, browser(t, s.TenantCert), url)
	require.Equal(t, http.StatusTooManyRequests, got.Status)
	assert.Equal(t, api.CodeTooMany, errorOf(t, got.Body).Code)
	cancel()
	require.Eventually(t, func() bool {
		return get(t, browser(t, s.TenantCert), s.URI()+"/lease/7/1/1/logs").Status == http.StatusOK
	}, patience, 10*time.Millisecond, "ended streams make room")
}

func TestPlainLogsAreLines(t *testing.T) {
	s := gatewaytest.Start(t, gateway.Config{})
	s.Backend.Print(3)
	resp := get(t, browser(t, s.TenantCert), s.URI()+"/lease/7/1/1/logs?tail=2")
	assert.Equal(t, "application/x-ndjson", resp.Header.Get("Content-Type"))
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Equal(t, `{"service":"web","replica":0,"time":"1970-01-01T00:00:01Z","stderr":true,"text":"line 1"}
{"service":"web","replica":0,"time":"1970-01-01T00:00:02Z","text":"line 2"}
`, string(body))
}

func TestPlainStreamThatIsEndedSaysWhy(t *testing.T) {
	s := gatewaytest.Start(t, gateway.Config{Limits: gateway.Limits{Recheck: 20 * time.Millisecond}})
	s.Backend.Print(1)
	resp := get(t, browser(t, s.TenantCert), s.URI()+"/lease/7/1/1/logs?follow=1")
	lines := bufio.NewScanner(resp.Body)
	require.True(t, lines.Scan())
	s.Registry.Revoke(s.TenantCertID)
	require.True(t, lines.Scan())
	assert.Equal(t, api.CodeUnauthenticated, errorOf(t, bytes.NewReader(lines.Bytes())).Code)
	assert.False(t, lines.Scan())
}

func TestReaderWhoDoesNotReadHoldsUpNobody(t *testing.T) {
	s := gatewaytest.Start(t, gateway.Config{})
	s.Backend.Print(100_000) // far more than sockets and buffers hold
	url := s.URI() + "/lease/7/1/1/logs"
	slow := get(t, browser(t, s.TenantCert), url)
	one := make([]byte, 1)
	_, err := slow.Body.Read(one)
	require.NoError(t, err)
	conn, _ := dial(t, browser(t, s.TenantCert), url, nil) // is never read
	require.NotNil(t, conn)

	n := 0
	for _, err := range s.Client(t).Logs(t.Context(), gatewaytest.Lease(gatewaytest.Tenant), driver.LogOptions{Tail: 5000}) {
		require.NoError(t, err)
		n++
	}
	assert.Equal(t, 5000, n)
}

func TestStreamBelongsToItsTenantLeaseAndScope(t *testing.T) {
	other := gatewaytest.Lease(gatewaytest.Tenant)
	other.DSeq = 8
	backend := gatewaytest.NewBackend(gatewaytest.Lease(gatewaytest.Tenant), gatewaytest.Lease(gatewaytest.Stranger), other)
	s := gatewaytest.Start(t, gateway.Config{Backend: backend})
	stranger := gatewaytest.Certificate(t, gatewaytest.Stranger)
	s.Registry.Publish(t, stranger)
	open := func(cert tls.Certificate, target string) (*websocket.Conn, int) {
		conn, got := dial(t, browser(t, cert), s.URI()+target, nil)
		return conn, got.Status
	}
	conn, code := open(s.TenantCert, "/lease/7/1/1/logs?follow=1")
	require.Equal(t, http.StatusSwitchingProtocols, code)
	hello, err := stream.ReadHello(t.Context(), conn)
	require.NoError(t, err)
	require.NoError(t, conn.CloseNow())

	resume := "&stream=" + hello.Stream + "&received=0"
	_, code = open(stranger, "/lease/7/1/1/logs?follow=1"+resume)
	assert.Equal(t, http.StatusGone, code, "another tenant")
	_, code = open(s.TenantCert, "/lease/8/1/1/logs?follow=1"+resume)
	assert.Equal(t, http.StatusGone, code, "another lease")
	_, code = open(s.TenantCert, "/lease/7/1/1/shell?service=web&cmd0=sh"+resume)
	assert.Equal(t, http.StatusGone, code, "another scope")
	_, code = open(s.TenantCert, "/lease/7/1/1/logs?stream=made-up&received=0")
	assert.Equal(t, http.StatusGone, code, "no such stream")
	conn, code = open(s.TenantCert, "/lease/7/1/1/logs?follow=1"+resume)
	require.Equal(t, http.StatusSwitchingProtocols, code)
	again, err := stream.ReadHello(t.Context(), conn)
	require.NoError(t, err)
	assert.Equal(t, hello.Stream, again.Stream)
}

func TestPageOfAnotherOriginGetsNoShell(t *testing.T) {
	s := gatewaytest.Start(t, gateway.Config{})
	conn, got := dial(t, browser(t, s.TenantCert), s.URI()+"/lease/7/1/1/shell?service=web&cmd0=cat", http.Header{"Origin": {"https://evil.example"}})
	require.Nil(t, conn)
	assert.Equal(t, http.StatusForbidden, got.Status)
	assert.Equal(t, api.CodeForbidden, errorOf(t, got.Body).Code)

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URI()+"/lease/7/1/1/shell?service=web&cmd0=cat", nil)
	require.NoError(t, err)
	req.Header.Set("Upgrade", "websocket") // and no more of a handshake
	resp, err := browser(t, s.TenantCert).Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	assert.GreaterOrEqual(t, resp.StatusCode, 400)
	assert.Zero(t, s.Backend.Begun(), "no command was begun")
}

func TestConnectionsPerAddressAreBounded(t *testing.T) {
	s := gatewaytest.Start(t, gateway.Config{Limits: gateway.Limits{ConnectionsPerAddress: 1}})
	first, err := net.Dial("tcp", s.Network.Addr())
	require.NoError(t, err)
	defer func() { _ = first.Close() }()
	require.Eventually(t, func() bool {
		second, err := net.Dial("tcp", s.Network.Addr())
		require.NoError(t, err)
		defer func() { _ = second.Close() }()
		require.NoError(t, second.SetReadDeadline(time.Now().Add(time.Second)))
		_, err = second.Read(make([]byte, 1))
		return errors.Is(err, io.EOF) || isReset(err)
	}, patience, 10*time.Millisecond, "one connection per address")
}

func isReset(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && !op.Timeout()
}

func TestTLSBelow13IsRefused(t *testing.T) {
	s := gatewaytest.Start(t, gateway.Config{})
	_, err := tls.Dial("tcp", s.Network.Addr(), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
	require.Error(t, err)
	resp, err := http.Get("http://" + s.Network.Addr() + "/version")
	if err == nil {
		assert.Equal(t, http.StatusBadRequest, resp.StatusCode, "plain HTTP")
		_ = resp.Body.Close()
	}
}

func TestClosedGatewayAnswersUnavailable(t *testing.T) {
	g := newGateway(t, gateway.Config{})
	g.Close()
	g.Close()
	w := httptest.NewRecorder()
	g.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/version", nil))
	assert.Equal(t, http.StatusServiceUnavailable, w.Code)
}

func TestConfigurationFaultsAreListed(t *testing.T) {
	_, err := gateway.New(gateway.Config{Limits: gateway.Limits{Streams: -1}})
	require.ErrorIs(t, err, market.ErrInvalid)
	for _, want := range []string{"provider", "backend", "certificates", "limits"} {
		assert.ErrorContains(t, err, want)
	}
}

func TestOpenAPIDescribesEveryRoute(t *testing.T) {
	g := newGateway(t, gateway.Config{})
	w := httptest.NewRecorder()
	g.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	require.Equal(t, http.StatusOK, w.Code)
	var doc struct {
		Paths      map[string]map[string]map[string]any
		Components struct{ Schemas map[string]any }
	}
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &doc))
	for _, rt := range gateway.Routes() {
		op := doc.Paths[rt.Pattern][strings.ToLower(rt.Method)]
		require.NotNil(t, op, rt.Pattern)
		assert.Equal(t, string(rt.Scope), op["x-scope"])
		assert.Equal(t, rt.Scope != api.ScopePublic, op["security"] != nil)
	}
	for _, name := range []string{"LeaseStatus", "Error", "ProviderStatus", "LogLine", "Event"} {
		assert.Contains(t, doc.Components.Schemas, name)
	}
	refs := strings.Split(w.Body.String(), "#/components/schemas/")[1:]
	for _, ref := range refs {
		name, _, _ := strings.Cut(ref, `"`)
		assert.NotNil(t, doc.Components.Schemas[name], name)
	}
}

func FuzzRequestsNeverPanicAndNeverSucceedWithoutCredential(f *testing.F) {
	for _, rt := range gateway.Routes() {
		f.Add(rt.Method, path(rt), "Authorization", "Bearer x", []byte("[]"))
	}
	f.Add("GET", "/lease/%2f/1/1/logs", "Upgrade", "websocket", []byte{0})
	g := newGateway(f, gateway.Config{Tokens: tokens{}, Limits: gateway.Limits{AnonymousBurst: 1 << 30, AnonymousRate: 1 << 30}})
	public := map[string]bool{}
	for _, rt := range gateway.Routes() {
		public[rt.Method+" "+rt.Pattern] = rt.Scope == api.ScopePublic
	}
	f.Fuzz(func(t *testing.T, method, target, header, value string, body []byte) {
		r, err := http.NewRequest(method, "https://gateway.example"+target, bytes.NewReader(body))
		if err != nil || value == "Bearer tenant" || value == "Bearer nothing" {
			return
		}
		r.RequestURI = target
		r.RemoteAddr = "192.0.2.1:1"
		r.Header[http.CanonicalHeaderKey(header)] = []string{value}
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Fatalf("%s %q answered %d: %s", method, target, w.Code, w.Body)
		}
		if w.Code < 300 && !public[r.Pattern] { // HEAD goes by the pattern of GET
			t.Fatalf("%s %q answered %d without a credential", method, target, w.Code)
		}
	})
}
