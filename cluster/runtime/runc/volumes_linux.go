//go:build cgo

package runc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/runc/internal/plan"
)

// openVolumes makes the folders of a spec's volumes. On disk they hold the IDs
// that containers see; the shim shifts them.
func (r *Runtime) openVolumes(spec runtime.Spec) ([]plan.Volume, error) {
	var out []plan.Volume
	for _, m := range spec.Mounts {
		if m.Volume == "" {
			continue
		}
		dir := r.volumeDir(m.Volume)
		if err := makeVolume(dir); err != nil {
			return nil, fmt.Errorf("runc: volume %s: %w", m.Volume, err)
		}
		out = append(out, plan.Volume{Source: dir, Target: m.Target, ReadOnly: m.ReadOnly, Bytes: m.Bytes})
	}
	return out, nil
}

// makeVolume makes a folder that whatever user the image runs as may write to; the
// folder above is closed to everybody on the host. A volume that is there already
// keeps the mode that its containers gave it.
func makeVolume(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Chmod(dir, 0o777)
}

func (r *Runtime) volumeDir(name string) string { return filepath.Join(r.cfg.Dir, "volumes", name) }

// RemoveVolume implements runtime.VolumeRemover. A volume that a container uses
// is an error.
func (r *Runtime) RemoveVolume(ctx context.Context, name string) error {
	if err := r.closed(); err != nil {
		return err
	}
	if runtime.CheckName(name) != nil {
		return nil //nolint:nilerr // there is none of such a name
	}
	list, err := r.List(ctx)
	if err != nil {
		return err
	}
	for _, c := range list {
		_, s, err := r.load(c.Name)
		if err != nil {
			continue
		}
		for _, m := range s.Spec.Mounts {
			if m.Volume == name {
				return fmt.Errorf("runc: volume %s: container %s uses it", name, c.Name)
			}
		}
	}
	if err := os.RemoveAll(r.volumeDir(name)); err != nil {
		return fmt.Errorf("runc: volume %s: %w", name, err)
	}
	return nil
}

// Volumes implements runtime.VolumeRemover.
func (r *Runtime) Volumes(ctx context.Context) ([]string, error) {
	if err := errors.Join(r.closed(), ctx.Err()); err != nil {
		return nil, err
	}
	return r.folders("volumes")
}
