package gateway_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/provider/gateway"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/provider/gateway/gatewaytest"
)

// pipeListener is a listener in memory, so that time can be virtual.
type pipeListener struct {
	*testing.T // of the bubble

	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeListener(t *testing.T) *pipeListener {
	t.Helper()
	return &pipeListener{T: t, conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func (l *pipeListener) connect() net.Conn {
	near, far := net.Pipe()
	l.conns <- far
	l.Cleanup(func() { _ = near.Close() })
	return near
}

// inBubble serves a gateway in virtual time.
func inBubble(t *testing.T, test func(l *pipeListener)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		backend := hanging{gatewaytest.NewBackend(gatewaytest.Lease(gatewaytest.Tenant))}
		g := newGateway(t, gateway.Config{Certificates: everybody{}, Backend: backend})
		l, ctx := newPipeListener(t), t.Context()
		ctx, cancel := context.WithCancel(ctx)
		served := make(chan error, 1)
		cert := gatewaytest.Certificate(t, gatewaytest.Provider)
		go func() { served <- g.Serve(ctx, l, cert) }()
		test(l)
		cancel()
		require.NoError(t, <-served)
	})
}

func TestConnectionWithoutHandshakeIsClosed(t *testing.T) {
	inBubble(t, func(l *pipeListener) {
		conn, start := l.connect(), time.Now()
		_, err := conn.Read(make([]byte, 1))
		require.ErrorIs(l, err, io.EOF)
		assert.Equal(l, gateway.HeaderTimeout, time.Since(start))
	})
}

// secure makes the handshake with the tenant's certificate.
func (l *pipeListener) secure() *tls.Conn {
	conn := tls.Client(l.connect(), &tls.Config{
		InsecureSkipVerify: true, Certificates: []tls.Certificate{gatewaytest.Certificate(l, gatewaytest.Tenant)},
	})
	require.NoError(l, conn.HandshakeContext(l.Context()))
	return conn
}

func TestConnectionWithHalfAHeaderIsClosed(t *testing.T) {
	inBubble(t, func(l *pipeListener) {
		conn, start := l.secure(), time.Now()
		_, err := io.WriteString(conn, "GET /version HTTP/1.1\r\nHost: x\r\nX-Slow: ")
		require.NoError(l, err)
		_, err = io.Copy(io.Discard, conn)
		assert.Equal(l, gateway.HeaderTimeout, time.Since(start), err)
	})
}

func TestIdleConnectionIsClosed(t *testing.T) {
	inBubble(t, func(l *pipeListener) {
		conn := l.secure()
		resp := l.exchange(conn, "GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
		assert.Equal(l, http.StatusOK, resp.Status)
		_, err := io.Copy(io.Discard, resp.Body)
		require.NoError(l, err)
		start := time.Now()
		_, err = conn.Read(make([]byte, 1))
		require.ErrorIs(l, err, io.EOF)
		assert.Equal(l, gateway.IdleTimeout, time.Since(start))
	})
}

func (l *pipeListener) exchange(conn net.Conn, request string) answer {
	_, err := io.WriteString(conn, request)
	require.NoError(l, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(l, err)
	l.Cleanup(func() { _ = resp.Body.Close() })
	return answer{resp.StatusCode, resp.Header, resp.Body}
}

func TestBodyThatDoesNotComeIsGivenUp(t *testing.T) {
	inBubble(t, func(l *pipeListener) {
		conn, start := l.secure(), time.Now()
		resp := l.exchange(conn, "PUT /deployment/7/manifest HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n[")
		assert.Equal(l, http.StatusServiceUnavailable, resp.Status)
		assert.Equal(l, api.CodeTimeout, errorOf(l, resp.Body).Code)
		assert.Equal(l, gateway.RequestTimeout, time.Since(start))
	})
}

func TestHangingBackendIsAnsweredForOverTheNetworkToo(t *testing.T) {
	inBubble(t, func(l *pipeListener) {
		conn, start := l.secure(), time.Now()
		resp := l.exchange(conn, "PUT /deployment/7/manifest HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n[]")
		assert.Equal(l, http.StatusServiceUnavailable, resp.Status)
		assert.Equal(l, api.CodeTimeout, errorOf(l, resp.Body).Code)
		assert.Equal(l, gateway.RequestTimeout, time.Since(start))
	})
}

func TestListenerThatFailsEndsServe(t *testing.T) {
	g := newGateway(t, gateway.Config{})
	l := newPipeListener(t)
	require.NoError(t, l.Close())
	err := g.Serve(t.Context(), l, gatewaytest.Certificate(t, gatewaytest.Provider))
	require.Error(t, err)
	assert.True(t, errors.Is(err, net.ErrClosed), err)
}
