package layer2

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
	"slices"
	"time"

	"github.com/hashicorp/go-multierror"
)

// Config describes the announcer of one host.
type Config struct {
	// Node is the host's name, as it is in the backends of announcements. Default
	// "local". Of peers each has its own.
	Node string
	// Interface is the one on the segment, where clients or their router are. "" is a
	// host alone; see the package comment.
	Interface string
	// StateDir keeps what is to be announced; it is made if need be, and one process
	// has it at a time. "" keeps nothing: after a restart everything is applied
	// again, or learned from peers.
	StateDir string
	// Instance tells announcers on one host apart: 1 to 8 of a-z and 0-9, default
	// "0".
	Instance string

	// Peers are where the other hosts of the segment are reached; this host may be
	// among them. Their addresses should be on the segment itself, so that hosts lose
	// touch when the segment breaks and not otherwise.
	Peers []netip.AddrPort
	// Listen is where this host is reached by its peers. Required with Peers.
	Listen netip.AddrPort
	// Key is what the hosts share, at least 16 bytes. Required with Peers.
	Key []byte
	// Timeout is after how long of silence a host is dead; 100 ms to 1 min, default 1
	// s. One whose process ends is noticed at once.
	Timeout time.Duration
	// MinHosts is how many hosts, this one included, must be in touch for any of them
	// to answer. 1, the default, answers on both sides of a broken segment; more than
	// half of the hosts answers on one side at most.
	MinHosts int

	// Probes and ProbePause are how the segment is asked before an address is taken:
	// so often, each time waiting so long. Defaults 3 and 50 ms; Probes below 0 does
	// not ask. RFC 5227 asks for some seconds, which fail-over cannot wait.
	Probes     int
	ProbePause time.Duration

	// Logger is for what an operator should know; default none.
	Logger *slog.Logger
}

const (
	minTimeout = 100 * time.Millisecond
	maxTimeout = time.Minute
	// maxNode is that of a name in an announcement.
	maxNode = 253
)

// withDefaults fills in and checks; all faults are told at once.
func (c Config) withDefaults() (Config, error) {
	c.Peers = slices.Clone(c.Peers)
	c.Key = slices.Clone(c.Key)
	fill := func(s *string, value string) {
		if *s == "" {
			*s = value
		}
	}
	fill(&c.Node, "local")
	fill(&c.Instance, "0")
	if c.Timeout == 0 {
		c.Timeout = time.Second
	}
	if c.MinHosts == 0 {
		c.MinHosts = 1
	}
	if c.Probes == 0 {
		c.Probes = 3
	}
	if c.ProbePause == 0 {
		c.ProbePause = 50 * time.Millisecond
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, c.check()
}

func (c Config) check() error {
	var faults *multierror.Error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = multierror.Append(faults, fmt.Errorf(format, args...))
		}
	}
	bad(len(c.Node) > maxNode, "Node has more than %d bytes", maxNode)
	bad(!regexp.MustCompile(`^[a-z0-9]{1,8}$`).MatchString(c.Instance), "Instance %q is not 1 to 8 of a-z and 0-9", c.Instance)
	bad(c.Timeout < minTimeout || c.Timeout > maxTimeout, "Timeout is %s, want %s to %s", c.Timeout, minTimeout, maxTimeout)
	bad(c.MinHosts < 1 || c.MinHosts > len(c.Peers)+1, "MinHosts is %d of at most %d hosts", c.MinHosts, len(c.Peers)+1)
	bad(c.ProbePause < 0, "ProbePause is %s", c.ProbePause)
	bad(len(c.Peers) > 0 && c.Interface == "", "there are Peers and no Interface to share")
	bad(len(c.Peers) > 0 && !c.Listen.IsValid(), "there are Peers and no Listen")
	bad(len(c.Peers) > 0 && len(c.Key) < 16, "there are Peers and Key has fewer than 16 bytes")
	if faults == nil {
		return nil
	}
	return fmt.Errorf("layer2: configuration: %w", errors.Join(faults.Errors...))
}
