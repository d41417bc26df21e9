package manifest

import (
	"fmt"
	"strconv"
)

// MismatchError is one difference between a manifest and what the chain says
// was leased, or one rule of form that the manifest breaks. It holds no value
// of a command, an environment or a credential.
type MismatchError struct {
	// Group and Service say where; Service is "" when the whole group is meant,
	// both are "" when the whole manifest is.
	Group, Service string
	// Field is the key in the canonical form, for example "resources.memory" or
	// "expose[1].port".
	Field string
	// Want is what the group spec or the rule says, Got what the manifest says.
	Want, Got string
	// Kind is market.ErrMismatch for a difference to the groups and
	// market.ErrInvalid for a rule of form; [errors.Is] matches it.
	Kind error
}

// Error implements error.
func (e *MismatchError) Error() string {
	where := "manifest"
	if e.Group != "" {
		where += ": group " + strconv.Quote(e.Group)
	}
	if e.Service != "" {
		where += ": service " + strconv.Quote(e.Service)
	}
	return fmt.Sprintf("%s: %s: want %s, got %s", where, e.Field, e.Want, e.Got)
}

// Unwrap makes [errors.Is] match the kind.
func (e *MismatchError) Unwrap() error { return e.Kind }

// Mismatches is the error of [Check] and [Manifest.Validate]: one to
// [MaxMismatches] differences, in the order of the manifest. [errors.As] finds
// the first as a [*MismatchError].
type Mismatches []*MismatchError //nolint:errname // a list of errors, named after its elements

// Error implements error with the first difference and the number of others.
func (ms Mismatches) Error() string {
	switch len(ms) {
	case 0:
		return "manifest: no mismatch"
	case 1:
		return ms[0].Error()
	}
	return fmt.Sprintf("%s (and %d more)", ms[0].Error(), len(ms)-1)
}

// Unwrap returns the differences.
func (ms Mismatches) Unwrap() []error {
	errs := make([]error, len(ms))
	for i, m := range ms {
		errs[i] = m
	}
	return errs
}

// collector gathers differences up to the bound.
type collector struct {
	list           Mismatches
	kind           error
	group, service string
}

func (c *collector) add(field, want, got string) {
	if len(c.list) < MaxMismatches {
		c.list = append(c.list, &MismatchError{c.group, c.service, field, want, got, c.kind})
	}
}

func (c *collector) err() error {
	if len(c.list) == 0 {
		return nil
	}
	return c.list
}

func num[T ~uint32 | ~uint64 | ~int](n T) string { return strconv.FormatUint(uint64(n), 10) }
