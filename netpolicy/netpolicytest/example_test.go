package netpolicytest_test

import (
	"fmt"

	"github.com/moorage-dev/moorage/netpolicy/netpolicytest"
)

// A renderer that lets everything through is noticed, with the packet that should
// not have come.
func ExampleHarness() {
	h := netpolicytest.Harness{Render: func(*netpolicytest.World) (netpolicytest.Interpreter, error) {
		return netpolicytest.InterpreterFunc(func(netpolicytest.Packet) (bool, error) { return true, nil }), nil
	}}
	for _, c := range netpolicytest.Cases() {
		if c.Name == "leases" {
			fmt.Println(c.Check(h))
		}
	}
	// Output:
	// lease 0's db at 10.200.0.2 to lease 1's db at 10.200.1.2 TCP/5432: the rules let it through: true, want false: leaving denied: the range is the provider's own: 10.200.0.0/14; entering denied: the port is exposed, but to others
}
