package iplease

import (
	"fmt"
	"strings"

	"github.com/moorage-dev/moorage/market"
)

// MaxNameLength bounds the name of an endpoint in bytes.
const MaxNameLength = 64

// ClaimID names a claim on one provider: its tenant and the name that the
// tenant's documents give the endpoint. Text form "owner/name".
type ClaimID struct {
	Owner market.Address
	Name  string
}

// String returns the text form.
func (id ClaimID) String() string { return string(id.Owner) + "/" + id.Name }

// MarshalText implements encoding.TextMarshaler.
func (id ClaimID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *ClaimID) UnmarshalText(b []byte) error {
	got, err := ParseClaimID(string(b))
	if err == nil {
		*id = got
	}
	return err
}

// ParseClaimID reads the text form. The error wraps [market.ErrInvalid].
func ParseClaimID(s string) (ClaimID, error) {
	owner, name, _ := strings.Cut(s, "/")
	id := ClaimID{market.Address(owner), name}
	return id, id.Validate()
}

// Validate checks the form: an address and a name as in SDL, a lower-case letter
// and then at least one of a-z, 0-9, "-" and "_". The error wraps
// [market.ErrInvalid].
func (id ClaimID) Validate() error {
	if err := id.Owner.Validate(); err != nil {
		return fmt.Errorf("iplease: claim: %w", err)
	}
	if !validName(id.Name) {
		return fmt.Errorf("iplease: claim: %w: endpoint name %.70q: want a-z and then 1 to %d of a-z, 0-9, - and _", market.ErrInvalid, id.Name, MaxNameLength-1)
	}
	return nil
}

func validName(s string) bool {
	if len(s) < 2 || len(s) > MaxNameLength || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// Protocol is a transport protocol. Do not renumber.
type Protocol uint8

// Protocols.
const (
	TCP Protocol = 1
	UDP Protocol = 2
)

// String returns "TCP" or "UDP".
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "TCP"
	case UDP:
		return "UDP"
	}
	return fmt.Sprintf("invalid-%d", uint8(p))
}

// MarshalText implements encoding.TextMarshaler.
func (p Protocol) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; it takes any case.
func (p *Protocol) UnmarshalText(b []byte) error {
	switch strings.ToUpper(string(b)) {
	case "TCP":
		*p = TCP
	case "UDP":
		*p = UDP
	default:
		return fmt.Errorf("iplease: protocol %.20q: %w: want TCP or UDP", b, market.ErrInvalid)
	}
	return nil
}

// Family is a set of address families. Do not renumber.
type Family uint8

// Families. [Dual] is one address of each.
const (
	IPv4 Family = 1
	IPv6 Family = 2
	Dual Family = IPv4 | IPv6
)

// String returns "ipv4", "ipv6", "dual" or "any".
func (f Family) String() string {
	switch f {
	case 0:
		return "any"
	case IPv4:
		return "ipv4"
	case IPv6:
		return "ipv6"
	case Dual:
		return "dual"
	}
	return fmt.Sprintf("invalid-%d", uint8(f))
}

// MarshalText implements encoding.TextMarshaler.
func (f Family) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *Family) UnmarshalText(b []byte) error {
	for i := Family(0); i <= Dual; i++ {
		if i.String() == string(b) {
			*f = i
			return nil
		}
	}
	return fmt.Errorf("iplease: family %.20q: %w: want ipv4, ipv6 or dual", b, market.ErrInvalid)
}
