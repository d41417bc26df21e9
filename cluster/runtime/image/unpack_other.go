//go:build !linux

package image

import (
	"fmt"
	"io"

	"github.com/moorage-dev/moorage/cluster/runtime"
)

func unpack(string, io.Reader, int64) (int64, error) {
	return 0, fmt.Errorf("image: layers are unpacked on Linux only: %w", runtime.ErrUnsupported)
}

func syncDisk(string) error { return nil }
