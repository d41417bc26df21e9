package runc

import (
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/moorage-dev/moorage/cluster/runtime/runc/internal/shim"
)

// UserNamespaces says whether containers get user namespaces.
type UserNamespaces uint8

// Choices of [UserNamespaces].
const (
	// UserNamespacesAuto uses them where the kernel can (overlayfs on ID-mapped
	// mounts: Linux 5.19), and logs a warning where not.
	UserNamespacesAuto UserNamespaces = 0
	// UserNamespacesRequired refuses to work without them.
	UserNamespacesRequired UserNamespaces = 1
	// UserNamespacesOff never uses them: root in a container is then root on the
	// host, held by capabilities, seccomp and namespaces only.
	UserNamespacesOff UserNamespaces = 2
)

// Defaults of [Config].
const (
	// DefaultIDBase begins the host's IDs for containers: above what systemd,
	// shadow and directory services hand out.
	DefaultIDBase = 0x70000000
	// IDsPerContainer is the size of each container's range.
	IDsPerContainer = 65536
	// MaxIDSlots is how many ranges fit from DefaultIDBase to the last IDs that
	// a signed 32 bit number can hold.
	MaxIDSlots = 4000
	// DefaultMaxCacheBytes keeps some dozens of usual images.
	DefaultMaxCacheBytes = 64 << 30
	// DefaultPool is where networks get their /24 from; ranges that the machine
	// routes already are left out.
	DefaultPool = "10.200.0.0/14"
)

// Config says how a [Runtime] works.
type Config struct {
	// Dir holds everything: images, containers, networks, volumes. It should be on
	// a disk with a Linux file system (not overlayfs or NFS). Two runtimes cannot
	// share it. Required.
	Dir string
	// Shim is the path of the moorage-shim program. "" looks next to the running
	// program, then in PATH.
	Shim string
	// SelfShim allows the running program to be its own shim when no moorage-shim
	// is found. Set it only in a program that calls [Intercept] first thing in
	// main. A large program costs memory in every container this way.
	SelfShim bool
	// WithoutSeccomp runs containers without a system call filter when the shim
	// was built without. Not for strangers' containers.
	WithoutSeccomp bool
	// UserNamespaces is UserNamespacesAuto by default.
	UserNamespaces UserNamespaces
	// IDBase is the first host ID for containers; 0 is DefaultIDBase.
	IDBase uint32
	// Pool is an IPv4 range for networks, /24 or larger; zero is DefaultPool.
	Pool netip.Prefix
	// Pool6 is an IPv6 range for networks, /64 or larger and best of unique local
	// addresses (RFC 4193); zero is no IPv6. Containers reach the world of IPv6 under
	// the host's address. The machine is made to forward IPv6, see
	// docs/netpolicy.md.
	Pool6 netip.Prefix
	// PrivateEgress are private ranges (of the provider's LAN, say) that
	// containers may reach. Default none.
	PrivateEgress []netip.Prefix
	// Nameservers replace those of the host's resolv.conf.
	Nameservers []netip.Addr
	// LayoutRoots, MaxImageBytes and Transport are as in image.Config.
	LayoutRoots   []string
	MaxImageBytes int64
	Transport     http.RoundTripper
	// MaxCacheBytes bounds images on disk: beyond it those not wanted for the
	// longest time go, but none that a container uses. 0 is DefaultMaxCacheBytes.
	MaxCacheBytes int64
	// Logger may be nil.
	Logger *slog.Logger
}

// Intercept turns the process into a container's helper if it was started as one,
// and returns otherwise. Only a program that sets Config.SelfShim needs it: as
// the first statement of main, before flags are read.
func Intercept() {
	if shim.IsInit(os.Args) || len(os.Args) > 0 && filepath.Base(os.Args[0]) == shim.Name {
		os.Exit(shim.Main(os.Args)) //nolint:forbidigo // the process was started as a helper and is no more than that
	}
}

func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" {
		return c, errors.New("runc: no state directory given")
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return c, err
	}
	c.Dir = dir
	if c.IDBase == 0 {
		c.IDBase = DefaultIDBase
	}
	if c.MaxCacheBytes == 0 {
		c.MaxCacheBytes = DefaultMaxCacheBytes
	}
	if !c.Pool.IsValid() {
		c.Pool = netip.MustParsePrefix(DefaultPool)
	}
	if !c.Pool.Addr().Is4() || c.Pool.Bits() > 24 {
		return c, errors.New("runc: the address pool must be an IPv4 range of /24 or larger")
	}
	if c.Pool6.IsValid() && (!c.Pool6.Addr().Is6() || c.Pool6.Addr().Is4In6() || c.Pool6.Bits() > 64) {
		return c, errors.New("runc: the IPv6 address pool must be an IPv6 range of /64 or larger")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}
