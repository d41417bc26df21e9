package iplease

import (
	"fmt"
	"slices"

	"github.com/moorage-dev/moorage/market"
)

// State is the state of a claim. Do not renumber.
type State uint8

// States. The zero value is no claim.
const (
	Free State = 0
	// Reserved is held for an order that is bid on.
	Reserved State = 1
	// Bound is held by a deployment.
	Bound State = 2
	// Parked is kept for its tenant without a deployment, at a price. It may back an
	// order of the tenant; it keeps its name all the same.
	Parked State = 3
	// Cooling was released and is given to no other tenant yet.
	Cooling State = 4
)

// String returns the state's name.
func (s State) String() string {
	names := [...]string{"free", "reserved", "bound", "parked", "cooling"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("invalid-%d", uint8(s))
}

// MarshalText implements encoding.TextMarshaler.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *State) UnmarshalText(b []byte) error {
	for i := Free; i <= Cooling; i++ {
		if i.String() == string(b) {
			*s = i
			return nil
		}
	}
	return fmt.Errorf("iplease: state %.20q: %w", b, market.ErrInvalid)
}

// CanBecome reports whether a claim in state s may come to state next; see the
// table in the package comment.
func (s State) CanBecome(next State) bool {
	var to []State
	switch s {
	case Free:
		to = []State{Reserved, Bound}
	case Reserved:
		to = []State{Free, Bound}
	case Bound:
		to = []State{Cooling, Parked}
	case Parked:
		to = []State{Bound, Cooling}
	case Cooling:
		to = []State{Bound, Parked, Free}
	}
	return slices.Contains(to, next)
}
