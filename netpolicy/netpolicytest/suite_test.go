package netpolicytest_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/netpolicy/netpolicytest"
)

// oracle renders a policy as itself.
func oracle() netpolicytest.Harness {
	return netpolicytest.Harness{Render: func(w *netpolicytest.World) (netpolicytest.Interpreter, error) {
		return netpolicytest.InterpreterFunc(func(p netpolicytest.Packet) (bool, error) { return w.Evaluate(p).Allowed(), nil }), nil
	}}
}

func TestTheOraclePasses(t *testing.T) { netpolicytest.Run(t, oracle()) }

func TestEveryFaultIsCaughtByTheExpectedCaseAndAtRandom(t *testing.T) {
	cases := netpolicytest.Cases()
	for _, f := range netpolicytest.Faults() {
		t.Run(f.Name, func(t *testing.T) {
			h := oracle()
			h.Fault = f.Plant
			for _, name := range []string{f.Caught, "random worlds"} {
				i := slices.IndexFunc(cases, func(c netpolicytest.Case) bool { return c.Name == name })
				require.GreaterOrEqual(t, i, 0, name)
				assert.Error(t, cases[i].Check(h), "the case %q did not notice", name)
			}
		})
	}
}

func TestARendererThatAllowsOrDeniesAllIsCaughtByEveryCaseThatCan(t *testing.T) {
	for allow, blind := range map[bool][]string{
		true:  {"replicas of one service", "public addresses"},
		false: {"leases"},
	} {
		h := netpolicytest.Harness{Render: func(*netpolicytest.World) (netpolicytest.Interpreter, error) {
			return netpolicytest.InterpreterFunc(func(netpolicytest.Packet) (bool, error) { return allow, nil }), nil
		}}
		for _, c := range netpolicytest.Cases() {
			err := c.Check(h)
			assert.Equal(t, slices.Contains(blind, c.Name), err == nil, "%q, allowing all: %t", c.Name, allow)
		}
	}
}
