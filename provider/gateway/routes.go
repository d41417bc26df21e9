package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/provider/gateway/stream"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// Route is a line of the table of all that a gateway answers.
type Route struct {
	Method string
	// Pattern is in the syntax of [http.ServeMux].
	Pattern string
	// Scope is what a credential must grant.
	Scope api.Scope
	// Query lists the query parameters; others are refused. "cmd*" stands for
	// cmd0, cmd1 and so on.
	Query []string
	// Stream marks routes that may go on for long.
	Stream bool

	// in and out are the types of the documents taken and given, nil for none; a
	// document taken has at most limit bytes.
	in, out reflect.Type
	limit   int64
	serve   func(g *Gateway, w http.ResponseWriter, q *query) error
}

// Routes returns the table, every route once.
func Routes() []Route {
	const lease = "/lease/{dseq}/{gseq}/{oseq}"
	const manifests = "/deployment/{dseq}/manifest"
	resume := []string{"stream", "received"}
	lines := []string{"service", "replica", "follow", "since", "tail"}
	command := []string{"service", "replica", "tty", "stdin", "cmd*"}
	return append([]Route{
		{Method: http.MethodGet, Pattern: "/version", Scope: api.ScopePublic, out: doc[api.Version](), serve: (*Gateway).version},
		{Method: http.MethodGet, Pattern: "/address", Scope: api.ScopePublic, out: doc[api.Address](), serve: (*Gateway).address},
		{Method: http.MethodGet, Pattern: "/status", Scope: api.ScopePublic, out: doc[api.ProviderStatus](), serve: (*Gateway).status},
		{Method: http.MethodGet, Pattern: "/openapi.json", Scope: api.ScopePublic, out: doc[map[string]string](), serve: (*Gateway).openAPI},
		{Method: http.MethodPost, Pattern: "/screening", Scope: api.ScopeAny, in: doc[api.Screening](), limit: MaxScreening, out: doc[api.ScreeningResult](), serve: (*Gateway).screen},
		{Method: http.MethodPut, Pattern: manifests, Scope: api.ScopeSendManifest, in: doc[manifest.Manifest](), limit: MaxManifest, serve: (*Gateway).putManifest},
		{Method: http.MethodGet, Pattern: manifests, Scope: api.ScopeGetManifest, out: doc[manifest.Manifest](), serve: (*Gateway).getManifest},
		{Method: http.MethodGet, Pattern: lease + "/status", Scope: api.ScopeStatus, out: doc[api.LeaseStatus](), serve: (*Gateway).leaseStatus},
		{Method: http.MethodGet, Pattern: lease + "/service/{service}/status", Scope: api.ScopeStatus, out: doc[api.ServiceStatus](), serve: (*Gateway).serviceStatus},
		{Method: http.MethodPost, Pattern: lease + "/service/{service}/restart", Scope: api.ScopeRestart, serve: (*Gateway).restart},
		{Method: http.MethodPost, Pattern: lease + "/hostnames", Scope: api.ScopeHostnameMigrate, in: doc[api.HostnameMigration](), limit: MaxMigration, out: doc[api.HostnameMigrationResult](), serve: (*Gateway).migrateHostnames},
		{Method: http.MethodGet, Pattern: lease + "/logs", Scope: api.ScopeLogs, Stream: true, Query: append(lines, resume...), out: doc[api.LogLine](), serve: (*Gateway).logs},
		{Method: http.MethodGet, Pattern: lease + "/events", Scope: api.ScopeEvents, Stream: true, Query: resume, out: doc[api.Event](), serve: (*Gateway).events},
		{Method: http.MethodGet, Pattern: lease + "/shell", Scope: api.ScopeShell, Stream: true, Query: append(command, resume...), out: doc[stream.ResultBody](), serve: (*Gateway).shell},
	}, addressRoutes(lease)...)
}

func doc[T any]() reflect.Type { return reflect.TypeFor[T]() }

// query is a request that may be answered: who asks is known and what the path
// names is parsed.
type query struct {
	*http.Request
	principal principal
	scope     api.Scope
	// deployment and lease are set as far as the path names them.
	deployment market.DeploymentID
	lease      market.LeaseID
}

// register puts the table into the mux. A path with another method, and any
// other path, is answered in the usual form.
func (g *Gateway) register() {
	methods := map[string][]string{}
	for _, rt := range Routes() {
		methods[rt.Pattern] = append(methods[rt.Pattern], rt.Method)
		g.mux.HandleFunc(rt.Method+" "+rt.Pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := g.handle(rt, w, r); err != nil {
				g.fail(w, r, err)
			}
		})
	}
	for pattern, allowed := range methods {
		g.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			for _, m := range slices.Sorted(slices.Values(allowed)) {
				w.Header().Add("Allow", m)
			}
			g.refuse(w, r, api.NewError(api.CodeMethod, "this path does not take this method"))
		})
	}
	g.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		g.refuse(w, r, api.NewError(api.CodeNotFound, "no such path"))
	})
}

// ServeHTTP implements [http.Handler]. It never panics.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if p := recover(); p != nil {
			g.log.ErrorContext(r.Context(), "request panicked", "panic", p, "stack", string(debug.Stack()))
			g.fail(w, r, api.ErrInternal)
		}
	}()
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	deadlines(w, RequestTimeout)
	g.mux.ServeHTTP(w, r)
}

// refuse answers what is not in the table; it counts against the address.
func (g *Gateway) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if !g.anonymous.take(addressKey(r.RemoteAddr), time.Now()) {
		err = tooMany("too many requests from this address")
	}
	g.fail(w, r, err)
}

func tooMany(message string) error {
	e := api.NewError(api.CodeTooMany, "%s", message)
	e.RetryAfterSeconds = 1
	return e
}

// handle is the one way to every route: admit, authenticate, parse, authorize,
// serve.
func (g *Gateway) handle(rt Route, w http.ResponseWriter, r *http.Request) error {
	if g.base.Err() != nil {
		return errStopping
	}
	p, err := g.admit(rt, r)
	if err != nil {
		return err
	}
	q, err := g.parse(rt, r, p)
	if err != nil {
		return err
	}
	if rt.Stream {
		deadlines(w, 0)
		return rt.serve(g, w, q)
	}
	ctx, cancel := context.WithTimeout(r.Context(), RequestTimeout)
	defer cancel()
	q.Request = r.WithContext(ctx)
	if err := g.readBody(rt, w, q); err != nil {
		return err
	}
	pool, key := g.work, string(p.tenant)
	if rt.Scope == api.ScopePublic {
		pool, key = g.public, addressKey(r.RemoteAddr)
	}
	if !pool.enter(key) {
		return tooMany("too many requests at the moment")
	}
	defer pool.leave(key)
	return rt.serve(g, w, q)
}

// readBody has the document of a request in memory, so that a sender who is slow
// keeps nobody from being served.
func (g *Gateway) readBody(rt Route, w http.ResponseWriter, q *query) error {
	if rt.in == nil {
		return nil
	}
	key := string(q.principal.tenant)
	if !g.bodies.enter(key) {
		return tooMany("too many requests at the moment")
	}
	defer g.bodies.leave(key)
	body, err := io.ReadAll(http.MaxBytesReader(w, q.Body, rt.limit))
	if err != nil {
		return unread(err)
	}
	q.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

// admit finds out who asks and whether they ask too often. What proves nobody
// counts against the address it came from.
func (g *Gateway) admit(rt Route, r *http.Request) (principal, error) {
	now, from := time.Now(), addressKey(r.RemoteAddr)
	if rt.Scope == api.ScopePublic {
		if !g.anonymous.take(from, now) {
			return principal{}, tooMany("too many requests from this address")
		}
		return principal{}, nil
	}
	if g.anonymous.empty(from, now) {
		return principal{}, tooMany("too many requests from this address")
	}
	p, err := g.authenticate(r.Context(), r)
	if err != nil {
		g.anonymous.take(from, now)
		return principal{}, err
	}
	if !g.tenants.take(string(p.tenant), now) {
		return principal{}, tooMany("too many requests from this tenant")
	}
	return p, nil
}

// parse reads what the path and the query name, and checks the grant for it.
func (g *Gateway) parse(rt Route, r *http.Request, p principal) (*query, error) {
	q := &query{Request: r, principal: p, scope: rt.Scope}
	if err := rt.checkQuery(r); err != nil {
		return nil, err
	}
	if rt.Scope == api.ScopePublic {
		return q, nil
	}
	if err := q.parseIDs(g.cfg.Provider); err != nil {
		return nil, err
	}
	return q, g.authorize(p, q.access(g.cfg.Provider))
}

func (q *query) access(provider market.Address) api.Access {
	service := q.PathValue("service")
	if service == "" {
		service = q.URL.Query().Get("service")
	}
	return api.Access{
		Scope: q.scope, Provider: provider, DSeq: q.deployment.DSeq,
		GSeq: q.lease.GSeq, OSeq: q.lease.OSeq, Service: service,
	}
}

// mayRead returns a function that tells whether the credential lets a service of
// a group be seen. What is about no service may be seen by whoever got this far.
func (q *query) mayRead(provider market.Address) func(gseq uint32, service string) bool {
	a, grants := q.access(provider), q.principal.grants
	return func(gseq uint32, service string) bool {
		a.GSeq, a.Service = gseq, service
		return service == "" || grants.Allows(a)
	}
}

// mayChange is a [MayChange] for what the route is about.
func (q *query) mayChange(id market.LeaseID, service string) bool {
	return q.principal.grants.Allows(api.Access{
		Scope: q.scope, Provider: id.Provider, DSeq: id.DSeq, GSeq: id.GSeq, OSeq: id.OSeq, Service: service,
	})
}

func (q *query) parseIDs(provider market.Address) error {
	if q.PathValue("dseq") == "" {
		return nil
	}
	dseq, err := number(q.PathValue("dseq"), 64)
	if err != nil {
		return err
	}
	q.deployment = market.DeploymentID{Owner: q.principal.tenant, DSeq: dseq}
	if q.PathValue("gseq") == "" {
		return nil
	}
	gseq, err := number(q.PathValue("gseq"), 32)
	if err != nil {
		return err
	}
	oseq, err := number(q.PathValue("oseq"), 32)
	if err != nil {
		return err
	}
	group := market.GroupID{DeploymentID: q.deployment, GSeq: uint32(gseq)}
	q.lease = market.LeaseID{OrderID: market.OrderID{GroupID: group, OSeq: uint32(oseq)}, Provider: provider}
	return nil
}

// number reads a sequence number: decimal, from 1, without leading zeros.
func number(s string, bits int) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, bits)
	if err != nil || n == 0 || s[0] == '0' {
		return 0, fmt.Errorf("%w: sequence numbers are decimal and from 1", api.ErrMalformed)
	}
	return n, nil
}

func (rt Route) checkQuery(r *http.Request) error {
	if len(r.URL.RawQuery) > MaxHeader {
		return fmt.Errorf("%w: query of at most %d bytes", api.ErrTooLarge, MaxHeader)
	}
	for name, values := range r.URL.Query() {
		known := slices.ContainsFunc(rt.Query, func(q string) bool {
			return q == name || q == "cmd*" && commandIndex(name) >= 0
		})
		if !known {
			return fmt.Errorf("%w: query parameter %.40q is not known here", api.ErrMalformed, name)
		}
		if len(values) != 1 {
			return fmt.Errorf("%w: query parameter %s is given twice", api.ErrMalformed, name)
		}
	}
	return nil
}

// fail answers with the error in the usual form. What was hijacked or begun is
// past answering.
func (g *Gateway) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := api.FromError(err)
	switch e.Code {
	case api.CodeInternal:
		g.log.ErrorContext(r.Context(), "request failed", "method", r.Method, "route", r.Pattern, "error", err)
	case api.CodeUnavailable, api.CodeExhausted:
		g.log.WarnContext(r.Context(), "request not served", "method", r.Method, "route", r.Pattern, "error", err)
	case api.CodeUnauthenticated:
		if g.cfg.Tokens != nil {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
	default:
		g.log.DebugContext(r.Context(), "request refused", "method", r.Method, "route", r.Pattern, "code", string(e.Code))
	}
	if e.RetryAfterSeconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(e.RetryAfterSeconds))
	}
	g.answer(w, r, e.Status, api.Body{Error: e})
}

// answer sends a JSON document.
func (g *Gateway) answer(w http.ResponseWriter, r *http.Request, status int, doc any) {
	body, err := json.Marshal(doc)
	if err != nil {
		g.log.ErrorContext(r.Context(), "answer cannot be encoded", "route", r.Pattern, "error", err)
		status, body = http.StatusInternalServerError, []byte(`{"error":{"code":"internal","message":"the provider failed; its log says why"}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(status)
	if _, err := w.Write(append(body, '\n')); err != nil && !errors.Is(err, http.ErrHijacked) {
		g.log.Log(r.Context(), slog.LevelDebug, "answer not sent", "error", err)
	}
}
