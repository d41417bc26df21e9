package stack

import (
	"fmt"
	"log/slog"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/runc"
)

// OpenRuntime opens a container runtime by name and says what it is.
func OpenRuntime(name, dir string, log *slog.Logger) (runtime.Runtime, string, error) {
	switch name {
	case "auto", "runc":
		r, err := runc.New(runc.Config{Dir: dir, SelfShim: true, Logger: log})
		if err != nil {
			return nil, "", err
		}
		return r, "embedded runc", nil
	}
	return nil, "", fmt.Errorf("runtime %q: want auto, runc or docker", name)
}
