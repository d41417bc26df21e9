package sdl

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/moorage-dev/moorage/market"
)

// ErrInvalid is matched by every error of severity [SeverityError]. It is
// [market.ErrInvalid].
var ErrInvalid = market.ErrInvalid

// Severity says how bad a problem is.
type Severity uint8

// Severities. An error stops compilation, a warning does not.
const (
	SeverityWarning Severity = iota + 1
	SeverityError
)

// String returns "warning" or "error".
func (s Severity) String() string {
	switch s {
	case SeverityWarning:
		return "warning"
	case SeverityError:
		return "error"
	}
	return "severity-" + strconv.Itoa(int(s))
}

// MarshalText implements encoding.TextMarshaler.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Severity) UnmarshalText(b []byte) error {
	for _, v := range [...]Severity{SeverityWarning, SeverityError} {
		if v.String() == string(b) {
			*s = v
			return nil
		}
	}
	return fmt.Errorf("sdl: severity: %w: want error or warning", ErrInvalid)
}

// Pos is a place in the text. Line and Column count from 1, columns in runes;
// both are 0 for a document that was built in Go.
type Pos struct {
	Line   int `json:"line"`
	Column int `json:"column"`
}

// Error is one problem of a document. It never holds the value of an
// environment variable, an argument or a credential.
type Error struct {
	// File is the name given in [Options.File].
	File string `json:"file,omitempty"`
	Line int    `json:"line"`
	// Column counts runes from 1.
	Column int `json:"column"`
	// Path names the place in the document: "services.web.expose[0].port". It is
	// "" for the document as a whole.
	Path string `json:"path"`
	// Rule is the stable name of the rule, which [Explain] explains.
	Rule Rule `json:"rule"`
	// Message says what is wrong, for a person.
	Message string `json:"message"`
	// Allowed lists the values or the range that would be right, nil when that
	// cannot be listed.
	Allowed []string `json:"allowed,omitempty"`
	// Suggestion is what was probably meant, "" when unknown.
	Suggestion string   `json:"suggestion,omitempty"`
	Severity   Severity `json:"severity"`
}

// Pos returns the place in the text.
func (e *Error) Pos() Pos { return Pos{e.Line, e.Column} }

// Error implements error with one line:
// "deploy.yaml:4:11: error: services.web.image: ... [missing-image]".
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File + ":")
	}
	fmt.Fprintf(&b, "%d:%d: %s: ", e.Line, e.Column, e.Severity)
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Message)
	if len(e.Allowed) > 0 {
		b.WriteString("; allowed: " + strings.Join(e.Allowed, ", "))
	}
	if e.Suggestion != "" {
		b.WriteString("; did you mean " + e.Suggestion + "?")
	}
	b.WriteString(" [" + string(e.Rule) + "]")
	return b.String()
}

// Unwrap makes [errors.Is] match [ErrInvalid].
func (e *Error) Unwrap() error { return ErrInvalid }

// Diagnostics are the problems of a document, sorted by place. As an error,
// [errors.As] finds each as an [*Error].
type Diagnostics []*Error //nolint:errname // editors call such a list diagnostics

// Error implements error with one line for each problem.
func (ds Diagnostics) Error() string {
	if len(ds) == 0 {
		return "sdl: no problems"
	}
	lines := make([]string, len(ds))
	for i, d := range ds {
		lines[i] = d.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the problems.
func (ds Diagnostics) Unwrap() []error {
	errs := make([]error, len(ds))
	for i, d := range ds {
		errs[i] = d
	}
	return errs
}

// HasErrors reports whether any problem is of [SeverityError].
func (ds Diagnostics) HasErrors() bool {
	for _, d := range ds {
		if d.Severity == SeverityError {
			return true
		}
	}
	return false
}

// Errors returns the problems of [SeverityError], Warnings the others.
func (ds Diagnostics) Errors() Diagnostics { return ds.only(SeverityError) }

// Warnings returns the problems of [SeverityWarning].
func (ds Diagnostics) Warnings() Diagnostics { return ds.only(SeverityWarning) }

func (ds Diagnostics) only(s Severity) Diagnostics {
	var out Diagnostics
	for _, d := range ds {
		if d.Severity == s {
			out = append(out, d)
		}
	}
	return out
}

// MarshalJSON writes a list, never null.
func (ds Diagnostics) MarshalJSON() ([]byte, error) {
	if len(ds) == 0 {
		return []byte("[]"), nil
	}
	return json.Marshal([]*Error(ds))
}

// AsDiagnostics returns the problems inside err, nil when it has none.
func AsDiagnostics(err error) Diagnostics {
	var ds Diagnostics
	if errors.As(err, &ds) {
		return ds
	}
	var e *Error
	if errors.As(err, &e) {
		return Diagnostics{e}
	}
	return nil
}

// clip bounds text of the document inside a message.
func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && s[cut]&0xC0 == 0x80 {
		cut--
	}
	return s[:cut] + "…"
}

func quote(s string) string { return strconv.Quote(clip(s)) }
