package sdl

import (
	"fmt"
	"io"
	"log/slog"
)

// String returns a fixed text without any value.
func (c Credentials) String() string { return "credentials[redacted]" }

// GoString returns the same text as [Credentials.String].
func (c Credentials) GoString() string { return c.String() }

// Format writes the text of [Credentials.String] for every verb.
func (c Credentials) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue implements slog.LogValuer with the text of [Credentials.String].
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalText returns the text of [Credentials.String]; [Document.Marshal] is
// what writes the values.
func (c Credentials) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// String names the service and counts what it holds. Commands, arguments and
// environment often hold secrets, so their values are not in it.
func (s Service) String() string {
	return fmt.Sprintf("service %q image %q command %d args %d env %d exposes %d",
		s.Name, s.Image, len(s.Command), len(s.Args), len(s.Env), len(s.Expose))
}

// GoString returns the same text as [Service.String].
func (s Service) GoString() string { return s.String() }

// Format writes the text of [Service.String] for every verb.
func (s Service) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue implements slog.LogValuer with the text of [Service.String].
func (s Service) LogValue() slog.Value { return slog.StringValue(s.String()) }

// String says how much the document holds.
func (d *Document) String() string {
	return fmt.Sprintf("document version %q services %d profiles %d placements %d", d.Version, len(d.Services), len(d.Compute), len(d.Placement))
}

// Format writes the text of [Document.String] for every verb: the tree behind
// a parsed document holds every value of the text.
func (d Document) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, d.String()) }

// LogValue implements slog.LogValuer with the text of [Document.String].
func (d *Document) LogValue() slog.Value { return slog.StringValue(d.String()) }
