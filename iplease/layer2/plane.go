package layer2

import (
	"context"
	"net/netip"

	"github.com/moorage-dev/moorage/iplease/driver"
)

// plane is what an announcer moves on its host: answers and rules. Put is called
// by one goroutine at a time.
type plane interface {
	// Run speaks on the segment until ctx ends, then without error.
	Run(ctx context.Context) error
	// Put makes this host answer for the addresses of what is held, and be silent
	// about the others. First it becomes silent about addresses that go, then the
	// rules change at once, then it answers for those that come. The error leaves
	// rules as they were.
	Put(ctx context.Context, p put) error
	// Probe returns who else has addresses, by hardware address.
	Probe(ctx context.Context, addrs []netip.Addr) (map[netip.Addr]string, error)
	// Announce says again that addresses are here.
	Announce(a netip.Addr)
	// Egress reports whether connections of the backends on this host leave from the
	// addresses, and why not.
	Egress(a driver.Announcement) (bool, string)
	// Self is the hardware address that answers; "" when the kernel does.
	Self() string
	// Close removes everything from the host.
	Close() error
}

// put is a change of what a host answers for.
type put struct {
	// hold are announcements to make or to change.
	hold []driver.Announcement
	// drop are addresses to leave.
	drop []netip.Addr
}

// hooks are what a plane calls.
type hooks struct {
	// alive is false while this host must be silent.
	alive func() bool
	// conflict is told that somebody else claims an address that is answered for.
	conflict func(a netip.Addr, mac string)
}
