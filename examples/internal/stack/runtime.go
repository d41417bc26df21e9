package stack

import (
	"fmt"
	"log/slog"

	"github.com/moorage-dev/moorage/cluster/runtime/local"
	"github.com/moorage-dev/moorage/cluster/runtime/runc"
)

// OpenRuntime opens a container runtime by name and says what it is. The
// program must have called [runc.Intercept] first in main.
func OpenRuntime(name, dir string, log *slog.Logger) (local.Runtime, string, error) {
	cfg := local.Config{Dir: dir, Runc: runc.Config{SelfShim: true}, Logger: log}
	switch name {
	case "auto":
	case "runc":
		cfg.Kind = local.Runc
	case "docker":
		cfg.Kind = local.Docker
	default:
		return nil, "", fmt.Errorf("runtime %q: want auto, runc or docker", name)
	}
	r, kind, err := local.Open(cfg)
	if err != nil {
		return nil, "", err
	}
	if kind == local.Runc {
		return r, "embedded runc", nil
	}
	return r, "the Docker API", nil
}
