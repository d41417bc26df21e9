package gateway

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/provider/gateway/stream"
)

var (
	errAbandoned = errors.New("gateway: the client did not come back to its stream")
	errTooOld    = fmt.Errorf("gateway: %w: the stream has lasted as long as it may", api.ErrTooMany)
)

// attachTimeout bounds how long a client that comes back waits for its own
// earlier connection to let go.
const attachTimeout = 10 * time.Second

// session is a stream as the gateway keeps it: what it is for, and the goroutine
// that feeds it. That goroutine ends with the session.
type session struct {
	id     string
	tenant market.Address
	access api.Access
	lease  market.LeaseID
	st     *stream.Stream
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	conns int         // connections that are attached or about to be
	grace *time.Timer // running while there are none
	check check       // of the credential that was shown last
}

// check verifies a credential again.
type check func(context.Context) error

// verify checks the credential that was shown last.
func (s *session) verify(ctx context.Context) error {
	s.mu.Lock()
	check := s.check
	s.mu.Unlock()
	return check(ctx)
}

// renew takes the credential of a client that comes back for that of the stream.
func (s *session) renew(c check) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.check = c
}

// sessions are all streams of a gateway, those to plain readers too.
type sessions struct {
	total, perTenant int

	// wg counts what Close waits for: feeding goroutines and connections.
	wg sync.WaitGroup

	mu     sync.Mutex
	closed bool
	open   int
	tenant map[market.Address]int
	byID   map[string]*session
}

func newSessions(total, perTenant int) *sessions {
	return &sessions{total: total, perTenant: perTenant, tenant: map[market.Address]int{}, byID: map[string]*session{}}
}

// enter counts a stream of a tenant, or refuses it. Call leave after.
func (ss *sessions) enter(tenant market.Address) error {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	switch {
	case ss.closed:
		return errStopping
	case ss.open >= ss.total:
		return tooMany("too many streams at the moment")
	case ss.tenant[tenant] >= ss.perTenant:
		return tooMany("too many streams of this tenant")
	}
	ss.open++
	ss.tenant[tenant]++
	ss.wg.Add(1)
	return nil
}

func (ss *sessions) leave(tenant market.Address) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	defer ss.wg.Done()
	ss.open--
	if ss.tenant[tenant]--; ss.tenant[tenant] == 0 {
		delete(ss.tenant, tenant)
	}
}

func (ss *sessions) put(s *session) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.byID[s.id] = s
}

func (ss *sessions) remove(s *session) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	delete(ss.byID, s.id)
}

// close refuses whatever comes from now on and waits for what is there.
func (ss *sessions) close() {
	ss.mu.Lock()
	ss.closed = true
	ss.mu.Unlock()
	ss.wg.Wait()
}

// connect counts a connection of a session. Call disconnect after.
func (ss *sessions) connect(s *session) error {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.closed {
		return errStopping
	}
	ss.wg.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns++
	if s.grace != nil {
		s.grace.Stop()
		s.grace = nil
	}
	return nil
}

// disconnect starts the time in which the client must come back, unless it has.
func (ss *sessions) disconnect(s *session, grace time.Duration) {
	defer ss.wg.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns--; s.conns == 0 {
		s.grace = time.AfterFunc(grace, func() { s.cancel(errAbandoned) })
	}
}

// find returns the stream that a client wants to go on with. One that is not
// exactly what the request is about does not exist for it.
func (ss *sessions) find(id string, q *query, access api.Access) (*session, error) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	s, ok := ss.byID[id]
	if !ok || s.tenant != q.principal.tenant || s.lease != q.lease || s.access != access {
		return nil, api.ErrStreamGone
	}
	return s, nil
}

// feed fills a stream and returns how it ended: the exit code, or why it failed.
type feed func(ctx context.Context, st *stream.Stream) (exitCode int, err error)

// upgrade turns the request into a WebSocket and serves a stream over it: the one
// that the query names, or a new one that is filled by f. Nothing is begun before
// the handshake is done, so that a page of another origin cannot even start a
// command whose output it may not see.
func (g *Gateway) upgrade(w http.ResponseWriter, q *query, f feed) error {
	s, received, err := g.resumed(q)
	if err != nil {
		return err
	}
	if s == nil {
		if err := g.sessions.enter(q.principal.tenant); err != nil {
			return err
		}
	}
	conn, err := websocket.Accept(w, q.Request, &websocket.AcceptOptions{
		Subprotocols: []string{stream.Subprotocol},
	})
	if err != nil {
		if s == nil {
			g.sessions.leave(q.principal.tenant)
		}
		g.log.DebugContext(q.Context(), "websocket refused", "error", err)
		return nil // Accept has answered
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(stream.ReadLimit)
	if s == nil {
		s = g.start(q, f)
	} else {
		s.renew(g.recheck(q))
	}
	if g.sessions.connect(s) != nil {
		return nil // stopping
	}
	defer g.sessions.disconnect(s, g.cfg.Limits.StreamGrace)
	if g.attach(q.Context(), s, conn, received) {
		_ = conn.Close(websocket.StatusNormalClosure, "")
	}
	return nil
}

// resumed returns the stream that the query names and where its client wants to
// go on; nil when it names none.
func (g *Gateway) resumed(q *query) (*session, uint64, error) {
	if err := sameOrigin(q.Request); err != nil {
		return nil, 0, err
	}
	id := q.URL.Query().Get("stream")
	if id == "" {
		return nil, 0, nil
	}
	received, err := unsigned(q.URL.Query().Get("received"), 64)
	if err != nil {
		return nil, 0, err
	}
	s, err := g.sessions.find(id, q, q.access(g.cfg.Provider))
	return s, received, err
}

// sameOrigin refuses WebSockets that pages of other sites open with the
// credentials of whoever looks at them.
func sameOrigin(r *http.Request) error {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return nil // no browser
	}
	if u, err := url.Parse(origin); err != nil || !strings.EqualFold(u.Host, r.Host) {
		return fmt.Errorf("%w: pages of other origins may not open streams", api.ErrForbidden)
	}
	return nil
}

// attach serves one connection and reports whether the stream came to its end.
func (g *Gateway) attach(ctx context.Context, s *session, conn *websocket.Conn, received uint64) bool {
	actx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	a, err := s.st.Attach(actx)
	if err != nil {
		return false
	}
	hello := stream.Hello{Stream: s.id, Received: a.Received, GraceSeconds: int(g.cfg.Limits.StreamGrace / time.Second)}
	if err = stream.WriteHello(ctx, conn, hello); err != nil {
		a.Release()
	} else {
		err = a.Run(ctx, conn, received)
	}
	switch {
	case errors.Is(err, stream.ErrLeft), errors.Is(err, stream.ErrProtocol):
		s.cancel(errAbandoned)
	case err != nil && !errors.Is(err, stream.ErrTakenOver):
		g.log.DebugContext(ctx, "stream lost its connection", "lease", s.lease, "error", err)
	}
	return err == nil
}

// start makes a session of a stream that has been counted, and the goroutine that
// feeds it, for which sessions.close waits.
func (g *Gateway) start(q *query, f feed) *session {
	ctx, cancel := context.WithCancelCause(g.base)
	ctx, stop := context.WithTimeoutCause(ctx, g.cfg.Limits.StreamAge, errTooOld)
	s := &session{
		id: rand.Text(), tenant: q.principal.tenant, access: q.access(g.cfg.Provider), lease: q.lease,
		st: stream.New(stream.Server), cancel: cancel, check: g.recheck(q),
	}
	g.sessions.put(s)
	go func() {
		defer g.sessions.leave(s.tenant)
		defer g.sessions.remove(s)
		defer cancel(nil)
		defer stop()
		g.live(ctx, s, f)
	}()
	return s
}

// live is the life of a session: it is fed, then its end is delivered.
func (g *Gateway) live(ctx context.Context, s *session, f feed) {
	var wg sync.WaitGroup
	defer wg.Wait()
	fed, done := context.WithCancel(ctx)
	defer done()
	wg.Go(func() { watchCredential(fed, g.cfg.Limits.Recheck, s.cancel, s.verify) })
	code, err := g.guard(ctx, s, f)
	done()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	s.finish(code, err)
	select {
	case <-s.st.Delivered():
	case <-ctx.Done():
		s.lastWords(context.Cause(ctx))
	}
	s.st.Abort(errAbandoned)
}

// lastWords gives the client that is attached a moment to hear why its stream is
// ended by force.
func (s *session) lastWords(cause error) {
	s.mu.Lock()
	heard := s.conns > 0
	s.mu.Unlock()
	if !heard || errors.Is(cause, errAbandoned) {
		return
	}
	t := time.NewTimer(lastWords)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.st.Delivered():
	}
}

// lastWords is that moment.
const lastWords = time.Second

// guard runs the feed; a panic in the back end ends this stream alone.
func (g *Gateway) guard(ctx context.Context, s *session, f feed) (code int, err error) {
	defer func() {
		if p := recover(); p != nil {
			g.log.ErrorContext(ctx, "stream panicked", "lease", s.lease, "panic", p)
			err = api.ErrInternal
		}
	}()
	code, err = f(ctx, s.st)
	if err != nil && api.FromError(err).Code == api.CodeInternal {
		g.log.ErrorContext(ctx, "stream failed", "lease", s.lease, "scope", string(s.access.Scope), "error", err)
	}
	return code, err
}

func (s *session) finish(code int, err error) {
	kind, doc := stream.Result, any(stream.ResultBody{ExitCode: code})
	if err != nil {
		kind, doc = stream.Failure, api.Body{Error: api.FromError(err)}
	}
	body, err := json.Marshal(doc)
	if err != nil { // plain structs always encode
		kind, body = stream.Failure, nil
	}
	s.st.Finish(kind, body)
}

// recheck returns a function that verifies the credential of a request again: a
// certificate may have been revoked, a token expires.
func (g *Gateway) recheck(q *query) check {
	r, access := q.Request.Clone(context.WithoutCancel(q.Context())), q.access(g.cfg.Provider)
	r.Body = nil
	return func(ctx context.Context) error {
		p, err := g.authenticate(ctx, r)
		if err != nil {
			return err
		}
		return g.authorize(p, access)
	}
}

// watchCredential ends a stream whose credential is no longer good. A market
// that cannot be asked does not end it.
func watchCredential(ctx context.Context, every time.Duration, end context.CancelCauseFunc, check check) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := check(ctx)
		if errors.Is(err, api.ErrUnauthenticated) || errors.Is(err, api.ErrForbidden) {
			end(err)
			return
		}
	}
}
