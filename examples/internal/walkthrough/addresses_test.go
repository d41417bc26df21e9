package walkthrough_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/provider/gateway/api"
)

// pair is the address of each family that a pool gives first.
type pair struct{ v4, v6 string }

// ipDocument is the demo's document with an endpoint: TCP port 80 and UDP port 53
// of a leased address of each family.
func (s *separate) ipDocument(greeting string) string {
	s.t.Helper()
	text, err := os.ReadFile(s.document(greeting))
	require.NoError(s.t, err)
	doc := string(text)
	for old, now := range map[string]string{
		"services:\n": "endpoints:\n  web-ip:\n    kind: ip\n\nservices:\n",
		"          - global: true\n": `          - global: true
            ip: web-ip
      - port: 5353
        as: 53
        proto: udp
        to:
          - global: true
            ip: web-ip
`,
		"    env:\n":      "    env:\n      - UDP=:5353\n",
		"    anywhere:\n": "    anywhere:\n      attributes:\n        ip-lease: true\n        capabilities/ip-lease/family/dual: true\n",
	} {
		require.Contains(s.t, doc, old)
		doc = strings.Replace(doc, old, now, 1)
	}
	file := filepath.Join(s.t.TempDir(), greeting+".yaml")
	require.NoError(s.t, os.WriteFile(file, []byte(doc), 0o600))
	return file
}

// tcp fetches the page at an address, with a connection of its own.
func (s *separate) tcp(ctx context.Context, at string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(at, "80")+"/", nil)
	if err != nil {
		return "", err
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: s.dial}}).Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// udp asks an address with a datagram.
func (s *separate) udp(ctx context.Context, at string) (string, error) {
	conn, err := s.dial(ctx, "udp", net.JoinHostPort(at, "53"))
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return "", err
	}
	if _, err := conn.Write([]byte("who")); err != nil {
		return "", err
	}
	buf := make([]byte, 1500)
	n, err := conn.Read(buf)
	return string(buf[:n]), err
}

// answers waits until TCP and UDP, IPv4 and IPv6, are answered by a deployment.
func (s *separate) answers(greeting string, first pair) {
	s.t.Helper()
	for _, at := range []string{first.v4, first.v6} {
		for name, ask := range map[string]func(context.Context, string) (string, error){"tcp": s.tcp, "udp": s.udp} {
			s.eventually(fmt.Sprintf("%s answers over %s at %s", greeting, name, at), func() bool {
				got, err := ask(s.t.Context(), at)
				return err == nil && strings.Contains(got, greeting)
			})
		}
	}
}

// watchGap asks an address all the time until the context ends, and returns the
// longest time between two answers.
func (s *separate) watchGap(ctx context.Context, at string) <-chan time.Duration {
	out := make(chan time.Duration, 1)
	go func() {
		var longest time.Duration
		last := time.Now()
		for ctx.Err() == nil {
			if _, err := s.udp(context.WithoutCancel(ctx), at); err == nil {
				longest = max(longest, time.Since(last))
				last = time.Now()
			}
		}
		out <- longest
	}()
	return out
}

// The addresses are of the ranges for tests and of a private IPv6 network; they
// are on a bridge of this host and nowhere else.
func TestALeasedAddressIsWithheldMovedAndParked(t *testing.T) {
	s := newSeparate(t, "--ip-pool", "test=198.18.77.16/29,fd00:6d6f:7761::/125")
	defer func() { // what is asked to end takes the addresses off this host
		s.provider.signal(syscall.SIGINT)
		s.provider.end()
	}()
	s.walkAnAddress(pair{"198.18.77.16", "fd00:6d6f:7761::"})
}

// walkAnAddress is the walk of docs/iplease.md, with real containers and real
// connections, and parking.
func (s *separate) walkAnAddress(first pair) {
	t := s.t
	t.Helper()

	t.Log(s.tenant("deploy", s.ipDocument("Blue"), "--dseq", "1")) // 1: deploy
	s.answers("Blue", first)
	blue := s.awaitActive("1")
	require.Len(t, blue.IPs, 1)
	assert.Equal(t, api.IPBound, blue.IPs[0].State)
	assert.Equal(t, []netip.Addr{netip.MustParseAddr(first.v4), netip.MustParseAddr(first.v6)}, blue.IPs[0].Addresses)
	t.Log(s.tenant("lease-status", "1"))

	s.tenant("deploy", s.ipDocument("Green"), "--dseq", "2") // 2: deploy again
	s.answers("Blue", first)                                 // 3: see the address stay
	out := s.tenant("lease-status", "2")
	t.Log(out)
	assert.Contains(t, out, "withheld: held by deployment 1")
	green, ok := s.status("2")
	require.True(t, ok)
	env := s.tenant("exec", "2", "--", "/hello", "env", "MOORAGE_IP_WEB_IP")
	assert.Equal(t, first.v4, strings.TrimSpace(env), "known before it leads here")

	ctx, cancel := context.WithCancel(t.Context())
	gap := s.watchGap(ctx, first.v4)
	moved := s.tenant("migrate-endpoints", "2", "web-ip") // 4: migrate
	t.Log(moved)
	assert.Regexp(t, regexp.MustCompile(`web-ip +true +`+first.v4), moved)
	s.answers("Green", first) // 5: see it move
	cancel()
	t.Log("longest time without an answer over UDP while it moved:", <-gap)
	assert.Contains(t, s.tenant("lease-status", "1"), "moved to deployment 2")
	after, ok := s.status("2")
	require.True(t, ok)
	assert.Equal(t, green.Services[0].Replicas[0].StartedAt, after.Services[0].Replicas[0].StartedAt, "no container was restarted")

	t.Log(s.tenant("ip", "park", "web-ip"))
	s.tenant("close", "1") // 6: close the first
	s.answers("Green", first)

	s.kill(s.provider) // a crash takes nothing away
	s.startProvider()
	s.answers("Green", first)

	s.tenant("close", "2")
	s.eventually("the address is parked and silent", func() bool {
		// The machine's way out may answer for addresses that nobody has.
		got, err := s.tcp(t.Context(), first.v4)
		return (err != nil || !strings.Contains(got, "Green")) && strings.Contains(s.tenant("ip", "list"), "parked")
	})
	t.Log(s.tenant("ip", "list"))
	s.tenant("deploy", s.ipDocument("Red"), "--dseq", "3")
	s.answers("Red", first)
	assert.Contains(t, s.tenant("ip", "allow", "web-ip", "80/tcp", "203.0.113.0/24"), "open to 203.0.113.0/24")
	s.eventually("the port is closed to others", func() bool {
		got, err := s.tcp(t.Context(), first.v4)
		return err != nil || !strings.Contains(got, "Red")
	})
	s.tenant("ip", "allow", "web-ip", "80/tcp")
	s.answers("Red", first)
	assert.NotContains(t, s.tenant("ip", "release", "web-ip"), "yes")
	s.tenant("close", "3")
	s.eventually("the address cools", func() bool { return strings.Contains(s.tenant("ip", "list"), "cooling") })
	s.awaitEmpty()
}
