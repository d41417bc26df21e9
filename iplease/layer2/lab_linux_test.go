package layer2_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// patience is more than anything here takes, also on a busy machine.
const patience = 30 * time.Second

// space is a network namespace of a test.
type space struct{ handle netns.NsHandle }

// needRoot skips tests that make namespaces.
func needRoot(tb testing.TB) {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("network namespaces need root")
	}
	if _, err := exec.LookPath("nft"); err != nil {
		tb.Skip("the path to replicas needs the program nft (package nftables)")
	}
}

// newSpace makes a namespace that goes with the test.
func newSpace(tb testing.TB) *space {
	tb.Helper()
	s := &space{}
	err := onThread(func() (err error) {
		s.handle, err = netns.New()
		return err
	})
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = s.handle.Close() })
	require.NoError(tb, s.in(func() error { return up("lo") }))
	return s
}

// onThread runs f on a thread of its own, which ends with it: it may leave its
// namespace.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked, so the thread ends
		done <- f()
	}()
	return <-done
}

// in runs f in the namespace. Sockets and processes that f makes stay in it.
func (s *space) in(f func() error) error {
	return onThread(func() error {
		if err := netns.Set(s.handle); err != nil {
			return err
		}
		return f()
	})
}

// run runs a command in the namespace and returns what it printed.
func (s *space) run(tb testing.TB, command ...string) string {
	tb.Helper()
	var out []byte
	require.NoError(tb, s.in(func() (err error) {
		cmd := exec.CommandContext(context.Background(), command[0], command[1:]...)
		if out, err = cmd.CombinedOutput(); err != nil {
			err = fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, out)
		}
		return err
	}))
	return string(out)
}

func up(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}

// cable joins two namespaces by a pair of interfaces.
func cable(tb testing.TB, a *space, nameA string, b *space, nameB string) {
	tb.Helper()
	require.NoError(tb, a.in(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = nameA
		veth := &netlink.Veth{LinkAttrs: attrs, PeerName: nameB, PeerNamespace: netlink.NsFd(b.handle)}
		if err := netlink.LinkAdd(veth); err != nil {
			return err
		}
		return up(nameA)
	}))
	require.NoError(tb, b.in(func() error { return up(nameB) }))
}

// address gives an interface addresses with their networks.
func (s *space) address(tb testing.TB, name string, prefixes ...string) {
	tb.Helper()
	require.NoError(tb, s.in(func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		for _, p := range prefixes {
			a, err := netlink.ParseAddr(p)
			if err != nil {
				return err
			}
			if a.IP.To4() == nil {
				a.Flags = unix.IFA_F_NODAD // it is good at once
			}
			if err := netlink.AddrReplace(link, a); err != nil {
				return err
			}
		}
		return nil
	}))
}

// bridge makes a bridge of interfaces.
func (s *space) bridge(tb testing.TB, name string, ports ...string) {
	tb.Helper()
	require.NoError(tb, s.in(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = name
		b := &netlink.Bridge{LinkAttrs: attrs}
		if err := netlink.LinkAdd(b); err != nil {
			return err
		}
		for _, p := range ports {
			link, err := netlink.LinkByName(p)
			if err != nil {
				return err
			}
			if err := netlink.LinkSetMaster(link, b); err != nil {
				return err
			}
		}
		return up(name)
	}))
}

// lab is a segment with hosts and clients, and a workload network behind each
// host.
type lab struct {
	wire    *space // the switch
	hosts   []*machine
	clients [2]*space
	next    int // number of the next replica
}

// machine is a host: its namespace, and that of the workload on it.
type machine struct {
	*space
	name     string
	workload *space
	number   int
}

// on the segment; leased addresses are in the same networks.
func hostAddr4(i int) netip.Addr   { return netip.AddrFrom4([4]byte{192, 0, 2, byte(11 + i)}) }
func clientAddr4(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(101 + i)}) }
func clientAddr6(i int) netip.Addr {
	return netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", 0x101+i))
}

// newLab builds a segment with n hosts, "a" first.
func newLab(tb testing.TB, n int) *lab {
	tb.Helper()
	needRoot(tb)
	l := &lab{wire: newSpace(tb)}
	var ports []string
	for i := range n {
		h := &machine{space: newSpace(tb), name: string(rune('a' + i)), workload: newSpace(tb), number: i}
		port := "host" + h.name
		cable(tb, l.wire, port, h.space, "eth0")
		ports = append(ports, port)
		h.address(tb, "eth0", hostAddr4(i).String()+"/24", fmt.Sprintf("2001:db8::%x/64", 0x11+i))
		cable(tb, h.space, "work0", h.workload, "eth0")
		h.bridge(tb, "work", "work0")
		// With br_netfilter a packet goes back to the port it came from only in this
		// mode: a replica that reaches itself by its leased address.
		h.run(tb, "ip", "link", "set", "work0", "type", "bridge_slave", "hairpin", "on")
		h.address(tb, "work", fmt.Sprintf("10.0.%d.1/24", i), fmt.Sprintf("fd00:0:0:%x::1/64", i))
		l.hosts = append(l.hosts, h)
	}
	for i := range l.clients {
		l.clients[i] = newSpace(tb)
		port := fmt.Sprintf("client%d", i)
		cable(tb, l.wire, port, l.clients[i], "eth0")
		ports = append(ports, port)
		l.clients[i].address(tb, "eth0", clientAddr4(i).String()+"/24", clientAddr6(i).String()+"/64")
		for j := range l.hosts { // what leaves without a leased address is answered too
			l.clients[i].run(tb, "ip", "route", "add", fmt.Sprintf("10.0.%d.0/24", j), "via", hostAddr4(j).String())
			l.clients[i].run(tb, "ip", "-6", "route", "add", fmt.Sprintf("fd00:0:0:%x::/64", j), "via", fmt.Sprintf("2001:db8::%x", 0x11+j))
		}
	}
	l.wire.bridge(tb, "segment", ports...)
	return l
}

// replica is a program that listens in the workload network of a host.
type replica struct {
	at4, at6 netip.Addr
	space    *space
}

// serve starts one, which answers on some ports with its name, the port and whom
// it sees.
func (l *lab) serve(tb testing.TB, h *machine, name string, ports ...int) replica {
	tb.Helper()
	l.next++
	r := replica{
		at4: netip.AddrFrom4([4]byte{10, 0, byte(h.number), byte(1 + l.next)}), space: h.workload,
		at6: netip.MustParseAddr(fmt.Sprintf("fd00:0:0:%x::%x", h.number, 1+l.next)),
	}
	require.Less(tb, l.next, 250, "too many replicas for their network")
	h.workload.address(tb, "eth0", r.at4.String()+"/24", r.at6.String()+"/64")
	h.workload.run(tb, "ip", "route", "replace", "default", "via", fmt.Sprintf("10.0.%d.1", h.number))
	h.workload.run(tb, "ip", "-6", "route", "replace", "default", "via", fmt.Sprintf("fd00:0:0:%x::1", h.number))
	for _, at := range []netip.Addr{r.at4, r.at6} {
		for _, port := range ports {
			l.listen(tb, h.workload, name, netip.AddrPortFrom(at, uint16(port)))
		}
	}
	return r
}

func (l *lab) listen(tb testing.TB, s *space, name string, at netip.AddrPort) {
	tb.Helper()
	var tcp net.Listener
	var udp net.PacketConn
	require.NoError(tb, s.in(func() (err error) {
		if tcp, err = net.Listen("tcp", at.String()); err == nil {
			udp, err = net.ListenPacket("udp", at.String())
		}
		return err
	}))
	tb.Cleanup(func() { _, _ = tcp.Close(), udp.Close() })
	text := func(client net.Addr) []byte {
		from := netip.MustParseAddrPort(client.String())
		return fmt.Appendf(nil, "%s %d %s\n", name, at.Port(), from.Addr().Unmap())
	}
	go func() {
		for {
			c, err := tcp.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write(text(c.RemoteAddr()))
			_ = c.Close()
		}
	}()
	go func() {
		b := make([]byte, 64)
		for {
			_, from, err := udp.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = udp.WriteTo(text(from), from)
		}
	}()
}

// ask opens a connection from a client and returns the words of the answer.
func (l *lab) ask(client int, localPort uint16, network string, to netip.AddrPort, wait time.Duration) ([]string, error) {
	var conn net.Conn
	err := l.clients[client].in(func() (err error) {
		d := net.Dialer{Timeout: wait}
		if localPort != 0 {
			at := clientAddr4(client)
			if to.Addr().Is6() {
				at = clientAddr6(client)
			}
			d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, localPort))
		}
		conn, err = d.Dial(network, to.String())
		return err
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(wait))
	if network == "udp" {
		if _, err := conn.Write([]byte("?")); err != nil {
			return nil, err
		}
	}
	b := make([]byte, 256)
	n, err := conn.Read(b)
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(b[:n])), nil
}

// seen lets a replica open a connection to a client and returns whom the client
// sees.
func (l *lab) seen(r replica, from netip.Addr) (netip.Addr, error) {
	var listener net.Listener
	to := clientAddr4(0)
	if from.Is6() {
		to = clientAddr6(0)
	}
	err := l.clients[0].in(func() (err error) {
		listener, err = net.Listen("tcp", netip.AddrPortFrom(to, 0).String())
		return err
	})
	if err != nil {
		return netip.Addr{}, err
	}
	defer func() { _ = listener.Close() }()
	err = r.space.in(func() error {
		d := net.Dialer{Timeout: patience / 10, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
		c, err := d.Dial("tcp", listener.Addr().String())
		if err == nil {
			err = c.Close()
		}
		return err
	})
	if err != nil {
		return netip.Addr{}, err
	}
	c, err := listener.Accept()
	if err != nil {
		return netip.Addr{}, err
	}
	defer func() { _ = c.Close() }()
	return netip.MustParseAddrPort(c.RemoteAddr().String()).Addr().Unmap(), nil
}

// from opens a connection in any namespace and returns the words of the answer.
func (l *lab) from(s *space, network string, to netip.AddrPort) ([]string, error) {
	var conn net.Conn
	err := s.in(func() (err error) {
		conn, err = net.DialTimeout(network, to.String(), 2*time.Second)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	b := make([]byte, 256)
	n, err := conn.Read(b)
	return strings.Fields(string(b[:n])), err
}

// pages serves HTTP in the workload network of a host, at an address of each
// family.
func (l *lab) pages(tb testing.TB, h *machine) []netip.Addr {
	tb.Helper()
	l.next++
	at := []netip.Addr{
		netip.AddrFrom4([4]byte{10, 0, byte(h.number), byte(1 + l.next)}),
		netip.MustParseAddr(fmt.Sprintf("fd00:0:0:%x::%x", h.number, 1+l.next)),
	}
	h.workload.address(tb, "eth0", at[0].String()+"/24", at[1].String()+"/64")
	for _, a := range at {
		var listener net.Listener
		require.NoError(tb, h.workload.in(func() (err error) {
			listener, err = net.Listen("tcp", netip.AddrPortFrom(a, 8080).String())
			return err
		}))
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprintf(w, "a page for %s\n", netip.MustParseAddrPort(r.RemoteAddr).Addr().Unmap())
		})}
		tb.Cleanup(func() { _ = server.Close() })
		go func() { _ = server.Serve(listener) }()
	}
	return at
}
