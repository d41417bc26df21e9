//go:build cgo

package local

import "github.com/moorage-dev/moorage/cluster/runtime/runc"

func openRunc(c runc.Config) (Runtime, error) {
	r, err := runc.New(c)
	if err != nil {
		return nil, err
	}
	return r, nil
}
