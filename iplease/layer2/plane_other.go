//go:build !linux

package layer2

import (
	"errors"
	"fmt"
)

func openPlane(Config, hooks) (plane, error) {
	return nil, fmt.Errorf("addresses are announced on Linux only: %w", errors.ErrUnsupported)
}
