//go:build !linux || !cgo

package runc

import (
	"fmt"

	"github.com/moorage-dev/moorage/cluster/runtime"
)

// Runtime cannot be made in this build.
type Runtime struct{ runtime.Runtime }

// New returns runtime.ErrUnsupported: the embedded runtime needs Linux and cgo.
func New(Config) (*Runtime, error) {
	return nil, fmt.Errorf("runc: this program was built without Linux containers; build it on Linux with CGO_ENABLED=1 -tags seccomp, or use Docker or Podman: %w", runtime.ErrUnsupported)
}
