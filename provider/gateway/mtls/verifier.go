package mtls

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/moorage-dev/moorage/market"
)

// ErrRejected means that a certificate proves nothing. A [RejectError] says why.
var ErrRejected = errors.New("certificate rejected")

// Reason says why a certificate was rejected. Do not rename.
type Reason string

// Reasons.
const (
	ReasonForm        Reason = "form"          // not the kind of certificate used here
	ReasonUsage       Reason = "usage"         // not made for this end of the connection
	ReasonNotYetValid Reason = "not-yet-valid" // before its first date
	ReasonExpired     Reason = "expired"       // after its last date
	ReasonUnknown     Reason = "unknown"       // not on the market
	ReasonMismatch    Reason = "mismatch"      // the market has another one under this name
	ReasonRevoked     Reason = "revoked"       // withdrawn by its owner
	ReasonOwner       Reason = "owner"         // of an account that was not expected
	ReasonAbsent      Reason = "absent"        // the peer sent none, or several
)

// RejectError says why a certificate was rejected. It matches [ErrRejected].
type RejectError struct {
	Reason Reason
	// Detail is for a person. It quotes nothing that the peer made up at length.
	Detail string
}

// Error implements error.
func (e *RejectError) Error() string {
	return fmt.Sprintf("mtls: %s: %s: %s", ErrRejected, e.Reason, e.Detail)
}

// Is matches [ErrRejected].
func (e *RejectError) Is(target error) bool { return target == ErrRejected }

func reject(r Reason, format string, args ...any) error {
	return &RejectError{Reason: r, Detail: fmt.Sprintf(format, args...)}
}

// Registry is where certificates are published; a [market.RegistryReader] is one.
type Registry interface {
	// Certificate returns a certificate or an error that wraps
	// [market.ErrNotFound]. Every other error means that it is not known.
	Certificate(ctx context.Context, id market.CertificateID) (market.Certificate, error)
}

// Use is the end of a connection that a certificate is shown by.
type Use uint8

// Uses.
const (
	// ClientUse is a tenant's end.
	ClientUse Use = 1
	// ServerUse is a provider's end.
	ServerUse Use = 2
)

func (u Use) extended() x509.ExtKeyUsage {
	if u == ServerUse {
		return x509.ExtKeyUsageServerAuth
	}
	return x509.ExtKeyUsageClientAuth
}

// Bounds of a [Verifier].
const (
	// DefaultTTL is how long an answer of the market is used again: so long a
	// revoked certificate may still be accepted.
	DefaultTTL = 10 * time.Second
	// MaxTTL bounds that time.
	MaxTTL = 5 * time.Minute
	// LookupTimeout bounds one question to the market.
	LookupTimeout = 10 * time.Second
	// cacheSize bounds the answers kept of each kind, good and bad. The two are
	// apart so that a flood of made-up certificates drives no good one out.
	cacheSize = 4096
	// maxLookups bounds the questions asked at one time.
	maxLookups = 32
	// MaxDER bounds the bytes of a certificate that is looked at.
	MaxDER = 8 << 10
)

// Config sets up a [Verifier]. Zero fields have defaults.
type Config struct {
	// TTL is how long an answer of the market is used again, at most [MaxTTL]; 0
	// means [DefaultTTL].
	TTL time.Duration
}

// Verifier checks certificates against the market and remembers its answers for
// a short time. It is safe for concurrent use and has nothing to close.
type Verifier struct {
	registry Registry
	ttl      time.Duration
	flights  singleflight.Group
	slots    chan struct{}

	mu   sync.Mutex
	good *cache
	bad  *cache
}

// NewVerifier returns a verifier that asks the registry. The error wraps
// [market.ErrInvalid].
func NewVerifier(r Registry, cfg Config) (*Verifier, error) {
	if r == nil || cfg.TTL < 0 || cfg.TTL > MaxTTL {
		return nil, fmt.Errorf("mtls: verifier: %w: want a registry and a TTL of 0 to %s", market.ErrInvalid, MaxTTL)
	}
	if cfg.TTL == 0 {
		cfg.TTL = DefaultTTL
	}
	return &Verifier{
		registry: r, ttl: cfg.TTL, slots: make(chan struct{}, maxLookups),
		good: newCache(cacheSize), bad: newCache(cacheSize),
	}, nil
}

// Verify returns the account that a peer's certificate proves, at time now. It
// takes for granted that the TLS handshake proved possession of the key. The
// error is a [RejectError] when the certificate proves nothing, and wraps
// [market.ErrUnavailable] when the market cannot be asked; then nothing is known
// and the peer must not be let in.
func (v *Verifier) Verify(ctx context.Context, c *x509.Certificate, use Use, now time.Time) (market.Address, error) {
	id, err := checkForm(c, use)
	if err != nil {
		return "", err
	}
	if err := checkDates(c, now); err != nil {
		return "", err
	}
	if err := v.published(ctx, id, c.Raw, now); err != nil {
		return "", err
	}
	return id.Owner, nil
}

// Forget drops what is remembered of an account's certificates, so that the
// next look is at the market itself. Call it on [market.EventCertificateChanged].
func (v *Verifier) Forget(owner market.Address) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.good.forget(owner)
	v.bad.forget(owner)
}

func checkForm(c *x509.Certificate, use Use) (market.CertificateID, error) {
	if c == nil || len(c.Raw) == 0 || len(c.Raw) > MaxDER {
		return market.CertificateID{}, reject(ReasonForm, "want a certificate of at most %d bytes", MaxDER)
	}
	key, ok := c.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return market.CertificateID{}, reject(ReasonForm, "want an ECDSA key on P-256")
	}
	id, err := ID(c)
	if err != nil {
		return market.CertificateID{}, reject(ReasonForm, "want an account as common name and a positive serial number")
	}
	if !bytes.Equal(c.RawIssuer, c.RawSubject) {
		return market.CertificateID{}, reject(ReasonForm, "want a self-signed certificate")
	}
	if c.KeyUsage&x509.KeyUsageDigitalSignature == 0 || !slices.Contains(c.ExtKeyUsage, use.extended()) {
		return market.CertificateID{}, reject(ReasonUsage, "not made for this end of a connection")
	}
	return id, nil
}

func checkDates(c *x509.Certificate, now time.Time) error {
	if now.Before(c.NotBefore) {
		return reject(ReasonNotYetValid, "good from %s", c.NotBefore.UTC().Format(time.RFC3339))
	}
	if now.After(c.NotAfter) {
		return reject(ReasonExpired, "good until %s", c.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

// published asks whether the market has these very bytes and stands by them.
func (v *Verifier) published(ctx context.Context, id market.CertificateID, der []byte, now time.Time) error {
	key := sha256.Sum256(der)
	if verdict, ok := v.remembered(key, now); ok {
		return verdict
	}
	flight := v.flights.DoChan(string(key[:]), func() (any, error) {
		// Others wait for this answer too: it outlives the one who asked first.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), LookupTimeout)
		defer cancel()
		verdict, err := v.lookup(ctx, id, der)
		if err == nil {
			v.remember(id.Owner, key, verdict, now)
		}
		return verdict, err
	})
	select {
	case <-ctx.Done():
		return fmt.Errorf("mtls: certificate %s: %w: %w", id, market.ErrUnavailable, ctx.Err())
	case r := <-flight:
		if r.Err != nil {
			return r.Err
		}
		verdict, _ := r.Val.(error)
		return verdict
	}
}

// lookup returns the market's verdict, nil for good, or an error when there is
// no answer.
func (v *Verifier) lookup(ctx context.Context, id market.CertificateID, der []byte) (verdict, err error) {
	select {
	case v.slots <- struct{}{}:
		defer func() { <-v.slots }()
	case <-ctx.Done():
		return nil, fmt.Errorf("mtls: certificate %s: %w: too many lookups", id, market.ErrUnavailable)
	}
	have, err := v.registry.Certificate(ctx, id)
	switch {
	case errors.Is(err, market.ErrNotFound):
		return reject(ReasonUnknown, "%s has not published it", id.Owner), nil
	case err != nil:
		return nil, fmt.Errorf("mtls: certificate %s: %w: %w", id, market.ErrUnavailable, err)
	case have.ID != id || !bytes.Equal(have.DER, der):
		return reject(ReasonMismatch, "%s has published another under this serial number", id.Owner), nil
	case have.State != market.CertificateValid:
		return reject(ReasonRevoked, "%s has revoked it", id.Owner), nil
	}
	return nil, nil
}

func (v *Verifier) remembered(key cacheKey, now time.Time) (verdict error, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, ok := v.good.get(key, now); ok {
		return nil, true
	}
	return v.bad.get(key, now)
}

func (v *Verifier) remember(owner market.Address, key cacheKey, verdict error, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	c := v.good
	if verdict != nil {
		c = v.bad
	}
	c.put(cacheEntry{key: key, owner: owner, verdict: verdict, from: now.Add(-v.ttl), until: now.Add(v.ttl)})
}
