package netpolicytest

import (
	"fmt"
	"testing"

	"github.com/moorage-dev/moorage/netpolicy"
)

// Interpreter says what rendered rules do with a packet.
type Interpreter interface {
	Allows(p Packet) (bool, error)
}

// InterpreterFunc is a function as an [Interpreter].
type InterpreterFunc func(p Packet) (bool, error)

// Allows calls the function.
func (f InterpreterFunc) Allows(p Packet) (bool, error) { return f(p) }

// Batch is an interpreter that is better asked about many packets at once.
type Batch interface {
	Interpreter
	AllowsAll(p []Packet) ([]bool, error)
}

// Harness says how to render a world and ask the result.
type Harness struct {
	// Render renders the policies of all leases. It may be called often.
	Render func(w *World) (Interpreter, error)
	// Skip leaves packets out that the data plane does not judge, or not so.
	Skip func(w *World, p Packet) bool
	// Worlds and Packets are how many random worlds, and packets in each, are tried;
	// 0 is [DefaultWorlds] and [DefaultPackets]. Seed is of the first world.
	Worlds, Packets int
	Seed            uint64
	// Fault changes each policy before it is rendered; nil is for a renderer that
	// shall pass.
	Fault func(p *netpolicy.Policy)
}

// Defaults of [Harness].
const (
	DefaultWorlds  = 40
	DefaultPackets = 400
)

// Case checks one clause.
type Case struct {
	Name, Clause string
	Check        func(h Harness) error
}

// Run runs all cases, each as a subtest.
func Run(t *testing.T, h Harness) {
	t.Helper()
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			if err := c.Check(h); err != nil {
				t.Errorf("%s\nclause: %s", err, c.Clause)
			}
		})
	}
}

// try renders a world and asks about packets.
func (h Harness) try(w *World, packets []Packet) error {
	told := w
	if h.Fault != nil {
		told = w.faulty(h.Fault)
	}
	rules, err := h.Render(told)
	if err != nil {
		return fmt.Errorf("render: %w", err)
	}
	asked := packets[:0:0]
	for _, p := range packets {
		if h.Skip == nil || !h.Skip(w, p) {
			asked = append(asked, p)
		}
	}
	got, err := all(rules, asked)
	if err != nil {
		return err
	}
	for i, p := range asked {
		if want := w.Evaluate(p); got[i] != want.Allowed() {
			return fmt.Errorf("%s: the rules let it through: %t, want %t: %s", p, got[i], want.Allowed(), want)
		}
	}
	return nil
}

func all(rules Interpreter, packets []Packet) ([]bool, error) {
	if b, ok := rules.(Batch); ok {
		return b.AllowsAll(packets)
	}
	out := make([]bool, len(packets))
	for i, p := range packets {
		var err error
		if out[i], err = rules.Allows(p); err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
	}
	return out, nil
}

// faulty is a copy of the world whose policies have a fault.
func (w *World) faulty(fault func(*netpolicy.Policy)) *World {
	out := *w
	out.Leases = append([]Lease(nil), w.Leases...)
	for i := range out.Leases {
		out.Leases[i].Policy = clonePolicy(out.Leases[i].Policy)
		fault(out.Leases[i].Policy)
	}
	return &out
}
