package market

import (
	"errors"
	"fmt"
)

// Sentinel errors. Callers match them with [errors.Is]; the hosts of a market
// translate them to and from their own wire format.
var (
	// ErrNotFound means the named thing does not exist.
	ErrNotFound = errors.New("not found")
	// ErrExists means the name is taken.
	ErrExists = errors.New("already exists")
	// ErrInvalid means a value breaks a rule of form: empty, out of range, malformed.
	ErrInvalid = errors.New("invalid")
	// ErrState means the thing exists but its state does not allow the operation.
	ErrState = errors.New("wrong state")
	// ErrUnauthorized means the signer may not do this.
	ErrUnauthorized = errors.New("unauthorized")
	// ErrInsufficientFunds means an account or balance holds less than is needed.
	ErrInsufficientFunds = errors.New("insufficient funds")
	// ErrLimit means a bound of the market's parameters would be passed.
	ErrLimit = errors.New("limit reached")
	// ErrMismatch means an offer does not satisfy what was asked for.
	ErrMismatch = errors.New("mismatch")
	// ErrOverflow means an amount would not fit in 128 bits.
	ErrOverflow = errors.New("amount overflow")
	// ErrUnavailable means the market could not be reached or is not ready.
	// Trying again later can help; the caller decides.
	ErrUnavailable = errors.New("market unavailable")
)

// RuleError is a refusal by the market. It names the rule that was broken, so
// that a program can act on it and a person can look it up.
type RuleError struct {
	// Rule is a stable kebab-case name, for example "bid-price-over-ceiling".
	Rule string
	// Kind is one of the sentinels above; [errors.Is] matches it.
	Kind error
	// Detail says what was wrong, with the values, for a person.
	Detail string
}

// Error implements error.
func (e *RuleError) Error() string {
	return fmt.Sprintf("market: %s: %s: %s", e.Kind, e.Rule, e.Detail)
}

// Unwrap makes [errors.Is] match the kind.
func (e *RuleError) Unwrap() error { return e.Kind }

// Refuse builds a [RuleError]. The detail is formatted as by [fmt.Sprintf].
func Refuse(kind error, rule, format string, args ...any) error {
	return &RuleError{Rule: rule, Kind: kind, Detail: fmt.Sprintf(format, args...)}
}
