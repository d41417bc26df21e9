package marketpb

import (
	"errors"
	"fmt"
	"strings"

	errorsmod "cosmossdk.io/errors"

	"github.com/moorage-dev/moorage/market"
)

// Codespace is the codespace of the market's errors in transaction results.
const Codespace = "market"

// kind is one row of the table of errors.
type kind struct {
	sentinel error
	slug     string
	// code is the number in a transaction result. Do not renumber.
	code uint32
}

// kinds is the table from sentinel to code. Code 1 is the SDK's for internal
// errors.
func kinds() []kind {
	return []kind{
		{market.ErrNotFound, "not-found", 2},
		{market.ErrExists, "exists", 3},
		{market.ErrInvalid, "invalid", 4},
		{market.ErrState, "state", 5},
		{market.ErrUnauthorized, "unauthorized", 6},
		{market.ErrInsufficientFunds, "insufficient-funds", 7},
		{market.ErrLimit, "limit", 8},
		{market.ErrMismatch, "mismatch", 9},
		{market.ErrOverflow, "overflow", 10},
		{market.ErrUnavailable, "unavailable", 11},
	}
}

// refusal is an error of the market on its way to the wire. ABCICode and
// Codespace are what the SDK looks for.
type refusal struct {
	kind kind
	rule string
	text string
	err  error
}

// Error writes the form that [ParseError] reads.
func (r *refusal) Error() string {
	return fmt.Sprintf("market refused [%s] %s: %s", r.kind.slug, r.rule, r.text)
}

// ABCICode returns the code of the sentinel.
func (r *refusal) ABCICode() uint32 { return r.kind.code }

// Codespace returns [Codespace].
func (r *refusal) Codespace() string { return Codespace }

// Unwrap returns the market's error.
func (r *refusal) Unwrap() error { return r.err }

// noRule stands for the rule of an error that names none.
const noRule = "-"

// WireError gives an error of the market the code and the text from which
// [ParseError] makes it again. Other errors are returned as they are.
func WireError(err error) error {
	for _, k := range kinds() {
		if !errors.Is(err, k.sentinel) {
			continue
		}
		r := &refusal{kind: k, rule: noRule, text: err.Error(), err: err}
		if rule, ok := errors.AsType[*market.RuleError](err); ok {
			r.rule, r.text = rule.Rule, rule.Detail
		}
		return r
	}
	return err
}

const refusalMark = "market refused ["

// ParseError makes an error of the market again from a text that holds what
// [WireError] wrote, with whatever the SDK put around it. It reports false when
// there is none.
func ParseError(text string) (error, bool) {
	_, rest, ok := strings.Cut(text, refusalMark)
	if !ok {
		return nil, false
	}
	slug, rest, ok := strings.Cut(rest, "] ")
	if !ok {
		return nil, false
	}
	rule, detail, ok := strings.Cut(rest, ": ")
	if !ok {
		return nil, false
	}
	detail = trimSDK(detail)
	for _, k := range kinds() {
		if k.slug != slug {
			continue
		}
		if rule == noRule {
			return fmt.Errorf("%s: %w", strings.TrimSuffix(detail, ": "+k.sentinel.Error()), k.sentinel), true
		}
		return &market.RuleError{Rule: rule, Kind: k.sentinel, Detail: detail}, true
	}
	return nil, false
}

// trimSDK cuts off what the SDK writes behind an error in answers to
// simulations: the gas used and a line of its source.
func trimSDK(text string) string {
	text, _, _ = strings.Cut(text, " with gas used: '")
	if i := strings.LastIndex(text, " ["); i >= 0 && strings.HasSuffix(text, "]") && strings.Contains(text[i:], ".go:") {
		return text[:i]
	}
	return text
}

// SentinelOf returns the sentinel of a code in the market's codespace, or nil.
func SentinelOf(code uint32) error {
	for _, k := range kinds() {
		if k.code == code {
			return k.sentinel
		}
	}
	return nil
}

// Code returns the codespace and the number of an error as a transaction result
// would show them.
func Code(err error) (string, uint32) {
	space, code, _ := errorsmod.ABCIInfo(err, false)
	return space, code
}
