// Package operator is the operator's door to a provider: health for whoever
// watches the process, metrics, an overview with the reasons why orders are not
// bid on, and the switches for maintenance.
//
// [New] makes a handler. It asks for no credentials: serve it on loopback, or
// behind something that asks for them. Requests that a browser makes on behalf
// of another site are refused.
//
//	GET  /healthz   200 as long as the process answers
//	GET  /readyz    200 when the provider can serve, else 503 with the reason
//	GET  /metrics   for Prometheus
//	GET  /overview  JSON, see provider.Overview
//	POST /drain     {"on": true, "notice": "maintenance until 18:00 UTC"}
//	POST /reclaim   {"lease": "tenant/7/1/1/provider"}
//	POST /withdraw  have all earnings paid out now
package operator

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider"
	"github.com/moorage-dev/moorage/provider/gateway/api"
)

// Provider is what the door opens to; a [provider.Provider] is one.
type Provider interface {
	Overview(ctx context.Context) (provider.Overview, error)
	Status(ctx context.Context) (api.ProviderStatus, error)
	Drain(on bool, notice string)
	Reclaim(ctx context.Context, id market.LeaseID) (endsAt int64, err error)
	Withdraw(ctx context.Context) error
}

var _ Provider = (*provider.Provider)(nil)

// maxBody bounds the body of a request, in bytes.
const maxBody = 64 << 10

// Drain is the body of POST /drain.
type Drain struct {
	On bool `json:"on"`
	// Notice says to tenants and operators why.
	Notice string `json:"notice,omitempty"`
}

// Reclaim is the body of POST /reclaim.
type Reclaim struct {
	Lease market.LeaseID `json:"lease"`
}

// Reclaimed is the answer to a [Reclaim].
type Reclaimed struct {
	// EndsAtHeight is when the lease ends; 0 when it has ended.
	EndsAtHeight int64 `json:"ends_at_height"`
}

// New makes the handler. metrics serves GET /metrics; nil is none.
func New(p Provider, metrics http.Handler) http.Handler {
	d := door{p}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", d.ready)
	mux.HandleFunc("GET /overview", d.overview)
	mux.HandleFunc("POST /drain", d.drain)
	mux.HandleFunc("POST /reclaim", d.reclaim)
	mux.HandleFunc("POST /withdraw", d.withdraw)
	if metrics != nil {
		mux.Handle("GET /metrics", metrics)
	}
	return http.NewCrossOriginProtection().Handler(mux)
}

type door struct{ p Provider }

func (d door) ready(w http.ResponseWriter, r *http.Request) {
	s, err := d.p.Status(r.Context())
	switch {
	case err != nil:
		refuse(w, err)
	case s.State == api.ProviderUnready:
		answer(w, http.StatusServiceUnavailable, s.Message)
	default:
		answer(w, http.StatusOK, string(s.State))
	}
}

func (d door) overview(w http.ResponseWriter, r *http.Request) {
	o, err := d.p.Overview(r.Context())
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, http.StatusOK, o)
}

func (d door) drain(w http.ResponseWriter, r *http.Request) {
	var body Drain
	if !read(w, r, &body) {
		return
	}
	d.p.Drain(body.On, body.Notice)
	answer(w, http.StatusOK, body)
}

func (d door) reclaim(w http.ResponseWriter, r *http.Request) {
	var body Reclaim
	if !read(w, r, &body) {
		return
	}
	at, err := d.p.Reclaim(r.Context(), body.Lease)
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, http.StatusOK, Reclaimed{at})
}

func (d door) withdraw(w http.ResponseWriter, r *http.Request) {
	if err := d.p.Withdraw(r.Context()); err != nil {
		refuse(w, err)
		return
	}
	answer(w, http.StatusOK, "withdrawn")
}

// read decodes a body. It reports whether that went well, and answers if not.
func read(w http.ResponseWriter, r *http.Request, into any) bool {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		answer(w, http.StatusBadRequest, err.Error())
		return false
	}
	return true
}

// refuse answers with an error.
func refuse(w http.ResponseWriter, err error) {
	code := http.StatusInternalServerError
	switch {
	case errors.Is(err, market.ErrNotFound):
		code = http.StatusNotFound
	case errors.Is(err, market.ErrState):
		code = http.StatusConflict
	case errors.Is(err, market.ErrUnavailable):
		code = http.StatusServiceUnavailable
	}
	answer(w, code, err.Error())
}

// answer writes JSON; a text becomes {"message": …}.
func answer(w http.ResponseWriter, code int, v any) {
	if text, ok := v.(string); ok {
		v = map[string]string{"message": text}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // the client has gone
}
