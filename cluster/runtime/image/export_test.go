package image

import "io"

// Unpack unpacks a layer without store.
func Unpack(dir string, r io.Reader) error {
	_, err := unpack(dir, r, 1<<20)
	return err
}
