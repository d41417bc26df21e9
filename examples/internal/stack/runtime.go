package stack

import (
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/moorage-dev/moorage/cluster/runtime/local"
	"github.com/moorage-dev/moorage/cluster/runtime/runc"
)

// networks6 is where containers get IPv6 addresses from: unique local ones, which
// are led to the world as those of IPv4 are.
const networks6 = "fd6d:6f6f:7261::/48"

// OpenRuntime opens a container runtime by name and says what it is; with ipv6
// containers have IPv6 too, if it is the embedded one. The program must have
// called [runc.Intercept] first in main.
func OpenRuntime(name, dir string, ipv6 bool, log *slog.Logger) (local.Runtime, string, error) {
	cfg := local.Config{Dir: dir, Runc: runc.Config{SelfShim: true}, Logger: log}
	if ipv6 {
		cfg.Runc.Pool6 = netip.MustParsePrefix(networks6)
	}
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
