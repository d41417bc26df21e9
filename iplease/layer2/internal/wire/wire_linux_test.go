package wire

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// A host may hold more addresses than one socket takes groups.
func TestThousandsOfAddressesAreAnsweredFor(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	runtime.LockOSThread() // never unlocked, so the thread is not used again
	ns, err := netns.New()
	require.NoError(t, err)
	t.Cleanup(func() { _ = ns.Close() })
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "one"
	link := &netlink.Veth{LinkAttrs: attrs, PeerName: "two"}
	require.NoError(t, netlink.LinkAdd(link))
	require.NoError(t, netlink.LinkSetUp(link))
	w, err := Open(Config{Interface: "one", Alive: func() bool { return true }, Conflict: func(netip.Addr, net.HardwareAddr) {}})
	require.NoError(t, err)
	a := netip.MustParseAddr("2001:db8::1")
	var all []netip.Addr
	for range 5000 {
		all = append(all, a)
		a = a.Next()
	}
	require.NoError(t, w.Add(all...))
	require.Equal(t, all, w.Answers())
	require.Greater(t, len(w.members), 1)
	w.Remove(all...)
	require.Empty(t, w.Answers())
	require.NoError(t, w.Close())
}
