//go:build !linux || !cgo

package shim

import (
	"fmt"
	"os"
)

// Name is what the process calls itself, args[0].
const Name = "moorage-shim"

// IsInit is false in this build.
func IsInit([]string) bool { return false }

// Main says that this build cannot run containers and returns 1.
func Main([]string) int {
	_, _ = fmt.Fprintln(os.Stderr, "moorage-shim: needs Linux and cgo: build it there with CGO_ENABLED=1 -tags seccomp")
	return 1
}
