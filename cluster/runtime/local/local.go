// Package local opens the container runtime that this machine has: the embedded
// runc as root on Linux, else an engine that speaks the Docker API (Docker,
// Podman). Start from [Open]. Which one it took is told, and when none can be,
// why each cannot.
package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/docker"
	"github.com/moorage-dev/moorage/cluster/runtime/runc"
)

// Kind names a runtime.
type Kind string

// Kinds.
const (
	// Auto chooses; it is the zero value.
	Auto Kind = ""
	// Runc is the embedded one, package runtime/runc.
	Runc Kind = "runc"
	// Docker is an engine, package runtime/docker.
	Docker Kind = "docker"
)

// Config says how to open. Dir, LayoutRoots and Logger go to whichever runtime is
// taken; it has a folder of its own below Dir.
type Config struct {
	// Dir is the state directory. Required.
	Dir string
	// Kind forces one kind.
	Kind Kind
	// LayoutRoots are folders below which "oci:" image references may point.
	LayoutRoots []string
	// Logger may be nil.
	Logger *slog.Logger
	// Runc and Docker say more; their Dir, LayoutRoots and Logger are not used.
	Runc   runc.Config
	Docker docker.Config
}

// Runtime is an open runtime that can also be taken off the machine.
type Runtime interface {
	runtime.Runtime
	runtime.VolumeRemover
	// Purge removes all containers, networks and volumes of this runtime.
	Purge(ctx context.Context) error
}

// Open opens a runtime and says which. When none can be had the error is
// runtime.ErrUnsupported and says what to do for each. A failure that is no lack
// of ability (the directory in use, a damaged state) is not hidden by trying the
// next: containers of the first would be lost from view.
func Open(cfg Config) (Runtime, Kind, error) {
	if cfg.Dir == "" {
		return nil, Auto, errors.New("local: no state directory given")
	}
	var lacks []error
	for _, kind := range []Kind{Runc, Docker} {
		if cfg.Kind != Auto && cfg.Kind != kind {
			continue
		}
		r, err := open(cfg, kind)
		if err == nil {
			return r, kind, nil
		}
		if !errors.Is(err, runtime.ErrUnsupported) {
			return nil, kind, err
		}
		lacks = append(lacks, err)
	}
	if len(lacks) == 0 {
		return nil, cfg.Kind, fmt.Errorf("local: there is no runtime %q, only %q and %q", cfg.Kind, Runc, Docker)
	}
	return nil, cfg.Kind, fmt.Errorf("local: this machine cannot run containers yet: %w", errors.Join(lacks...))
}

func open(cfg Config, kind Kind) (Runtime, error) {
	if kind == Runc {
		c := cfg.Runc
		c.Dir, c.LayoutRoots, c.Logger = filepath.Join(cfg.Dir, string(kind)), cfg.LayoutRoots, cfg.Logger
		return openRunc(c)
	}
	c := cfg.Docker
	c.Dir, c.LayoutRoots, c.Logger = filepath.Join(cfg.Dir, string(kind)), cfg.LayoutRoots, cfg.Logger
	r, err := docker.New(c)
	if err != nil {
		return nil, err
	}
	return r, nil
}
