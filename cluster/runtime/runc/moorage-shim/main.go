// Command moorage-shim stands beside one container of Moorage's embedded runc;
// the agent (package cluster/runtime/runc) starts it. Install it next to the
// program or in PATH. Build it with cgo and -tags seccomp.
package main

import (
	"os"

	"github.com/moorage-dev/moorage/cluster/runtime/runc/internal/shim"
)

func main() {
	os.Exit(shim.Main(os.Args)) //nolint:forbidigo // a program
}
