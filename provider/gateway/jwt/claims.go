package jwt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway/api"
)

// Version is the only version of tokens there is.
const Version = "v1"

// Bounds of the lists in a token.
const (
	// MaxPermissions bounds the providers in a token.
	MaxPermissions = 64
	// MaxDeployments bounds the deployments for one provider.
	MaxDeployments = 64
	// MaxServices bounds the services of one deployment.
	MaxServices = 64
)

// ErrClaims means that claims break a rule of AEP-64. It goes with the rule.
var ErrClaims = errors.New("jwt: bad claims")

// Access says how much is granted. Do not rename.
type Access string

// Kinds of access.
const (
	Full     Access = "full"
	Scoped   Access = "scoped"
	Granular Access = "granular"
)

// Claims are what a token says. Times are Unix seconds.
type Claims struct {
	Issuer    market.Address `json:"iss"`
	IssuedAt  *int64         `json:"iat,omitempty"`
	NotBefore *int64         `json:"nbf,omitempty"`
	Expires   *int64         `json:"exp,omitempty"`
	// ID is for the issuer's records; it has no effect.
	ID string `json:"jti,omitempty"`
	// Audience names the providers that the token is for; nil is all. It is not in
	// AEP-64: other implementations may refuse it.
	Audience Audience `json:"aud,omitempty"`
	Version  string   `json:"version"`
	Leases   Leases   `json:"leases"`
}

// Audience is a list of providers; in JSON one alone may stand without the list.
type Audience []market.Address

// UnmarshalJSON implements json.Unmarshaler.
func (a *Audience) UnmarshalJSON(b []byte) error {
	var one market.Address
	if json.Unmarshal(b, &one) == nil {
		*a = Audience{one}
		return nil
	}
	return json.Unmarshal(b, (*[]market.Address)(a))
}

// Leases is what is granted on the leases of the issuer.
type Leases struct {
	Access Access `json:"access"`
	// Scope goes with Scoped.
	Scope []api.Scope `json:"scope,omitempty"`
	// Permissions go with Granular, one per provider.
	Permissions []Permission `json:"permissions,omitempty"`
}

// Permission is what is granted at one provider.
type Permission struct {
	Provider market.Address `json:"provider"`
	Access   Access         `json:"access"`
	// Scope goes with Scoped.
	Scope []api.Scope `json:"scope,omitempty"`
	// Deployments go with Granular.
	Deployments []Deployment `json:"deployments,omitempty"`
}

// Deployment is what is granted on one deployment.
type Deployment struct {
	DSeq uint64 `json:"dseq"`
	// GSeq and OSeq limit to a group and an order; 0 is all.
	GSeq  uint32      `json:"gseq,omitempty"`
	OSeq  uint32      `json:"oseq,omitempty"`
	Scope []api.Scope `json:"scope"`
	// Services are at least one.
	Services []string `json:"services"`
}

// Lasting returns claims that are good from now on for d, with nothing granted
// yet.
func Lasting(issuer market.Address, now time.Time, d time.Duration) Claims {
	from, to := now.Unix(), now.Add(d).Unix()
	return Claims{Issuer: issuer, IssuedAt: &from, NotBefore: &from, Expires: &to, Version: Version}
}

// decodeClaims reads claims; unknown keys are refused, as they could be limits.
func decodeClaims(b []byte) (c Claims, err error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return c, fmt.Errorf("%w: not claims in JSON", ErrClaims)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return c, fmt.Errorf("%w: text after the claims", ErrClaims)
	}
	return c, c.Validate()
}

// Validate checks the form, not the time. The error wraps [ErrClaims].
func (c Claims) Validate() error {
	switch {
	case c.Issuer.Validate() != nil:
		return bad("iss is no address")
	case c.IssuedAt == nil || c.NotBefore == nil || c.Expires == nil:
		return bad("iat, nbf and exp are required")
	case *c.IssuedAt < 0 || *c.NotBefore < 0 || *c.Expires < 0:
		return bad("times are not negative")
	case *c.Expires < *c.IssuedAt || *c.Expires < *c.NotBefore:
		return bad("exp is before iat or nbf")
	case c.Version != Version:
		return bad("version is " + Version)
	}
	return c.Leases.validate()
}

func bad(rule string) error { return fmt.Errorf("%w: %s", ErrClaims, rule) }

func (l Leases) validate() error {
	switch l.Access {
	case Full:
		return none(l.Scope == nil && l.Permissions == nil, "full access has neither scope nor permissions")
	case Scoped:
		if l.Permissions != nil {
			return bad("scoped access has no permissions")
		}
		return validScope(l.Scope)
	case Granular:
		return l.validatePermissions()
	}
	return bad("access is full, scoped or granular")
}

func none(ok bool, rule string) error {
	if ok {
		return nil
	}
	return bad(rule)
}

func (l Leases) validatePermissions() error {
	if l.Scope != nil || len(l.Permissions) == 0 || len(l.Permissions) > MaxPermissions {
		return bad(fmt.Sprintf("granular access has 1 to %d permissions and no scope", MaxPermissions))
	}
	seen := map[market.Address]bool{}
	for _, p := range l.Permissions {
		if seen[p.Provider] || p.Provider.Validate() != nil {
			return bad("each provider is an address and there once")
		}
		seen[p.Provider] = true
		if err := p.validate(); err != nil {
			return err
		}
	}
	return nil
}

func (p Permission) validate() error {
	switch p.Access {
	case Full:
		return none(p.Scope == nil && p.Deployments == nil, "full access has neither scope nor deployments")
	case Scoped:
		if p.Deployments != nil {
			return bad("scoped access has no deployments")
		}
		return validScope(p.Scope)
	case Granular:
		if p.Scope != nil || len(p.Deployments) == 0 || len(p.Deployments) > MaxDeployments {
			return bad(fmt.Sprintf("granular access has 1 to %d deployments and no scope", MaxDeployments))
		}
		for _, d := range p.Deployments {
			if err := d.validate(); err != nil {
				return err
			}
		}
		return nil
	}
	return bad("access is full, scoped or granular")
}

func (d Deployment) validate() error {
	switch {
	case d.DSeq == 0:
		return bad("dseq is at least 1")
	case d.OSeq > 0 && d.GSeq == 0:
		return bad("oseq needs gseq")
	case len(d.Services) == 0 || len(d.Services) > MaxServices || slices.Contains(d.Services, ""):
		return bad(fmt.Sprintf("a deployment has 1 to %d services with names", MaxServices))
	case repeats(d.Services):
		return bad("services are there once")
	}
	return validScope(d.Scope)
}

func validScope(scopes []api.Scope) error {
	if len(scopes) == 0 || repeats(scopes) {
		return bad("scope is not empty and each is there once")
	}
	for _, s := range scopes {
		if !s.Grantable() {
			return bad("scope is one of AEP-64")
		}
	}
	return nil
}

func repeats[T comparable](list []T) bool {
	seen := make(map[T]bool, len(list))
	for _, v := range list {
		if seen[v] {
			return true
		}
		seen[v] = true
	}
	return false
}

var _ api.Grants = Leases{}

// Allows implements [api.Grants].
func (l Leases) Allows(a api.Access) bool {
	switch l.Access {
	case Full:
		return true
	case Scoped:
		return slices.Contains(l.Scope, a.Scope)
	case Granular:
		i := slices.IndexFunc(l.Permissions, func(p Permission) bool { return p.Provider == a.Provider })
		return i >= 0 && l.Permissions[i].allows(a)
	}
	return false
}

func (p Permission) allows(a api.Access) bool {
	switch p.Access {
	case Full:
		return true
	case Scoped:
		return slices.Contains(p.Scope, a.Scope)
	case Granular:
		return slices.ContainsFunc(p.Deployments, func(d Deployment) bool { return d.allows(a) })
	}
	return false
}

// allows takes a zero in the access for "some": what is done with it is then cut
// down by asking again with the parts.
func (d Deployment) allows(a api.Access) bool {
	return d.DSeq == a.DSeq &&
		(d.GSeq == 0 || a.GSeq == 0 || d.GSeq == a.GSeq) &&
		(d.OSeq == 0 || a.OSeq == 0 || d.OSeq == a.OSeq) &&
		slices.Contains(d.Scope, a.Scope) &&
		(a.Service == "" || slices.Contains(d.Services, a.Service))
}

// forProvider reports whether the token is meant for a provider at all.
func (c Claims) forProvider(p market.Address) bool {
	if c.Audience != nil && !slices.Contains(c.Audience, p) {
		return false
	}
	return c.Leases.Access != Granular ||
		slices.ContainsFunc(c.Leases.Permissions, func(x Permission) bool { return x.Provider == p })
}
