package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/moorage-dev/moorage/sdl/manifest"
)

// errNoReplica means the pool is empty.
var errNoReplica = errors.New("no replica is ready")

// transport sends a request to a replica of a route, and to the next when that
// one cannot and the route's options allow it.
type transport struct {
	route Route
	base  *http.Transport
	cases map[string]bool
	tries int
	limit time.Duration
}

func newTransport(route Route, dial Dial) *transport {
	o := route.Options
	t := &transport{route: route, cases: cases(o), tries: int(orDefault(o.NextTries, defaultNextTries))}
	t.limit = time.Duration(o.NextTimeout) * time.Millisecond
	t.base = &http.Transport{
		// One connection per request: its deadlines are the request's, and a
		// replica without clients has no connections.
		DisableKeepAlives:  true,
		DisableCompression: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, dialTimeout)
			defer cancel()
			c, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &deadlineConn{c, millis(o.ReadTimeout), millis(o.SendTimeout)}, nil
		},
	}
	return t
}

// millis returns a time of the options or the default.
func millis(ms uint32) time.Duration {
	if ms == 0 {
		return defaultTimeout
	}
	return time.Duration(ms) * time.Millisecond
}

// cases says when the next replica is tried. None named means "error" and
// "timeout"; "off" means never.
func cases(o manifest.HTTPOptions) map[string]bool {
	if len(o.NextCases) == 0 {
		return map[string]bool{"error": true, "timeout": true}
	}
	m := make(map[string]bool)
	for _, c := range o.NextCases {
		if c == "off" {
			return nil
		}
		m[c] = true
	}
	return m
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	sent := &once{ReadCloser: req.Body}
	start := time.Now()
	var tried []netip.Addr
	last := errNoReplica
	for try := 1; ; try++ {
		addr, release, ok := t.route.Pool.Pick(tried)
		if !ok {
			return nil, last
		}
		tried = append(tried, addr)
		res, err := t.try(req, addr, sent)
		if err != nil {
			release()
			last = err
		}
		final := try >= t.tries || t.limit > 0 && time.Since(start) >= t.limit || req.Context().Err() != nil
		if final || !t.again(req, res, err) || err == nil && len(tried) >= t.route.Pool.Len() {
			if err != nil {
				return nil, err
			}
			return releasing(res, release), nil
		}
		if err == nil {
			_ = res.Body.Close()
			release()
		}
	}
}

// try sends the request to one replica.
func (t *transport) try(req *http.Request, addr netip.Addr, sent *once) (*http.Response, error) {
	out := req.Clone(req.Context())
	out.URL.Host = net.JoinHostPort(addr.String(), strconv.Itoa(int(t.route.Port)))
	if hasBody(req) {
		out.Body = sent
	}
	return t.base.RoundTrip(out)
}

func hasBody(req *http.Request) bool { return req.Body != nil && req.Body != http.NoBody }

// again reports whether the outcome is a case for the next replica. A request
// that has reached one is not sent twice if it has a body, part of which may be
// gone, or if it may have had an effect.
func (t *transport) again(req *http.Request, res *http.Response, err error) bool {
	var dial *net.OpError
	unsent := errors.As(err, &dial) && dial.Op == "dial"
	safe := req.Method == http.MethodGet || req.Method == http.MethodHead || req.Method == http.MethodOptions
	if !unsent && (hasBody(req) || !safe && !t.cases["non_idempotent"]) {
		return false
	}
	if err == nil {
		return t.cases[strconv.Itoa(res.StatusCode)]
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return t.cases["timeout"]
	}
	return t.cases["error"]
}

// once notes whether a body was read, and survives being closed by a try that
// did not read it.
type once struct {
	io.ReadCloser
	read atomic.Bool
}

func (o *once) Read(p []byte) (int, error) {
	o.read.Store(true)
	return o.ReadCloser.Read(p)
}

func (o *once) Close() error {
	if !o.read.Load() {
		return nil
	}
	return o.ReadCloser.Close()
}

// deadlineConn gives every single read and write its time.
type deadlineConn struct {
	net.Conn
	readTime, writeTime time.Duration
}

func (c *deadlineConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.readTime)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *deadlineConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.writeTime)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
