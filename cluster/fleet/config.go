package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/fleet/internal/host"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/cluster/runtime"
)

// Defaults of [Config].
const (
	DefaultIngressAddr    = ":80"
	DefaultPublicHost     = "localhost"
	DefaultDomain         = "localhost"
	DefaultFirstPort      = 30000
	DefaultLastPort       = 32767
	DefaultReservePercent = 10
	DefaultDrainTime      = 10 * time.Second
	DefaultStopTime       = 10 * time.Second
	DefaultReadyTimeout   = 20 * time.Second
)

// Config describes a fleet. Runtime and StateDir are required; the zero value of
// every other field is its default.
type Config struct {
	// Runtime runs the containers. The fleet does not close it.
	Runtime runtime.Runtime
	// StateDir keeps the desired workloads, with their secrets, readable by this
	// user alone. One fleet at a time may have it.
	StateDir string

	// Node says what of this host may be leased. With an empty name it is found
	// out: all cores, memory and the free disk of StateDir, less ReservePercent of
	// each for the system ([DefaultReservePercent] if 0).
	Node           inventory.Node
	ReservePercent uint64
	// Overcommit scales what may be promised.
	Overcommit inventory.Overcommit

	// IngressAddr is where HTTP services are served, [DefaultIngressAddr] if "".
	// With port 0 the system chooses.
	IngressAddr string
	// PublicHost is the name or address at which clients find this host,
	// [DefaultPublicHost] if "". Forwarded ports are reported with it.
	PublicHost string
	// Domain is under which HTTP services get names, [DefaultDomain] if "":
	// browsers find names under "localhost" on their own machine.
	Domain string
	// PublicPort is the port in the URIs of HTTP services, for an ingress behind
	// something else; 0 means the port that it listens on.
	PublicPort uint16
	// FirstPort to LastPort are for forwarded ports, both included;
	// [DefaultFirstPort] and [DefaultLastPort] if 0.
	FirstPort, LastPort uint16
	// PortHost is the address that forwarded ports listen on, "" for all.
	PortHost string

	// OwnRanges are the provider's own addresses that containers must not reach,
	// beside those that are not public anyway: of its other machines and its pools of
	// leased addresses. They count where the runtime enforces policies.
	OwnRanges []netip.Prefix

	// DrainTime is how long an old replica may finish its clients, StopTime how
	// long it may take to end, ReadyTimeout after how long a replica that runs but
	// does not answer counts as ready.
	DrainTime, StopTime, ReadyTimeout time.Duration

	// Dial connects to containers, nil for a [net.Dialer]. Listen and ListenPacket
	// open ports, nil for a [net.ListenConfig].
	Dial         func(ctx context.Context, network, address string) (net.Conn, error)
	Listen       func(ctx context.Context, network, address string) (net.Listener, error)
	ListenPacket func(ctx context.Context, network, address string) (net.PacketConn, error)

	// Logger gets transitions; nil discards.
	Logger *slog.Logger
}

// complete checks the configuration and enters the defaults. The error names
// every fault.
func (c *Config) complete() error {
	setDefault(&c.IngressAddr, DefaultIngressAddr)
	setDefault(&c.PublicHost, DefaultPublicHost)
	setDefault(&c.Domain, DefaultDomain)
	setDefault(&c.FirstPort, DefaultFirstPort)
	setDefault(&c.LastPort, DefaultLastPort)
	setDefault(&c.ReservePercent, DefaultReservePercent)
	setDefault(&c.DrainTime, DefaultDrainTime)
	setDefault(&c.StopTime, DefaultStopTime)
	setDefault(&c.ReadyTimeout, DefaultReadyTimeout)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.completeNet()
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf("fleet: config: "+format, args...))
		}
	}
	c.Domain = strings.ToLower(c.Domain)
	check(c.Runtime != nil, "a runtime is required")
	check(c.StateDir != "", "a state directory is required")
	check(driver.ValidHostname(c.Domain), "%q is no domain", c.Domain)
	check(c.FirstPort <= c.LastPort, "ports %d to %d: the first is above the last", c.FirstPort, c.LastPort)
	check(c.ReservePercent < 100, "reserve of %d %%: nothing would be left", c.ReservePercent)
	check(len(c.Node.Allocatable.GPUs) == 0, "this fleet cannot give cards to containers")
	check(c.DrainTime >= 0 && c.StopTime >= 0 && c.ReadyTimeout >= 0, "times must not be negative")
	return errors.Join(faults...)
}

func (c *Config) completeNet() {
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	if c.Listen == nil {
		c.Listen = (&net.ListenConfig{}).Listen
	}
	if c.ListenPacket == nil {
		c.ListenPacket = (&net.ListenConfig{}).ListenPacket
	}
}

// completeNode finds out what this host has, if the configuration does not say.
func (c *Config) completeNode() (err error) {
	if c.Node.Name != "" {
		return nil
	}
	const dirMode = 0o700
	if err := os.MkdirAll(c.StateDir, dirMode); err != nil {
		return err
	}
	c.Node, err = host.Node(c.StateDir, c.ReservePercent)
	return err
}

func setDefault[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}
