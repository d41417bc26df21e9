package runc_test

import (
	"fmt"

	"github.com/moorage-dev/moorage/cluster/runtime/runc"
)

// A runtime needs a directory of its own.
func ExampleNew() {
	_, err := runc.New(runc.Config{})
	fmt.Println(err != nil)
	// Output: true
}
