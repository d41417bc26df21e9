package market

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// MaxAddressLength bounds an account address in bytes. Bech32 addresses of
// 32-byte accounts stay well below it.
const MaxAddressLength = 128

// Address names an account in the text form of the host (on Cosmos chains
// bech32). The market compares addresses and never looks inside them.
type Address string

// Validate checks the form: 1 to [MaxAddressLength] letters or digits. The host
// checks the rest. The error wraps [ErrInvalid].
func (a Address) Validate() error {
	ok := len(a) > 0 && len(a) <= MaxAddressLength
	for i := 0; ok && i < len(a); i++ {
		c := a[i]
		ok = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
	}
	if !ok {
		return fmt.Errorf("market: address %q: %w: want 1 to %d letters or digits", clip(string(a)), ErrInvalid, MaxAddressLength)
	}
	return nil
}

// DeploymentID names a deployment: its tenant and a number the tenant chose, by
// custom the height at which it was made. Text form "owner/dseq".
type DeploymentID struct {
	Owner Address
	DSeq  uint64
}

// GroupID names a group of a deployment. Groups are numbered from 1 in the
// order of the SDL's placements. Text form "owner/dseq/gseq".
type GroupID struct {
	DeploymentID
	GSeq uint32
}

// OrderID names an order of a group. Each time a group is opened for bids again
// it gets a new order, numbered from 1. Text form "owner/dseq/gseq/oseq".
type OrderID struct {
	GroupID
	OSeq uint32
}

// BidID names a provider's bid on an order. Text form
// "owner/dseq/gseq/oseq/provider".
type BidID struct {
	OrderID
	Provider Address
}

// LeaseID names the lease that came from a bid. It has the same parts as the
// bid's.
type LeaseID struct {
	OrderID
	Provider Address
}

// String returns the text form.
func (id DeploymentID) String() string {
	return string(id.Owner) + "/" + strconv.FormatUint(id.DSeq, 10)
}

// String returns the text form.
func (id GroupID) String() string {
	return id.DeploymentID.String() + "/" + strconv.FormatUint(uint64(id.GSeq), 10)
}

// String returns the text form.
func (id OrderID) String() string {
	return id.GroupID.String() + "/" + strconv.FormatUint(uint64(id.OSeq), 10)
}

// String returns the text form.
func (id BidID) String() string { return id.OrderID.String() + "/" + string(id.Provider) }

// String returns the text form.
func (id LeaseID) String() string { return id.OrderID.String() + "/" + string(id.Provider) }

// Bid returns the name of the bid that became the lease.
func (id LeaseID) Bid() BidID { return BidID(id) }

// Lease returns the name the lease has if this bid wins.
func (id BidID) Lease() LeaseID { return LeaseID(id) }

// ParseDeploymentID reads the text form. The error wraps [ErrInvalid].
func ParseDeploymentID(s string) (DeploymentID, error) {
	p := idParser{text: s, rest: s}
	id := p.deployment()
	return id, p.finish("deployment", "owner/dseq")
}

// ParseGroupID reads the text form. The error wraps [ErrInvalid].
func ParseGroupID(s string) (GroupID, error) {
	p := idParser{text: s, rest: s}
	id := p.group()
	return id, p.finish("group", "owner/dseq/gseq")
}

// ParseOrderID reads the text form. The error wraps [ErrInvalid].
func ParseOrderID(s string) (OrderID, error) {
	p := idParser{text: s, rest: s}
	id := p.order()
	return id, p.finish("order", "owner/dseq/gseq/oseq")
}

// ParseBidID reads the text form. The error wraps [ErrInvalid].
func ParseBidID(s string) (BidID, error) {
	p := idParser{text: s, rest: s}
	id := BidID{p.order(), p.address()}
	return id, p.finish("bid", "owner/dseq/gseq/oseq/provider")
}

// ParseLeaseID reads the text form. The error wraps [ErrInvalid].
func ParseLeaseID(s string) (LeaseID, error) {
	p := idParser{text: s, rest: s}
	id := LeaseID{p.order(), p.address()}
	return id, p.finish("lease", "owner/dseq/gseq/oseq/provider")
}

// idParser cuts an ID at its slashes and remembers the first fault.
type idParser struct {
	text, rest string
	done       bool
	bad        bool
}

func (p *idParser) next() string {
	if p.done {
		p.bad = true
		return ""
	}
	part, rest, more := strings.Cut(p.rest, "/")
	p.rest, p.done = rest, !more
	return part
}

func (p *idParser) number(bitSize int) uint64 {
	s := p.next()
	n, err := strconv.ParseUint(s, 10, bitSize)
	if err != nil || n == 0 || s[0] == '0' || s[0] == '+' {
		p.bad = true
	}
	return n
}

func (p *idParser) address() Address {
	a := Address(p.next())
	if a.Validate() != nil {
		p.bad = true
	}
	return a
}

func (p *idParser) deployment() DeploymentID { return DeploymentID{p.address(), p.number(64)} }
func (p *idParser) group() GroupID           { return GroupID{p.deployment(), uint32(p.number(32))} }
func (p *idParser) order() OrderID           { return OrderID{p.group(), uint32(p.number(32))} }

func (p *idParser) finish(what, form string) error {
	if p.bad || !p.done {
		return fmt.Errorf("market: %s id %q: %w: want %s", what, clip(p.text), ErrInvalid, form)
	}
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (id DeploymentID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// MarshalText implements encoding.TextMarshaler.
func (id GroupID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// MarshalText implements encoding.TextMarshaler.
func (id OrderID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// MarshalText implements encoding.TextMarshaler.
func (id BidID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// MarshalText implements encoding.TextMarshaler.
func (id LeaseID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *DeploymentID) UnmarshalText(b []byte) error { return unmarshalID(id, b, ParseDeploymentID) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *GroupID) UnmarshalText(b []byte) error { return unmarshalID(id, b, ParseGroupID) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *OrderID) UnmarshalText(b []byte) error { return unmarshalID(id, b, ParseOrderID) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *BidID) UnmarshalText(b []byte) error { return unmarshalID(id, b, ParseBidID) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *LeaseID) UnmarshalText(b []byte) error { return unmarshalID(id, b, ParseLeaseID) }

func unmarshalID[T any](id *T, b []byte, parse func(string) (T, error)) error {
	v, err := parse(string(b))
	if err == nil {
		*id = v
	}
	return err
}

// AppendKey appends a binary key to b. Keys sort as (owner, dseq, gseq, oseq,
// provider); every part ends itself, so that the key of an owner or deployment
// is a prefix of exactly the keys of what belongs to it: deployment 12 is no
// prefix of deployment 123.
func (a Address) AppendKey(b []byte) []byte { return append(append(b, a...), 0) }

// AppendKey appends the binary key; see [Address.AppendKey].
func (id DeploymentID) AppendKey(b []byte) []byte {
	return binary.BigEndian.AppendUint64(id.Owner.AppendKey(b), id.DSeq)
}

// AppendKey appends the binary key; see [Address.AppendKey].
func (id GroupID) AppendKey(b []byte) []byte {
	return binary.BigEndian.AppendUint32(id.DeploymentID.AppendKey(b), id.GSeq)
}

// AppendKey appends the binary key; see [Address.AppendKey].
func (id OrderID) AppendKey(b []byte) []byte {
	return binary.BigEndian.AppendUint32(id.GroupID.AppendKey(b), id.OSeq)
}

// AppendKey appends the binary key; see [Address.AppendKey].
func (id BidID) AppendKey(b []byte) []byte { return id.Provider.AppendKey(id.OrderID.AppendKey(b)) }

// AppendKey appends the binary key; see [Address.AppendKey].
func (id LeaseID) AppendKey(b []byte) []byte { return id.Provider.AppendKey(id.OrderID.AppendKey(b)) }
