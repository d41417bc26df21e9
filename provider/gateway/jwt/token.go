package jwt

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/go-multierror"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway/api"
)

// Algorithm says what is signed. Do not rename.
type Algorithm string

// Algorithms.
const (
	// ES256K signs the token as it is.
	ES256K Algorithm = "ES256K"
	// ES256KADR36 signs an ADR-36 document around it, as browser wallets do.
	ES256KADR36 Algorithm = "ES256KADR36"
)

// Bounds of a [Verifier].
const (
	// MaxToken bounds a token in bytes.
	MaxToken = 16 << 10
	// DefaultMaxLifetime is the longest a token may be good for when nothing else
	// is said. AEP-64 recommends some 15 minutes.
	DefaultMaxLifetime = 30 * 24 * time.Hour
	// Leeway is how far the clocks of issuer and provider may differ.
	Leeway = 30 * time.Second
)

type header struct {
	Alg  Algorithm       `json:"alg"`
	Typ  string          `json:"typ,omitempty"`
	Crit json.RawMessage `json:"crit,omitempty"`
}

// Signer signs the SHA-256 of a message with the secp256k1 key of an account and
// returns r and s, 32 bytes each, s in the lower half; a keyring of the Cosmos SDK
// does.
type Signer func(message []byte) (signature []byte, err error)

// Read returns what a token says without checking who has signed it or whether
// it is good now. It is for whoever holds a token and wants to know its issuer;
// a provider uses a [Verifier].
func Read(token string) (Claims, error) {
	p, err := split(token)
	if err != nil {
		return Claims{}, err
	}
	return decodeClaims(p.claims)
}

// Sign makes a token. The error wraps [ErrClaims] when a verifier would refuse it.
func Sign(c Claims, alg Algorithm, sign Signer) (string, error) {
	if err := c.Validate(); err != nil {
		return "", err
	}
	h, err := json.Marshal(header{Alg: alg, Typ: "JWT"})
	if err != nil {
		return "", fmt.Errorf("jwt: header: %w", err)
	}
	body, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("jwt: claims: %w", err)
	}
	input := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(body)
	message, err := alg.message(input, c.Issuer)
	if err != nil {
		return "", err
	}
	sig, err := sign(message)
	if err != nil {
		return "", fmt.Errorf("jwt: sign: %w", err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(sig), nil
}

// message returns the bytes whose SHA-256 is signed.
func (alg Algorithm) message(input string, issuer market.Address) ([]byte, error) {
	switch alg {
	case ES256K:
		return []byte(input), nil
	case ES256KADR36:
		return adr36(input, issuer), nil
	}
	return nil, fmt.Errorf("jwt: algorithm: %w", errors.ErrUnsupported)
}

// adr36 is the canonical sign document of ADR-36: keys in order, no white space.
// The issuer is letters and digits, so nothing needs escaping.
func adr36(data string, signer market.Address) []byte {
	var b bytes.Buffer
	b.WriteString(`{"account_number":"0","chain_id":"","fee":{"amount":[],"gas":"0"},"memo":"","msgs":[{"type":"sign/MsgSignData","value":{"data":"`)
	b.WriteString(base64.StdEncoding.EncodeToString([]byte(data)))
	b.WriteString(`","signer":"`)
	b.WriteString(string(signer))
	b.WriteString(`"}}],"sequence":"0"}`)
	return b.Bytes()
}

// Config sets up a [Verifier].
type Config struct {
	// Provider is who is spoken to. Required.
	Provider market.Address
	// MaxLifetime is the longest a token may be good for, from iat to exp; 0 means
	// [DefaultMaxLifetime].
	MaxLifetime time.Duration
	// RequireAudience refuses tokens that do not name the provider: those without
	// aud that are not granular.
	RequireAudience bool
}

// Verifier checks tokens. It is safe for concurrent use and has nothing to close.
type Verifier struct{ cfg Config }

// NewVerifier returns a verifier. The error wraps [market.ErrInvalid].
func NewVerifier(cfg Config) (*Verifier, error) {
	var faults *multierror.Error
	if err := cfg.Provider.Validate(); err != nil {
		faults = multierror.Append(faults, fmt.Errorf("jwt: provider: %w", err))
	}
	if cfg.MaxLifetime < 0 {
		faults = multierror.Append(faults, fmt.Errorf("jwt: max lifetime: %w: at least 0", market.ErrInvalid))
	}
	if cfg.MaxLifetime == 0 {
		cfg.MaxLifetime = DefaultMaxLifetime
	}
	return &Verifier{cfg}, faults.ErrorOrNil()
}

// VerifyToken returns who has issued a token and what it grants at time now. The
// error wraps [api.ErrUnauthenticated] and quotes nothing of the token.
func (v *Verifier) VerifyToken(_ context.Context, token string, now time.Time) (market.Address, api.Grants, error) {
	c, err := v.verify(token, now)
	if err != nil {
		return "", nil, fmt.Errorf("%w: token: %w", api.ErrUnauthenticated, err)
	}
	return c.Issuer, c.Leases, nil
}

// Reasons for a refusal beside [ErrClaims].
var (
	// ErrForm means that it is no token of a known kind.
	ErrForm = errors.New("jwt: malformed token")
	// ErrTime means that it is not good yet, not any more, or for too long.
	ErrTime = errors.New("jwt: not good at this time")
	// ErrAudience means that it is for another provider.
	ErrAudience = errors.New("jwt: for another provider")
	// ErrSignature means that the issuer has not signed it.
	ErrSignature = errors.New("jwt: bad signature")
)

func (v *Verifier) verify(token string, now time.Time) (Claims, error) {
	p, err := split(token)
	if err != nil {
		return Claims{}, err
	}
	c, err := decodeClaims(p.claims)
	if err != nil {
		return Claims{}, err
	}
	if err := v.checkTime(c, now); err != nil {
		return Claims{}, err
	}
	if !c.forProvider(v.cfg.Provider) || v.cfg.RequireAudience && c.Audience == nil && c.Leases.Access != Granular {
		return Claims{}, ErrAudience
	}
	message, err := p.alg.message(p.input, c.Issuer)
	if err != nil {
		return Claims{}, ErrForm
	}
	if !signedBy(c.Issuer, message, p.signature) {
		return Claims{}, ErrSignature
	}
	return c, nil
}

func (v *Verifier) checkTime(c Claims, now time.Time) error {
	at, leeway := now.Unix(), int64(Leeway/time.Second)
	switch {
	case at+leeway < *c.NotBefore || at+leeway < *c.IssuedAt:
		return fmt.Errorf("%w: not yet", ErrTime)
	case at >= *c.Expires: // no leeway: what is expired is expired
		return fmt.Errorf("%w: expired", ErrTime)
	case *c.Expires-*c.IssuedAt > int64(v.cfg.MaxLifetime/time.Second):
		return fmt.Errorf("%w: good for longer than %s", ErrTime, v.cfg.MaxLifetime)
	}
	return nil
}

// parts are the decoded parts of a token.
type parts struct {
	alg       Algorithm
	input     string // what is signed
	claims    []byte
	signature []byte
}

func split(token string) (parts, error) {
	if len(token) > MaxToken {
		return parts{}, ErrForm
	}
	texts := strings.Split(token, ".")
	if len(texts) != 3 {
		return parts{}, ErrForm
	}
	var raw [3][]byte
	for i, text := range texts {
		var err error
		if raw[i], err = base64.RawURLEncoding.Strict().DecodeString(text); err != nil {
			return parts{}, ErrForm
		}
	}
	var h header
	if json.Unmarshal(raw[0], &h) != nil || h.Crit != nil || h.Typ != "" && !strings.EqualFold(h.Typ, "JWT") {
		return parts{}, ErrForm
	}
	return parts{h.Alg, texts[0] + "." + texts[1], raw[1], raw[2]}, nil
}
