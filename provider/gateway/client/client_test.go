package client_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/provider/gateway/client"
	"github.com/moorage-dev/moorage/provider/gateway/gatewaytest"
	"github.com/moorage-dev/moorage/provider/gateway/mtls"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// patience bounds waits for what must happen.
const patience = 10 * time.Second

func someManifest() manifest.Manifest {
	return manifest.Manifest{{Name: "main", Services: []manifest.Service{{
		Name: "web", Image: "example/web", Count: 1, Env: []string{"SECRET=x"},
		Resources: market.Resources{
			ID: 1, CPU: market.CPU{MilliCores: 100}, Memory: market.Memory{Bytes: 1 << 20},
			Storage: []market.Volume{{Name: "default", Bytes: 1 << 20}},
		},
		Credentials: &manifest.Credentials{Host: "registry.example", Username: "me", Password: "hunter2"},
	}}}}
}

func TestManifestGoesThereAndBackWithoutPasswords(t *testing.T) {
	s := gatewaytest.Start(t, gateway.Config{})
	c, id := s.Client(t), gatewaytest.Lease(gatewaytest.Tenant).DeploymentID
	m := someManifest()
	require.NoError(t, c.PutManifest(t.Context(), id, m))

	held, err := s.Backend.Manifest(t.Context(), id)
	require.NoError(t, err)
	want, err := m.Version()
	require.NoError(t, err)
	got, err := held.Version()
	require.NoError(t, err)
	assert.Equal(t, want, got, "the provider has the manifest byte for byte")

	back, err := c.Manifest(t.Context(), id)
	require.NoError(t, err)
	assert.Empty(t, back[0].Services[0].Credentials.Password)
	assert.Equal(t, "me", back[0].Services[0].Credentials.Username)
	assert.Equal(t, "hunter2", held[0].Services[0].Credentials.Password, "the provider's copy is not touched")
}

func TestStatusOfLeaseAndService(t *testing.T) {
	s := gatewaytest.Start(t, gateway.Config{})
	c, id := s.Client(t), gatewaytest.Lease(gatewaytest.Tenant)
	st, err := c.LeaseStatus(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, api.PhaseActive, st.Phase)
	assert.Equal(t, id, st.Lease)
	require.Len(t, st.Services, 1)
	assert.Equal(t, uint16(30001), st.Services[0].Ports[0].ExternalPort)

	one, err := c.ServiceStatus(t.Context(), id, "web")
	require.NoError(t, err)
	assert.Equal(t, st.Services[0], one)
	_, err = c.ServiceStatus(t.Context(), id, "none")
	require.ErrorIs(t, err, market.ErrNotFound)
}

func TestPublicRoutesNeedNoCertificate(t *testing.T) {
	s := gatewaytest.Start(t, gateway.Config{Software: "test 1.0"})
	c := s.ClientWith(t, tls.Certificate{})
	v, err := c.Version(t.Context())
	require.NoError(t, err)
	assert.Equal(t, api.Version{API: api.APIVersion, Software: "test 1.0"}, v)
	st, err := c.Status(t.Context())
	require.NoError(t, err)
	assert.Equal(t, gatewaytest.Provider, st.Provider)
	_, err = c.LeaseStatus(t.Context(), gatewaytest.Lease(gatewaytest.Tenant))
	require.ErrorIs(t, err, api.ErrUnauthenticated)
}

func TestScreeningAnswersPerGroup(t *testing.T) {
	s := gatewaytest.Start(t, gateway.Config{})
	offers, err := s.Client(t).Screen(t.Context(), []market.GroupSpec{{Name: "yes"}, {Name: "no"}})
	require.NoError(t, err)
	require.Len(t, offers, 2)
	assert.True(t, offers[0].Bid)
	assert.Equal(t, []api.Reason{{Rule: "no-node", Detail: "no node has room"}}, offers[1].Reasons)
}

func TestErrorsOfTheBackendArriveAsTheirSentinels(t *testing.T) {
	s := gatewaytest.Start(t, gateway.Config{})
	c, id := s.Client(t), gatewaytest.Lease(gatewaytest.Tenant)
	rule := market.Refuse(market.ErrMismatch, "manifest-hash", "want aa, got bb")
	cases := []struct {
		give   error
		want   error
		status int
	}{
		{market.ErrNotFound, market.ErrNotFound, 404},
		{driver.ErrNotFound, driver.ErrNotFound, 404},
		{market.ErrInvalid, market.ErrInvalid, 422},
		{rule, market.ErrMismatch, 422},
		{market.ErrState, market.ErrState, 409},
		{driver.ErrConflict, driver.ErrConflict, 409},
		{market.ErrUnauthorized, api.ErrForbidden, 403},
		{market.ErrLimit, api.ErrTooMany, 429},
		{driver.ErrExhausted, driver.ErrExhausted, 503},
		{&driver.TransientError{Err: errors.New("dial node-17")}, market.ErrUnavailable, 503},
		{market.ErrUnavailable, market.ErrUnavailable, 503},
		{errors.ErrUnsupported, errors.ErrUnsupported, 501},
		{errors.New("secret detail"), api.ErrInternal, 500},
	}
	for _, tc := range cases {
		t.Run(tc.give.Error(), func(t *testing.T) {
			s.Backend.Fail(tc.give)
			_, err := c.LeaseStatus(t.Context(), id)
			require.ErrorIs(t, err, tc.want)
			e, ok := errors.AsType[*api.Error](err)
			require.True(t, ok)
			assert.Equal(t, tc.status, e.Status)
			assert.NotContains(t, e.Message, "secret detail")
			assert.NotContains(t, e.Message, "node-17")
		})
	}
	s.Backend.Fail(rule)
	_, err := c.LeaseStatus(t.Context(), id)
	e, _ := errors.AsType[*api.Error](err)
	assert.Equal(t, "manifest-hash", e.Rule)
	assert.Equal(t, "want aa, got bb", e.Message)
}

func TestServerThatIsNotTheProviderIsRefused(t *testing.T) {
	s := gatewaytest.Start(t, gateway.Config{})
	other, err := client.New(client.Config{
		Provider: gatewaytest.Stranger, HostURI: s.URI(), Market: s.Registry, Certificate: s.TenantCert,
	})
	require.NoError(t, err)
	defer other.Close()
	_, err = other.Version(t.Context())
	require.ErrorIs(t, err, mtls.ErrRejected)

	s.Registry.Revoke(s.CertID)
	_, err = s.Client(t).Version(t.Context())
	require.ErrorIs(t, err, mtls.ErrRejected)

	s.Registry.Fail(errors.New("no market"))
	_, err = s.Client(t).Version(t.Context())
	require.ErrorIs(t, err, market.ErrUnavailable)
}

func TestLogsFollowAndEnd(t *testing.T) {
	s := gatewaytest.Start(t, gateway.Config{})
	c, id := s.Client(t), gatewaytest.Lease(gatewaytest.Tenant)
	s.Backend.Print(100)

	var got []driver.LogLine
	for l, err := range c.Logs(t.Context(), id, driver.LogOptions{Tail: 10}) {
		require.NoError(t, err)
		got = append(got, l)
	}
	require.Len(t, got, 10)
	assert.Equal(t, driver.LogLine{Service: "web", Time: time.Unix(99, 0).UTC(), Stderr: true, Text: "line 99"}, got[9])

	n := 0
	for l, err := range c.Logs(t.Context(), id, driver.LogOptions{Tail: 1, Follow: true}) {
		require.NoError(t, err)
		assert.Equal(t, "line "+strconv.Itoa(99+n), l.Text)
		if n++; n == 5 {
			break
		}
		if n == 1 {
			s.Backend.Print(4)
		}
	}
	assert.Equal(t, 5, n)
}

func TestLogsOfOthersAreNotFound(t *testing.T) {
	s := gatewaytest.Start(t, gateway.Config{})
	strange := gatewaytest.Certificate(t, gatewaytest.Stranger)
	s.Registry.Publish(t, strange)
	c := s.ClientWith(t, strange)
	for _, err := range c.Logs(t.Context(), gatewaytest.Lease(gatewaytest.Stranger), driver.LogOptions{}) {
		require.ErrorIs(t, err, market.ErrNotFound)
	}
	for _, err := range c.Logs(t.Context(), gatewaytest.Lease(gatewaytest.Tenant), driver.LogOptions{}) {
		require.ErrorIs(t, err, market.ErrInvalid, "the client knows that the lease is another tenant's")
	}
}

func TestEventsBeginWithThePhase(t *testing.T) {
	s := gatewaytest.Start(t, gateway.Config{})
	s.Backend.Print(1)
	var got []api.Event
	for e, err := range s.Client(t).Events(t.Context(), gatewaytest.Lease(gatewaytest.Tenant)) {
		require.NoError(t, err)
		if got = append(got, e); len(got) == 2 {
			break
		}
	}
	assert.Equal(t, api.EventPhaseChanged, got[0].Kind)
	assert.Equal(t, "line 0", got[1].Message)
}

func TestExecGivesOutputAndExitCode(t *testing.T) {
	s := gatewaytest.Start(t, gateway.Config{})
	c, id := s.Client(t), gatewaytest.Lease(gatewaytest.Tenant)
	var out, errOut bytes.Buffer
	code, err := c.Exec(t.Context(), id, driver.Exec{Service: "web", Command: []string{"echo", "a b", "ü"}, Stdout: &out})
	require.NoError(t, err)
	assert.Zero(t, code)
	assert.Equal(t, "a b\nü\n", out.String())

	code, err = c.Exec(t.Context(), id, driver.Exec{Service: "web", Command: []string{"fail", "3"}, Stderr: &errOut})
	require.NoError(t, err)
	assert.Equal(t, 3, code)
	assert.Equal(t, "failing\n", errOut.String())

	_, err = c.Exec(t.Context(), id, driver.Exec{Service: "none", Command: []string{"echo"}})
	require.ErrorIs(t, err, driver.ErrNotFound)
	_, err = c.Exec(t.Context(), id, driver.Exec{Service: "web", Command: []string{"panic"}})
	require.ErrorIs(t, err, api.ErrInternal)
	_, err = c.Exec(t.Context(), id, driver.Exec{Service: "web"})
	require.ErrorIs(t, err, api.ErrMalformed)
}

func TestExecCarriesMoreThanTheWindowBothWays(t *testing.T) {
	s := gatewaytest.Start(t, gateway.Config{})
	in := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	var out bytes.Buffer
	code, err := s.Client(t).Exec(t.Context(), gatewaytest.Lease(gatewaytest.Tenant), driver.Exec{
		Service: "web", Command: []string{"cat"}, Stdin: strings.NewReader(in), Stdout: &out,
	})
	require.NoError(t, err)
	assert.Zero(t, code)
	assert.Equal(t, in, out.String())
}

func TestTerminalSizesArriveInOrder(t *testing.T) {
	s := gatewaytest.Start(t, gateway.Config{})
	stdin, keys := io.Pipe()
	sizes := make(chan driver.TerminalSize)
	screen, tty := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := s.Client(t).Exec(t.Context(), gatewaytest.Lease(gatewaytest.Tenant), driver.Exec{
			Service: "web", Command: []string{"size"}, TTY: true, Stdin: stdin, Stdout: tty, Resize: sizes,
		})
		_ = tty.CloseWithError(io.EOF)
		done <- err
	}()
	buf := make([]byte, 64)
	for _, want := range []driver.TerminalSize{{Width: 80, Height: 24}, {Width: 65535, Height: 1}} {
		sizes <- want
		n, err := screen.Read(buf)
		require.NoError(t, err)
		assert.Equal(t, strconv.Itoa(int(want.Width))+"x"+strconv.Itoa(int(want.Height))+"\n", string(buf[:n]))
	}
	require.NoError(t, keys.Close())
	require.NoError(t, <-done)
}

func TestEndOfTheContextKillsTheCommandAtOnce(t *testing.T) {
	s := gatewaytest.Start(t, gateway.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	_, err := s.Client(t).Exec(ctx, gatewaytest.Lease(gatewaytest.Tenant), driver.Exec{
		Service: "web", Command: []string{"hang"}, Stdout: writerFunc(func(p []byte) { cancel() }),
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Eventually(t, func() bool { return s.Backend.Killed() == 1 }, patience, time.Millisecond,
		"well before the grace time of %s", gateway.DefaultStreamGrace)
}

type writerFunc func(p []byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

func TestShellSurvivesLostConnections(t *testing.T) {
	s := gatewaytest.Start(t, gateway.Config{})
	stdin, keys := io.Pipe()
	screen, tty := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := s.Client(t).Exec(t.Context(), gatewaytest.Lease(gatewaytest.Tenant), driver.Exec{
			Service: "web", Command: []string{"cat"}, Stdin: stdin, Stdout: tty,
		})
		_ = tty.CloseWithError(io.EOF)
		done <- err
	}()
	for i := range 20 {
		text := "line " + strconv.Itoa(i) + "\n"
		_, err := io.WriteString(keys, text)
		require.NoError(t, err)
		if i%4 == 1 {
			s.Network.Cut() // with the line somewhere on its way
		}
		got := make([]byte, len(text))
		_, err = io.ReadFull(screen, got)
		require.NoError(t, err)
		require.Equal(t, text, string(got), "nothing lost, nothing twice")
	}
	require.NoError(t, keys.Close())
	require.NoError(t, <-done)
	assert.GreaterOrEqual(t, s.Network.Connections(), 6)
}

func TestFloodSurvivesLostConnections(t *testing.T) {
	s := gatewaytest.Start(t, gateway.Config{})
	var got bytes.Buffer
	cuts := 0
	code, err := s.Client(t).Exec(t.Context(), gatewaytest.Lease(gatewaytest.Tenant), driver.Exec{
		Service: "web", Command: []string{"flood", "4096"},
		Stdout: writerFunc(func(p []byte) {
			got.Write(p)
			if got.Len() > (cuts+1)<<20 {
				cuts++
				s.Network.Cut()
			}
		}),
	})
	require.NoError(t, err)
	assert.Zero(t, code)
	assert.Equal(t, 3, cuts)
	require.Equal(t, 4<<20, got.Len())
	for i := 0; i < 4096; i++ {
		require.Equal(t, byte('a'+i%26), got.Bytes()[i<<10], "kilobyte %d", i)
	}
}

func TestLogsSurviveLostConnections(t *testing.T) {
	s := gatewaytest.Start(t, gateway.Config{})
	s.Backend.Print(1)
	n := 0
	for l, err := range s.Client(t).Logs(t.Context(), gatewaytest.Lease(gatewaytest.Tenant), driver.LogOptions{Tail: -1, Follow: true}) {
		require.NoError(t, err)
		require.Equal(t, "line "+strconv.Itoa(n), l.Text)
		if n++; n == 200 {
			break
		}
		s.Backend.Print(1)
		if n%50 == 0 {
			s.Network.Cut()
		}
	}
	assert.Equal(t, 200, n)
}

func TestStreamIsLostWhenTheGraceTimeEnds(t *testing.T) {
	s := gatewaytest.Start(t, gateway.Config{Limits: gateway.Limits{StreamGrace: time.Second}})
	_, err := s.Client(t).Exec(t.Context(), gatewaytest.Lease(gatewaytest.Tenant), driver.Exec{
		Service: "web", Command: []string{"hang"}, Stdout: writerFunc(func([]byte) {
			s.Network.SetDown(true)
			s.Network.Cut()
		}),
	})
	require.ErrorIs(t, err, market.ErrUnavailable)
	require.Eventually(t, func() bool { return s.Backend.Killed() == 1 }, patience, 5*time.Millisecond)
}

func TestRevokedCertificateEndsOpenStreams(t *testing.T) {
	s := gatewaytest.Start(t, gateway.Config{Limits: gateway.Limits{Recheck: 20 * time.Millisecond}})
	_, err := s.Client(t).Exec(t.Context(), gatewaytest.Lease(gatewaytest.Tenant), driver.Exec{
		Service: "web", Command: []string{"hang"}, Stdout: writerFunc(func([]byte) { s.Registry.Revoke(s.TenantCertID) }),
	})
	require.ErrorIs(t, err, api.ErrUnauthenticated)
}

func TestStopOfTheGatewayEndsStreamsWithAReason(t *testing.T) {
	s := gatewaytest.Start(t, gateway.Config{})
	_, err := s.Client(t).Exec(t.Context(), gatewaytest.Lease(gatewaytest.Tenant), driver.Exec{
		Service: "web", Command: []string{"hang"}, Stdout: writerFunc(func([]byte) { go s.Stop() }),
	})
	e, ok := errors.AsType[*api.Error](err)
	require.True(t, ok, "got %v", err)
	assert.Equal(t, api.CodeUnavailable, e.Code)
}

func TestConfigurationFaultsAreListed(t *testing.T) {
	_, err := client.New(client.Config{HostURI: "http://plain"})
	require.ErrorIs(t, err, market.ErrInvalid)
	for _, want := range []string{"provider", "host", "registry"} {
		assert.ErrorContains(t, err, want)
	}
	for _, uri := range []string{"", "https://", "https://h/path", "https://u:p@h", "ftp://h", "https://h?q=1", ":"} {
		_, err := client.New(client.Config{Provider: "p", HostURI: uri, Market: gatewaytest.NewRegistry()})
		require.ErrorIs(t, err, market.ErrInvalid, uri)
	}
}

func TestGatewayThatIsNotThereIsUnavailable(t *testing.T) {
	s := gatewaytest.Start(t, gateway.Config{})
	s.Stop()
	c, err := client.New(client.Config{Provider: "p", HostURI: "https://127.0.0.1:1", Market: s.Registry})
	require.NoError(t, err)
	_, err = c.Version(t.Context())
	require.ErrorIs(t, err, market.ErrUnavailable)
}
