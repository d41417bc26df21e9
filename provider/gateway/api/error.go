package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/hashicorp/go-multierror"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// Sentinel errors of the gateway itself. The others are those of packages
// market and cluster/driver.
var (
	// ErrUnauthenticated means no credential, or one that proves nothing.
	ErrUnauthenticated = errors.New("unauthenticated")
	// ErrForbidden means the credential is good and does not grant this.
	ErrForbidden = errors.New("forbidden")
	// ErrMalformed means the request cannot be read: syntax, not meaning.
	ErrMalformed = errors.New("malformed request")
	// ErrTooLarge means the request passes a bound on size.
	ErrTooLarge = errors.New("too large")
	// ErrTooMany means a bound on rate or on open streams is reached. Waiting helps.
	ErrTooMany = errors.New("too many requests")
	// ErrStreamGone means the stream to resume is not kept any more.
	ErrStreamGone = errors.New("stream is gone")
	// ErrInternal means a fault of the provider; its log says more.
	ErrInternal = errors.New("internal error")
)

// Code names a kind of refusal in the error body. Codes leave the process: do
// not rename.
type Code string

// Codes of errors.
const (
	CodeMalformed       Code = "malformed"
	CodeUnauthenticated Code = "unauthenticated"
	CodeForbidden       Code = "forbidden"
	CodeNotFound        Code = "not-found"
	CodeMethod          Code = "method-not-allowed"
	CodeConflict        Code = "conflict"
	CodeState           Code = "wrong-state"
	CodeStreamGone      Code = "stream-gone"
	CodeTooLarge        Code = "too-large"
	CodeInvalid         Code = "invalid"
	CodeMismatch        Code = "mismatch"
	CodeTooMany         Code = "too-many"
	CodeUnsupported     Code = "unsupported"
	CodeExhausted       Code = "exhausted"
	CodeUnavailable     Code = "unavailable"
	CodeTimeout         Code = "timeout"
	CodeInternal        Code = "internal"
)

// kind ties a code to its HTTP status and to the sentinels it stands for.
type kind struct {
	code      Code
	status    int
	sentinels []error
}

// kinds lists every code, the more particular before the more general: the
// first whose sentinel matches wins.
func kinds() []kind {
	return []kind{
		{CodeUnauthenticated, http.StatusUnauthorized, []error{ErrUnauthenticated}},
		{CodeForbidden, http.StatusForbidden, []error{ErrForbidden, market.ErrUnauthorized}},
		{CodeTooLarge, http.StatusRequestEntityTooLarge, []error{ErrTooLarge}},
		{CodeMalformed, http.StatusBadRequest, []error{ErrMalformed}},
		{CodeStreamGone, http.StatusGone, []error{ErrStreamGone}},
		{CodeTooMany, http.StatusTooManyRequests, []error{ErrTooMany, market.ErrLimit}},
		{CodeNotFound, http.StatusNotFound, []error{market.ErrNotFound, driver.ErrNotFound}},
		{CodeMismatch, http.StatusUnprocessableEntity, []error{market.ErrMismatch}},
		{CodeInvalid, http.StatusUnprocessableEntity, []error{market.ErrInvalid, driver.ErrInvalid}},
		{CodeConflict, http.StatusConflict, []error{market.ErrExists, driver.ErrConflict}},
		{CodeState, http.StatusConflict, []error{market.ErrState, market.ErrInsufficientFunds}},
		{CodeExhausted, http.StatusServiceUnavailable, []error{driver.ErrExhausted}},
		{CodeUnsupported, http.StatusNotImplemented, []error{errors.ErrUnsupported}},
		{CodeUnavailable, http.StatusServiceUnavailable, []error{market.ErrUnavailable, driver.ErrClosed}},
		{CodeTimeout, http.StatusServiceUnavailable, []error{context.DeadlineExceeded, context.Canceled}},
		{CodeMethod, http.StatusMethodNotAllowed, nil},
		{CodeInternal, http.StatusInternalServerError, []error{ErrInternal}},
	}
}

// Error is a refusal as it goes over the wire, and what the client returns.
// [errors.Is] matches the sentinels that its code stands for, those of packages
// market and cluster/driver among them. It is a value: do not change it once
// it is shared.
type Error struct {
	// Status is the HTTP status; it is not in the body.
	Status  int    `json:"-"`
	Code    Code   `json:"code"`
	Message string `json:"message"`
	// Rule names the rule that was broken, as [market.RuleError.Rule]; "" for none.
	Rule string `json:"rule,omitempty"`
	// Details has one line per fault where there are several.
	Details []string `json:"details,omitempty"`
	// RetryAfterSeconds says when to try again; 0 says nothing.
	RetryAfterSeconds int `json:"retry_after_seconds,omitempty"`
}

// Body is the JSON document around an [Error].
type Body struct {
	Error *Error `json:"error"`
}

// Error implements error.
func (e *Error) Error() string {
	if e.Rule != "" {
		return fmt.Sprintf("gateway: %s: %s: %s", e.Code, e.Rule, e.Message)
	}
	return fmt.Sprintf("gateway: %s: %s", e.Code, e.Message)
}

// Is reports whether the error's code stands for the sentinel.
func (e *Error) Is(target error) bool {
	for _, k := range kinds() {
		if k.code == e.Code {
			return slices.Contains(k.sentinels, target)
		}
	}
	return false
}

// Temporary reports whether the same request may succeed later.
func (e *Error) Temporary() bool {
	switch e.Code {
	case CodeTooMany, CodeExhausted, CodeUnavailable, CodeTimeout:
		return true
	default:
		return false
	}
}

// NewError builds an error with the status of its code. The message is
// formatted as by [fmt.Sprintf].
func NewError(code Code, format string, args ...any) *Error {
	return &Error{Status: Status(code), Code: code, Message: fmt.Sprintf(format, args...)}
}

// Status returns the HTTP status of a code, 500 for one that is not known.
func Status(code Code) int {
	for _, k := range kinds() {
		if k.code == code {
			return k.status
		}
	}
	return http.StatusInternalServerError
}

// FromError turns any error into the form of the wire. An *[Error] is returned
// as it is. An error that matches no sentinel becomes [CodeInternal] with a
// message that tells nothing of the inside; log the original.
func FromError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	out := classify(err)
	if rule, ok := errors.AsType[*market.RuleError](err); ok {
		out.Rule, out.Message = rule.Rule, rule.Detail
	}
	if out.Code != CodeInternal {
		out.Details = details(err)
	}
	return out
}

// maxDetails bounds the lines of details.
const maxDetails = 100

// details lists the faults where an error is a list of several.
func details(err error) []string {
	var faults []error
	if list, ok := errors.AsType[*multierror.Error](err); ok {
		faults = list.Errors
	} else if list, ok := errors.AsType[manifest.Mismatches](err); ok {
		faults = list.Unwrap()
	}
	var out []string
	for _, f := range faults[:min(len(faults), maxDetails)] {
		out = append(out, clip(f.Error()))
	}
	return out
}

func classify(err error) *Error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return NewError(CodeTooLarge, "request body is too large")
	}
	if _, ok := errors.AsType[*driver.TransientError](err); ok {
		return NewError(CodeUnavailable, "the cluster cannot be reached at the moment")
	}
	for _, k := range kinds() {
		for _, s := range k.sentinels {
			if errors.Is(err, s) {
				return describe(k, err)
			}
		}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return NewError(CodeMalformed, "request body ends too early")
	}
	return NewError(CodeInternal, "the provider failed; its log says why")
}

// describe keeps the message of errors that are about the request and replaces
// those that may tell of the inside.
func describe(k kind, err error) *Error {
	switch k.code {
	case CodeUnavailable:
		return NewError(k.code, "not available at the moment")
	case CodeTimeout:
		return NewError(k.code, "took too long")
	case CodeInternal:
		return NewError(k.code, "the provider failed; its log says why")
	default:
		return NewError(k.code, "%s", clip(err.Error()))
	}
}

// maxMessage bounds the bytes of a message, since it may quote the request. With
// the rest of the body it stays below the 1024 bytes that WebSocket clients can
// read of a refused handshake.
const maxMessage = 512

func clip(s string) string {
	if len(s) > maxMessage {
		return s[:maxMessage] + "…"
	}
	return s
}
