package runtimetest_test

import (
	"fmt"

	"github.com/moorage-dev/moorage/cluster/runtime/runtimetest"
)

// What a runtime may claim, and what the suite then checks.
func ExampleAbility() {
	fmt.Println(runtimetest.Walls | runtimetest.Terminals)
	// Output: walls, terminals
}
