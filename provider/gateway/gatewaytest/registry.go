package gatewaytest

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway/mtls"
)

// Registry holds certificates in memory. Safe for concurrent use.
type Registry struct {
	mu      sync.Mutex
	certs   map[market.CertificateID]market.Certificate
	fault   error
	lookups int
}

var _ mtls.Registry = (*Registry)(nil)

// NewRegistry returns an empty registry.
func NewRegistry() *Registry {
	return &Registry{certs: map[market.CertificateID]market.Certificate{}}
}

// Certificate implements [mtls.Registry].
func (r *Registry) Certificate(_ context.Context, id market.CertificateID) (market.Certificate, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lookups++
	if r.fault != nil {
		return market.Certificate{}, r.fault
	}
	c, ok := r.certs[id]
	if !ok {
		return market.Certificate{}, fmt.Errorf("certificate %s: %w", id, market.ErrNotFound)
	}
	return c, nil
}

// Publish puts a certificate in, as a [market.CreateCertificate] would.
func (r *Registry) Publish(tb testing.TB, c tls.Certificate) market.CertificateID {
	tb.Helper()
	id, err := mtls.ID(c.Leaf)
	require.NoError(tb, err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.certs[id] = market.Certificate{
		ID: id, State: market.CertificateValid, DER: c.Leaf.Raw,
		NotBefore: c.Leaf.NotBefore, NotAfter: c.Leaf.NotAfter,
	}
	return id
}

// Revoke withdraws a certificate.
func (r *Registry) Revoke(id market.CertificateID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.certs[id]
	c.State = market.CertificateRevoked
	r.certs[id] = c
}

// Fail makes every lookup return the error; nil ends that.
func (r *Registry) Fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = err
}

// Lookups counts the questions asked.
func (r *Registry) Lookups() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lookups
}

// Certificate makes a certificate good now.
func Certificate(tb testing.TB, owner market.Address) tls.Certificate {
	tb.Helper()
	c, err := mtls.Generate(mtls.Request{Owner: owner, Hosts: []string{"localhost", "127.0.0.1"}}, time.Now())
	require.NoError(tb, err)
	return c
}
