package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/fleet/internal/proxy"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// backends are replicas on loopback: each has an address of its own and all
// listen on one port.
type backends struct {
	pool *proxy.Pool
	port uint16
}

// serve starts one replica per handler.
func serve(t *testing.T, handlers ...http.Handler) backends {
	t.Helper()
	b := backends{pool: proxy.NewPool()}
	var addrs []netip.Addr
	for i, h := range handlers {
		addr := netip.AddrFrom4([4]byte{127, 0, 0, byte(10 + i)})
		ln, err := net.Listen("tcp", net.JoinHostPort(addr.String(), strconv.Itoa(int(b.port))))
		require.NoError(t, err)
		b.port = uint16(ln.Addr().(*net.TCPAddr).Port)
		srv := httptest.NewUnstartedServer(h)
		srv.Listener = ln
		srv.Start()
		t.Cleanup(srv.Close)
		addrs = append(addrs, addr)
	}
	b.pool.Set(addrs)
	return b
}

// front serves the replicas under the host name "site".
func front(t *testing.T, b backends, o manifest.HTTPOptions) string {
	t.Helper()
	r := proxy.NewRouter((&net.Dialer{}).DialContext, slog.New(slog.DiscardHandler))
	r.Set(map[string]proxy.Route{"site": {Pool: b.pool, Port: b.port, Options: o}})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Serve(ctx, ln, time.Second) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	return "http://" + ln.Addr().String()
}

func send(t *testing.T, method, url string, body io.Reader) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	require.NoError(t, err)
	req.Host = "Site:80"
	req.Header.Set("X-Forwarded-For", "6.6.6.6")
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(b)
}

func says(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) })
}

func status(code int, hits *atomic.Int64) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		hits.Add(1)
		w.WriteHeader(code)
	})
}

func TestAnUnknownHostIsNotFound(t *testing.T) {
	url := front(t, serve(t, says("hi")), manifest.HTTPOptions{})
	res, err := http.Get(url)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	assert.Equal(t, http.StatusNotFound, res.StatusCode)
}

func TestNoReplicaIsServiceUnavailable(t *testing.T) {
	code, body := send(t, http.MethodGet, front(t, serve(t), manifest.HTTPOptions{}), nil)
	assert.Equal(t, http.StatusServiceUnavailable, code)
	assert.Contains(t, body, "no replica")
}

func TestTheReplicaSeesTheHostAndTheRealClient(t *testing.T) {
	url := front(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Host, " ", r.Header.Get("X-Forwarded-For"), " ", r.Header.Get("X-Forwarded-Host"))
	})), manifest.HTTPOptions{})
	_, body := send(t, http.MethodGet, url, nil)
	assert.Equal(t, "Site:80 127.0.0.1 Site:80", body)
}

func TestABodyOverTheLimitIsRefused(t *testing.T) {
	url := front(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n)
	})), manifest.HTTPOptions{MaxBodySize: 100})
	code, body := send(t, http.MethodPost, url, strings.NewReader(strings.Repeat("x", 100)))
	assert.Equal(t, http.StatusOK, code)
	assert.Equal(t, "100", body)
	code, _ = send(t, http.MethodPost, url, strings.NewReader(strings.Repeat("x", 101)))
	assert.Equal(t, http.StatusRequestEntityTooLarge, code)
	code, _ = send(t, http.MethodPost, url, io.MultiReader(strings.NewReader(strings.Repeat("x", 10_000)))) // no length is sent
	assert.Equal(t, http.StatusRequestEntityTooLarge, code)
}

func TestAReplicaThatIsSilentTooLongIsGatewayTimeout(t *testing.T) {
	block := make(chan struct{})
	defer close(block)
	url := front(t, serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-block })), manifest.HTTPOptions{ReadTimeout: 50})
	start := time.Now()
	code, _ := send(t, http.MethodGet, url, nil)
	assert.Equal(t, http.StatusGatewayTimeout, code)
	assert.Less(t, time.Since(start), 5*time.Second)
}

func TestTheNextReplicaIsTriedInTheCasesNamed(t *testing.T) {
	rows := map[string]struct {
		options manifest.HTTPOptions
		method  string
		body    string
		code    int
		hits    int64
	}{
		"not for a status by default":         {manifest.HTTPOptions{}, "GET", "", 503, 1},
		"for a status that is named":          {manifest.HTTPOptions{NextCases: []string{"503"}}, "GET", "", 200, 1},
		"not for another status":              {manifest.HTTPOptions{NextCases: []string{"500"}}, "GET", "", 503, 1},
		"never when off":                      {manifest.HTTPOptions{NextCases: []string{"off", "503"}}, "GET", "", 503, 1},
		"not for a request that changes":      {manifest.HTTPOptions{NextCases: []string{"503"}}, "POST", "x", 503, 1},
		"only as often as the tries":          {manifest.HTTPOptions{NextCases: []string{"503"}, NextTries: 1}, "GET", "", 503, 1},
		"not for a request with a body":       {manifest.HTTPOptions{NextCases: []string{"503", "non_idempotent"}}, "POST", "x", 503, 1},
		"for a change without body, if named": {manifest.HTTPOptions{NextCases: []string{"503", "non_idempotent"}}, "POST", "", 200, 1},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			var hits atomic.Int64
			url := front(t, serve(t, status(http.StatusServiceUnavailable, &hits), says("fine")), row.options)
			var body io.Reader
			if row.body != "" {
				body = strings.NewReader(row.body)
			}
			code, _ := send(t, row.method, url, body)
			assert.Equal(t, row.code, code)
			assert.Equal(t, row.hits, hits.Load())
		})
	}
}

func TestWhenAllReplicasFailTheLastAnswerIsGiven(t *testing.T) {
	var hits atomic.Int64
	s := status(http.StatusBadGateway, &hits)
	url := front(t, serve(t, s, s, s), manifest.HTTPOptions{NextCases: []string{"502"}, NextTries: 9})
	code, _ := send(t, http.MethodGet, url, nil)
	assert.Equal(t, http.StatusBadGateway, code)
	assert.EqualValues(t, 3, hits.Load())
}

func TestAReplicaThatRefusesIsSkippedEvenForARequestWithABody(t *testing.T) {
	b := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	b.pool.Set([]netip.Addr{netip.MustParseAddr("127.0.0.99"), netip.MustParseAddr("127.0.0.10")})
	url := front(t, b, manifest.HTTPOptions{})
	for range 4 {
		code, body := send(t, http.MethodPost, url, strings.NewReader("payload"))
		assert.Equal(t, http.StatusOK, code)
		assert.Equal(t, "payload", body)
	}
}

func TestStreamsAreNotHeldBack(t *testing.T) {
	release := make(chan struct{})
	url := front(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "first")
		w.(http.Flusher).Flush()
		<-release
		fmt.Fprintln(w, "second")
	})), manifest.HTTPOptions{})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	req.Host = "site"
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	lines := bufio.NewReader(res.Body)
	line, err := lines.ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "first\n", line)
	close(release)
	line, err = lines.ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "second\n", line)
}

func TestWebSocketsPass(t *testing.T) {
	b := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		for {
			kind, data, err := c.Read(r.Context())
			if err != nil {
				return
			}
			_ = c.Write(r.Context(), kind, append([]byte("echo "), data...))
		}
	}))
	url := front(t, b, manifest.HTTPOptions{})
	c, res, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{Host: "site"})
	require.NoError(t, err)
	if res.Body != nil {
		defer func() { _ = res.Body.Close() }()
	}
	for i := range 3 {
		require.NoError(t, c.Write(t.Context(), websocket.MessageText, []byte(strconv.Itoa(i))))
		_, data, err := c.Read(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "echo "+strconv.Itoa(i), string(data))
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	b.pool.Drain(short, netip.MustParseAddr("127.0.0.10"))
	require.Error(t, short.Err(), "an open connection is a client")
	require.NoError(t, c.Close(websocket.StatusNormalClosure, ""))
	b.pool.Drain(t.Context(), netip.MustParseAddr("127.0.0.10"))
}

func TestThePoolPrefersTheReplicaWithFewestClients(t *testing.T) {
	p := proxy.NewPool()
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	p.Set([]netip.Addr{a, b})
	first, release, ok := p.Pick(nil)
	require.True(t, ok)
	for range 3 {
		got, done, ok := p.Pick(nil)
		require.True(t, ok)
		assert.NotEqual(t, first, got)
		done()
		done() // twice counts once
	}
	_, _, ok = p.Pick([]netip.Addr{a, b})
	assert.False(t, ok)
	release()
	p.Drain(t.Context(), first)
	p.Set(nil)
	_, _, ok = p.Pick(nil)
	assert.False(t, ok)
}

// forward leads a TCP port to a handler of connections.
func forward(t *testing.T, handle func(net.Conn)) (address string, stop func()) {
	t.Helper()
	server, err := net.Listen("tcp", "127.0.0.20:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Close() })
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			go handle(c)
		}
	}()
	addr := server.Addr().(*net.TCPAddr)
	pool := proxy.NewPool()
	pool.Set([]netip.Addr{netip.MustParseAddr("127.0.0.21"), addr.AddrPort().Addr()}) // the first refuses
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		proxy.ServeTCP(ctx, ln, proxy.Target{Pool: pool, Port: uint16(addr.Port)}, (&net.Dialer{}).DialContext)
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return ln.Addr().String(), stop
}

func TestTCPIsForwardedBothWaysWithHalfClose(t *testing.T) {
	address, _ := forward(t, func(c net.Conn) {
		defer func() { _ = c.Close() }()
		b, _ := io.ReadAll(c) // until the client has said all
		fmt.Fprintf(c, "got %d bytes", len(b))
	})
	for range 4 {
		c, err := net.Dial("tcp", address)
		require.NoError(t, err)
		_, err = c.Write(make([]byte, 1<<20))
		require.NoError(t, err)
		require.NoError(t, c.(*net.TCPConn).CloseWrite())
		answer, err := io.ReadAll(c)
		require.NoError(t, err)
		assert.Equal(t, "got 1048576 bytes", string(answer))
		require.NoError(t, c.Close())
	}
}

func TestAForwardedPortThatClosesEndsItsConnections(t *testing.T) {
	address, stop := forward(t, func(c net.Conn) { _, _ = io.Copy(c, c) })
	c, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	_, err = c.Write([]byte("x"))
	require.NoError(t, err)
	_, err = io.ReadFull(c, make([]byte, 1))
	require.NoError(t, err)
	stop()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(5*time.Second)))
	_, err = c.Read(make([]byte, 1))
	require.Error(t, err)
	var timeout net.Error
	assert.False(t, asTimeout(err, &timeout), "the connection is still open")
}

func asTimeout(err error, target *net.Error) bool {
	n, ok := err.(net.Error) //nolint:errorlint // net errors are returned as they are
	*target = n
	return ok && n.Timeout()
}

func TestUDPIsForwardedPerClient(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = server.Close() }()
	go func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(append([]byte("echo "), buf[:n]...), from)
		}
	}()
	addr := server.LocalAddr().(*net.UDPAddr)
	pool := proxy.NewPool()
	pool.Set([]netip.Addr{addr.AddrPort().Addr()})
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		proxy.ServeUDP(ctx, pc, proxy.Target{Pool: pool, Port: uint16(addr.Port)}, (&net.Dialer{}).DialContext)
	}()
	for i := range 5 {
		c, err := net.Dial("udp", pc.LocalAddr().String())
		require.NoError(t, err)
		for j := range 3 {
			text := fmt.Sprint(i, j)
			_, err = c.Write([]byte(text))
			require.NoError(t, err)
			require.NoError(t, c.SetReadDeadline(time.Now().Add(5*time.Second)))
			buf := make([]byte, 100)
			n, err := c.Read(buf)
			require.NoError(t, err)
			assert.Equal(t, "echo "+text, string(buf[:n]))
		}
		require.NoError(t, c.Close())
	}
	cancel()
	<-done
	pool.Drain(t.Context(), addr.AddrPort().Addr()) // no session is left
}

func TestAUDPClientMovesWhenItsReplicaLeaves(t *testing.T) {
	var port uint16
	for _, ip := range []string{"127.0.0.30", "127.0.0.31"} {
		server, err := net.ListenPacket("udp", net.JoinHostPort(ip, strconv.Itoa(int(port))))
		require.NoError(t, err)
		defer func() { _ = server.Close() }()
		port = uint16(server.LocalAddr().(*net.UDPAddr).Port)
		go func() {
			buf := make([]byte, 100)
			for {
				_, from, err := server.ReadFrom(buf)
				if err != nil {
					return
				}
				_, _ = server.WriteTo([]byte(ip), from)
			}
		}()
	}
	pool := proxy.NewPool()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		proxy.ServeUDP(ctx, pc, proxy.Target{Pool: pool, Port: port}, (&net.Dialer{}).DialContext)
	}()
	defer func() { <-done }()
	defer cancel()
	c, err := net.Dial("udp", pc.LocalAddr().String())
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	for _, replica := range []string{"127.0.0.30", "127.0.0.31", "127.0.0.30"} {
		pool.Set([]netip.Addr{netip.MustParseAddr(replica)})
		_, err = c.Write([]byte("who"))
		require.NoError(t, err)
		require.NoError(t, c.SetReadDeadline(time.Now().Add(5*time.Second)))
		buf := make([]byte, 100)
		n, err := c.Read(buf)
		require.NoError(t, err)
		assert.Equal(t, replica, string(buf[:n]))
	}
}

func BenchmarkRouter(b *testing.B) {
	srv := httptest.NewServer(says("hi"))
	defer srv.Close()
	addr := srv.Listener.Addr().(*net.TCPAddr).AddrPort()
	pool := proxy.NewPool()
	pool.Set([]netip.Addr{addr.Addr()})
	r := proxy.NewRouter((&net.Dialer{}).DialContext, slog.New(slog.DiscardHandler))
	r.Set(map[string]proxy.Route{"site": {Pool: pool, Port: addr.Port()}})
	b.ReportAllocs()
	for b.Loop() {
		req := httptest.NewRequest(http.MethodGet, "http://site/", http.NoBody)
		rec := httptest.NewRecorder()
		r.ServeHTTP(rec, req)
		if rec.Code != http.StatusOK {
			b.Fatal(rec.Code)
		}
	}
}
