//go:build !linux

package host

import (
	"errors"
	"fmt"
)

var errUnknown = fmt.Errorf("describe the node in the configuration: finding it out: %w", errors.ErrUnsupported)

func memoryBytes() (uint64, error) { return 0, errUnknown }

func diskBytes(string) (uint64, error) { return 0, errUnknown }
