//go:build !linux || !cgo

package local

import "github.com/moorage-dev/moorage/cluster/runtime/runc"

func openRunc(c runc.Config) (Runtime, error) {
	_, err := runc.New(c)
	return nil, err
}
