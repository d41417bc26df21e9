package market

import (
	"encoding/hex"
	"fmt"
	"time"
)

// stateName returns names[s], or a text that shows the number.
func stateName(names []string, s uint8) string {
	if int(s) < len(names) && names[s] != "" {
		return names[s]
	}
	return fmt.Sprintf("invalid-%d", s)
}

// DeploymentState is the state of a deployment. Do not renumber.
type DeploymentState uint8

// Deployment states.
const (
	DeploymentActive DeploymentState = 1
	DeploymentClosed DeploymentState = 2
)

// String returns the state's name.
func (s DeploymentState) String() string {
	return stateName([]string{"", "active", "closed"}, uint8(s))
}

// Terminal reports whether no transition leaves the state.
func (s DeploymentState) Terminal() bool { return s == DeploymentClosed }

// GroupState is the state of a group. Do not renumber.
type GroupState uint8

// Group states.
const (
	// GroupOpen has an order that is open or matched.
	GroupOpen GroupState = 1
	// GroupPaused has no order, by the tenant's wish or because its provider
	// closed the lease.
	GroupPaused GroupState = 2
	// GroupStarved has no order because the escrow account is overdrawn.
	GroupStarved GroupState = 3
	// GroupClosed is final.
	GroupClosed GroupState = 4
)

// String returns the state's name.
func (s GroupState) String() string {
	return stateName([]string{"", "open", "paused", "starved", "closed"}, uint8(s))
}

// Terminal reports whether no transition leaves the state.
func (s GroupState) Terminal() bool { return s == GroupClosed }

// OrderState is the state of an order. Do not renumber.
type OrderState uint8

// Order states.
const (
	OrderOpen    OrderState = 1
	OrderMatched OrderState = 2
	OrderClosed  OrderState = 3
)

// String returns the state's name.
func (s OrderState) String() string {
	return stateName([]string{"", "open", "matched", "closed"}, uint8(s))
}

// Terminal reports whether no transition leaves the state.
func (s OrderState) Terminal() bool { return s == OrderClosed }

// BidState is the state of a bid. Do not renumber.
type BidState uint8

// Bid states.
const (
	BidOpen BidState = 1
	// BidWon has become a lease; the deposit stays until the lease closes.
	BidWon BidState = 2
	// BidLost saw another bid win; the deposit went back at once.
	BidLost BidState = 3
	// BidWithdrawn was taken back, or its order closed; the deposit went back.
	BidWithdrawn BidState = 4
	// BidClosed won, and its lease has closed; the deposit went back.
	BidClosed BidState = 5
)

// String returns the state's name.
func (s BidState) String() string {
	return stateName([]string{"", "open", "won", "lost", "withdrawn", "closed"}, uint8(s))
}

// Terminal reports whether no transition leaves the state. A new bid may take
// the place of a withdrawn one.
func (s BidState) Terminal() bool { return s >= BidLost }

// LeaseState is the state of a lease. Do not renumber.
type LeaseState uint8

// Lease states.
const (
	LeaseActive LeaseState = 1
	// LeaseClosing was given notice by its provider. It runs and pays until its
	// EndsAt.
	LeaseClosing LeaseState = 2
	LeaseClosed  LeaseState = 3
)

// String returns the state's name.
func (s LeaseState) String() string {
	return stateName([]string{"", "active", "closing", "closed"}, uint8(s))
}

// Terminal reports whether no transition leaves the state.
func (s LeaseState) Terminal() bool { return s == LeaseClosed }

// CloseReason says why a lease closed. The ranges are 1 to 9999 for the
// tenant, 10000 to 19999 for the provider and from 20000 for the market, as on
// the Akash chain. Do not renumber.
type CloseReason uint32

// Close reasons.
const (
	ReasonNone              CloseReason = 0
	ReasonTenant            CloseReason = 1
	ReasonUnstable          CloseReason = 10000
	ReasonDecommission      CloseReason = 10001
	ReasonUnspecified       CloseReason = 10002
	ReasonManifestTimeout   CloseReason = 10003
	ReasonInsufficientFunds CloseReason = 20000
	ReasonExpired           CloseReason = 20001
)

// String returns a kebab-case name.
func (r CloseReason) String() string {
	switch r {
	case ReasonNone:
		return "none"
	case ReasonTenant:
		return "tenant"
	case ReasonUnstable:
		return "unstable"
	case ReasonDecommission:
		return "decommission"
	case ReasonUnspecified:
		return "unspecified"
	case ReasonManifestTimeout:
		return "manifest-timeout"
	case ReasonInsufficientFunds:
		return "insufficient-funds"
	case ReasonExpired:
		return "expired"
	}
	return fmt.Sprintf("reason-%d", uint32(r))
}

// Provider reports whether a provider may give this reason.
func (r CloseReason) Provider() bool { return r >= 10000 && r < 20000 }

// AccountState is the state of an escrow account. Do not renumber.
type AccountState uint8

// Account states.
const (
	AccountOpen AccountState = 1
	// AccountOverdrawn could not pay all that was due. A deposit that does revives
	// it; leases that are overdrawn close when their grace ends.
	AccountOverdrawn AccountState = 2
	AccountClosed    AccountState = 3
)

// String returns the state's name.
func (s AccountState) String() string {
	return stateName([]string{"", "open", "overdrawn", "closed"}, uint8(s))
}

// Terminal reports whether no transition leaves the state.
func (s AccountState) Terminal() bool { return s == AccountClosed }

// HashSize is the length of a manifest version hash (SHA-256).
const HashSize = 32

// Hash is the version hash of a manifest.
type Hash [HashSize]byte

// String returns lower-case hexadecimal.
func (h Hash) String() string { return fmt.Sprintf("%x", h[:]) }

// MarshalText implements encoding.TextMarshaler.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hash) UnmarshalText(b []byte) error {
	var v Hash
	if n, err := hex.Decode(v[:], b[:min(len(b), 2*HashSize)]); err != nil || n != HashSize || len(b) != 2*HashSize {
		return fmt.Errorf("market: hash %q: %w: want 64 hexadecimal digits", clip(string(b)), ErrInvalid)
	}
	*h = v
	return nil
}

// Deployment is what a tenant made from one SDL document.
type Deployment struct {
	ID    DeploymentID    `json:"id"`
	State DeploymentState `json:"state"`
	// Hash is the version of the manifest the tenant will send.
	Hash Hash `json:"hash"`
	// CreatedAt and ClosedAt are heights; ClosedAt is 0 while active.
	CreatedAt int64 `json:"created_at"`
	ClosedAt  int64 `json:"closed_at,omitempty"`
}

// Group is one placement of a deployment.
type Group struct {
	ID    GroupID    `json:"id"`
	State GroupState `json:"state"`
	Spec  GroupSpec  `json:"spec"`
	// LastOSeq is the number of the newest order, 0 before the first.
	LastOSeq  uint32 `json:"last_oseq"`
	CreatedAt int64  `json:"created_at"`
}

// Order is a group open for bids.
type Order struct {
	ID    OrderID    `json:"id"`
	State OrderState `json:"state"`
	Spec  GroupSpec  `json:"spec"`
	// Bids counts the bids now open on the order.
	Bids      uint32 `json:"bids"`
	CreatedAt int64  `json:"created_at"`
	// ExpiresAt is the height at which the order closes if no bid has won by
	// then, 0 for never.
	ExpiresAt int64 `json:"expires_at,omitempty"`
	ClosedAt  int64 `json:"closed_at,omitempty"`
}

// Bid is a provider's offer on an order.
type Bid struct {
	ID    BidID    `json:"id"`
	State BidState `json:"state"`
	// Price is for the whole group as ordered, per block.
	Price Price `json:"price"`
	// Units are the prices per replica, in the order of the group's units; none
	// when the counts are fixed and the bidder named none.
	Units []UnitPrice `json:"units,omitempty"`
	// Deposit is held until the bid ends.
	Deposit   Coin  `json:"deposit"`
	CreatedAt int64 `json:"created_at"`
	ClosedAt  int64 `json:"closed_at,omitempty"`
}

// Lease is the contract from a matched bid.
type Lease struct {
	ID    LeaseID    `json:"id"`
	State LeaseState `json:"state"`
	// Price is what it costs now, per block: that of the bid until it is scaled.
	Price     Price `json:"price"`
	CreatedAt int64 `json:"created_at"`
	ClosedAt  int64 `json:"closed_at,omitempty"`
	// Reason says why it closed, or why notice was given.
	Reason CloseReason `json:"reason,omitempty"`
	// EndsAt is the height at which it ends because notice was given, else 0.
	EndsAt int64 `json:"ends_at,omitempty"`
	// Scales counts the requests to scale that were made.
	Scales uint32 `json:"scales,omitempty"`
	// Scale is the request that waits for the provider's answer, nil for none.
	Scale *Scale `json:"scale,omitempty"`
}

// Deposit is money one depositor put into an escrow account, less what was
// spent of it.
type Deposit struct {
	Depositor Address `json:"depositor"`
	Height    int64   `json:"height"`
	Balance   Coin    `json:"balance"`
}

// MaxDepositors bounds the deposits of others than the tenant that an account
// holds at a time, of all denominations together. A deposit that follows one of the
// same depositor in the same denomination is added to it; one that is spent no
// longer counts. The tenant always finds room.
const MaxDepositors = 16

// Account is the escrow account of a deployment. Its payments are separate
// values: one [Payment] per lease.
type Account struct {
	ID    DeploymentID `json:"id"`
	State AccountState `json:"state"`
	// Deposits are spent in this order, first in, first out, per denomination.
	Deposits []Deposit `json:"deposits"`
	// Transferred is what left the account to payments so far.
	Transferred Coins `json:"transferred"`
	// SettledAt is the height up to which every open payment is settled.
	SettledAt int64 `json:"settled_at"`
	// OverdrawnAt is the height at which funds first fell short of what is due
	// and still unpaid, 0 while nothing is: the lowest of its payments'.
	OverdrawnAt int64 `json:"overdrawn_at,omitempty"`
	// DueAt is the height at which the market acts on the account by itself if
	// nobody does before: where funds run out, or where the grace of an
	// overdrawn account ends. 0 is never.
	DueAt int64 `json:"due_at,omitempty"`
}

// Funds sums the deposits by denomination.
func (a Account) Funds() (Coins, error) {
	var sum Coins
	var err error
	for _, d := range a.Deposits {
		if sum, err = sum.Add(d.Balance); err != nil {
			return nil, err
		}
	}
	return sum, nil
}

// Payment is the stream of money of one lease.
type Payment struct {
	ID    LeaseID      `json:"id"`
	State AccountState `json:"state"`
	Price Price        `json:"price"`
	// Balance is earned and not yet withdrawn, whole units.
	Balance Amount `json:"balance"`
	// Fraction is earned but not yet a whole unit: below 1, carried on. What is
	// left of it at the end of the lease stays with the tenant.
	Fraction Decimal `json:"fraction"`
	// Withdrawn went to the provider so far, before the market's fee.
	Withdrawn Amount `json:"withdrawn"`
	// FeeCarry is the market's fee that was not yet a whole unit, in
	// ten-thousandths of a unit, below 10000.
	FeeCarry uint32 `json:"fee_carry,omitempty"`
	// Unpaid is due since the funds ran out and not paid, whole units. A deposit
	// pays it first, also after the lease has ended; what is left of it when the
	// account closes is the provider's loss.
	Unpaid Amount `json:"unpaid"`
	// OverdrawnAt is the height since which Unpaid is not zero, 0 while it is.
	OverdrawnAt int64 `json:"overdrawn_at,omitempty"`
	// EndsAt is the height after which nothing falls due because notice was
	// given, 0 for none: that of its lease.
	EndsAt int64 `json:"ends_at,omitempty"`
}

// Provider is a registered seller of capacity.
type Provider struct {
	Owner Address `json:"owner"`
	// HostURI is where the gateway is: https, a host, no path.
	HostURI    string     `json:"host_uri"`
	Attributes Attributes `json:"attributes,omitempty"`
	Email      string     `json:"email,omitempty"`
	Website    string     `json:"website,omitempty"`
	CreatedAt  int64      `json:"created_at"`
}

// CertificateState is the state of a certificate. Do not renumber.
type CertificateState uint8

// Certificate states.
const (
	CertificateValid   CertificateState = 1
	CertificateRevoked CertificateState = 2
)

// String returns the state's name.
func (s CertificateState) String() string {
	return stateName([]string{"", "valid", "revoked"}, uint8(s))
}

// Terminal reports whether no transition leaves the state.
func (s CertificateState) Terminal() bool { return s == CertificateRevoked }

// CertificateID names a certificate: its owner and its serial number in
// decimal digits.
type CertificateID struct {
	Owner  Address `json:"owner"`
	Serial string  `json:"serial"`
}

// String returns "owner/serial".
func (id CertificateID) String() string { return string(id.Owner) + "/" + id.Serial }

// AppendKey appends the binary key; see [Address.AppendKey].
func (id CertificateID) AppendKey(b []byte) []byte {
	return Address(id.Serial).AppendKey(id.Owner.AppendKey(b))
}

// Certificate is an x.509 certificate that its owner published, so that
// gateways know whom they speak to.
type Certificate struct {
	ID    CertificateID    `json:"id"`
	State CertificateState `json:"state"`
	// DER is the certificate; the common name is the owner's address.
	DER       []byte    `json:"der"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
}

// AuditID names what an auditor says of a provider.
type AuditID struct {
	Provider Address `json:"provider"`
	Auditor  Address `json:"auditor"`
}

// String returns "provider/auditor".
func (id AuditID) String() string { return string(id.Provider) + "/" + string(id.Auditor) }

// AppendKey appends the binary key; see [Address.AppendKey].
func (id AuditID) AppendKey(b []byte) []byte { return id.Auditor.AppendKey(id.Provider.AppendKey(b)) }

// Audit is an auditor's word that a provider has certain attributes. It counts
// for orders that name the auditor; see [SignedBy].
type Audit struct {
	ID         AuditID    `json:"id"`
	Attributes Attributes `json:"attributes"`
	// ExpiresAt is the block time from which the word no longer counts; the zero
	// time is never.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}
