// Package iplease will hold the pools and claims of leased addresses.
package iplease

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/moorage-dev/moorage/market"
)

// ClaimID names a claim: an endpoint name of an owner. Text form "owner/name".
type ClaimID struct {
	Owner market.Address
	Name  string
}

// String returns the text form.
func (id ClaimID) String() string { return string(id.Owner) + "/" + id.Name }

// ParseClaimID reads the text form.
func ParseClaimID(s string) (ClaimID, error) {
	owner, name, ok := strings.Cut(s, "/")
	if !ok || owner == "" || name == "" {
		return ClaimID{}, fmt.Errorf("iplease: claim %.200q: want owner/name", s)
	}
	return ClaimID{market.Address(owner), name}, nil
}

// MarshalText implements encoding.TextMarshaler.
func (id ClaimID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *ClaimID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseClaimID(string(b))
	return err
}

// Protocol is a transport protocol.
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
	return "invalid"
}

// MarshalText implements encoding.TextMarshaler.
func (p Protocol) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Protocol) UnmarshalText(b []byte) error {
	switch string(b) {
	case "TCP":
		*p = TCP
	case "UDP":
		*p = UDP
	default:
		return fmt.Errorf("iplease: protocol %.20q", b)
	}
	return nil
}

// Port is a port of a claim and where it leads.
type Port struct {
	Protocol Protocol
	External uint16
	Lease    market.LeaseID
	Service  string
	Port     uint16
	Sources  []netip.Prefix
}
