package market

import (
	"fmt"
	"strings"
)

// RetainerID names a retainer: who pays whom, and what for. The kind says what
// sort of thing is kept, the name which one. Text form
// "owner/provider/kind/name".
type RetainerID struct {
	Owner    Address
	Provider Address
	Kind     string
	Name     string
}

// Bounds on the parts of a [RetainerID], in bytes.
const (
	MaxRetainerKindLength = 32
	MaxRetainerNameLength = 128
)

// String returns the text form.
func (id RetainerID) String() string {
	return string(id.Owner) + "/" + string(id.Provider) + "/" + id.Kind + "/" + id.Name
}

// ParseRetainerID reads the text form. The error wraps [ErrInvalid].
func ParseRetainerID(s string) (RetainerID, error) {
	parts := strings.Split(s, "/")
	if len(parts) == 4 {
		id := RetainerID{Address(parts[0]), Address(parts[1]), parts[2], parts[3]}
		if id.Validate() == nil {
			return id, nil
		}
	}
	return RetainerID{}, fmt.Errorf("market: retainer id %q: %w: want owner/provider/kind/name", clip(s), ErrInvalid)
}

// MarshalText implements encoding.TextMarshaler.
func (id RetainerID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *RetainerID) UnmarshalText(b []byte) error { return unmarshalID(id, b, ParseRetainerID) }

// AppendKey appends the binary key; see [Address.AppendKey]. Keys sort as
// (owner, provider, kind, name).
func (id RetainerID) AppendKey(b []byte) []byte {
	b = id.Provider.AppendKey(id.Owner.AppendKey(b))
	return append(append(append(append(b, id.Kind...), 0), id.Name...), 0)
}

// Validate checks the form: addresses, a kind of 1 to [MaxRetainerKindLength]
// and a name of 1 to [MaxRetainerNameLength] letters, digits or any of "._-".
// The error wraps [ErrInvalid].
func (id RetainerID) Validate() error {
	for _, a := range []Address{id.Owner, id.Provider} {
		if err := a.Validate(); err != nil {
			return err
		}
	}
	if !retainerWord(id.Kind, MaxRetainerKindLength) || !retainerWord(id.Name, MaxRetainerNameLength) {
		return fmt.Errorf("market: retainer of kind %q, name %q: %w: want 1 to %d and 1 to %d letters, digits or ._-",
			clip(id.Kind), clip(id.Name), ErrInvalid, MaxRetainerKindLength, MaxRetainerNameLength)
	}
	return nil
}

func retainerWord(s string, most int) bool {
	ok := len(s) > 0 && len(s) <= most
	for i := 0; ok && i < len(s); i++ {
		c := s[i]
		ok = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
	}
	return ok
}

// RetainerState is the state of a retainer. Do not renumber.
type RetainerState uint8

// Retainer states.
const (
	RetainerOpen RetainerState = 1
	// RetainerClosed no longer pays; what was left went back. A new one may take
	// its name.
	RetainerClosed RetainerState = 2
)

// String returns the state's name.
func (s RetainerState) String() string {
	return stateName([]string{"", "open", "closed"}, uint8(s))
}

// Terminal reports whether no transition leaves the state. A new retainer may
// take the place of a closed one.
func (s RetainerState) Terminal() bool { return s == RetainerClosed }

// Retainer is a standing payment of an owner to a provider for keeping
// something while no lease does, for example an address. It has escrow of its
// own and is settled like the payment of a lease.
type Retainer struct {
	ID    RetainerID    `json:"id"`
	State RetainerState `json:"state"`
	Price Price         `json:"price"`
	// Funds are what is left of the owner's deposits, in the price's denomination.
	Funds Amount `json:"funds"`
	// Balance is earned and not yet withdrawn, whole units.
	Balance Amount `json:"balance"`
	// Fraction is earned but not yet a whole unit: below 1, carried on.
	Fraction Decimal `json:"fraction"`
	// Withdrawn went to the provider so far, before the market's fee.
	Withdrawn Amount `json:"withdrawn"`
	// FeeCarry is as of [Payment].
	FeeCarry uint32 `json:"fee_carry,omitempty"`
	// Unpaid is what fell due in the last block and was not there, the provider's
	// loss; a retainer ends when it runs dry.
	Unpaid    Amount `json:"unpaid"`
	CreatedAt int64  `json:"created_at"`
	SettledAt int64  `json:"settled_at"`
	// ExpiresAt is the height at which it ends by itself and up to which it pays,
	// 0 for never.
	ExpiresAt int64 `json:"expires_at,omitempty"`
	// DueAt is the height at which the market acts on it by itself: where funds
	// run out or it expires. 0 is never.
	DueAt    int64 `json:"due_at,omitempty"`
	ClosedAt int64 `json:"closed_at,omitempty"`
	// Reason says why it closed.
	Reason CloseReason `json:"reason,omitempty"`
}

// OpenRetainer begins a retainer.
type OpenRetainer struct {
	ID    RetainerID `json:"id"`
	Price Price      `json:"price"`
	// Deposit comes from the owner, in the price's denomination.
	Deposit Coin `json:"deposit"`
	// ExpiresAt is the height at which it ends by itself, 0 for never.
	ExpiresAt int64 `json:"expires_at,omitempty"`
}

// DepositRetainer adds the owner's money to a retainer.
type DepositRetainer struct {
	ID     RetainerID `json:"id"`
	Amount Coin       `json:"amount"`
}

// WithdrawRetainer settles a retainer and pays the provider what it has earned.
type WithdrawRetainer struct {
	ID RetainerID `json:"id"`
}

// CloseRetainer ends a retainer: the provider gets what it has earned, the
// owner what is left.
type CloseRetainer struct {
	ID RetainerID `json:"id"`
	// By is who ends it: the owner or the provider.
	By Address `json:"by"`
}

// Signer implements [Msg].
func (m OpenRetainer) Signer() Address { return m.ID.Owner }

// Signer implements [Msg].
func (m DepositRetainer) Signer() Address { return m.ID.Owner }

// Signer implements [Msg].
func (m WithdrawRetainer) Signer() Address { return m.ID.Provider }

// Signer implements [Msg].
func (m CloseRetainer) Signer() Address { return m.By }
