package wire

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/mdlayher/ndp"
	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv6"
)

// Config describes a [Wire].
type Config struct {
	// Interface is the name of the one to speak on.
	Interface string
	// Alive is asked before every answer: false is silence. It must be fast.
	Alive func() bool
	// Conflict is told that somebody else claims an address that is answered for
	// here. It must not block.
	Conflict func(a netip.Addr, mac net.HardwareAddr)
}

// Wire speaks on one interface. It is safe for concurrent use.
//
// Goroutines: [Wire.Run] has one that reads each socket and one that repeats
// announcements; all end before Run returns.
type Wire struct {
	cfg   Config
	ifi   *net.Interface
	socks []*packet.Conn // ARP, IPv6

	mu      sync.Mutex // guards all below
	answers map[netip.Addr]*repeat
	probes  map[netip.Addr]net.HardwareAddr // nil until somebody answers
	groups  map[netip.Addr]*group           // by solicited-node group
	members []*ipv6.PacketConn              // sockets that are in groups, each as full as it gets
	wake    chan struct{}
}

// group is a multicast group that is listened to.
type group struct {
	users int
	by    *ipv6.PacketConn
}

// repeat is the announcing of an address.
type repeat struct {
	sent int
	next time.Time
}

// pauses are those between the announcements of an address: packets get lost, and
// hosts that missed one would send to the old place for minutes.
func pauses() []time.Duration {
	return []time.Duration{100 * time.Millisecond, 300 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second}
}

// Open opens the sockets. Close them with [Wire.Close].
func Open(c Config) (*Wire, error) {
	ifi, err := net.InterfaceByName(c.Interface)
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", c.Interface, err)
	}
	const ethernetAddress = 6
	if len(ifi.HardwareAddr) != ethernetAddress {
		return nil, fmt.Errorf("interface %s is no Ethernet", c.Interface)
	}
	w := &Wire{
		cfg: c, ifi: ifi, answers: map[netip.Addr]*repeat{}, probes: map[netip.Addr]net.HardwareAddr{},
		groups: map[netip.Addr]*group{}, wake: make(chan struct{}, 1),
	}
	filter, err := onlyNDP()
	if err != nil {
		return nil, err
	}
	for _, s := range []struct {
		proto  uint16
		filter []bpf.RawInstruction
	}{{etherARP, nil}, {etherIPv6, filter}} {
		conn, err := packet.Listen(ifi, packet.Raw, int(s.proto), &packet.Config{Filter: s.filter})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("listen on %s: %w", c.Interface, err), w.Close())
		}
		w.socks = append(w.socks, conn)
	}
	return w, nil
}

// onlyNDP lets the kernel pass neighbour solicitations and advertisements.
func onlyNDP() ([]bpf.RawInstruction, error) {
	return bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: etherHeader + 6, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: nextICMPv6, SkipTrue: 4},
		bpf.LoadAbsolute{Off: etherHeader + ipv6Header, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: icmpSolicit, SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: icmpAdvert, SkipTrue: 1},
		bpf.RetConstant{Val: maxFrame},
		bpf.RetConstant{Val: 0},
	})
}

// HardwareAddr is the interface's.
func (w *Wire) HardwareAddr() net.HardwareAddr { return w.ifi.HardwareAddr }

// Close closes the sockets: nothing is answered any more.
func (w *Wire) Close() error {
	var errs []error
	for _, s := range w.socks {
		errs = append(errs, s.Close())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.members {
		errs = append(errs, m.Close())
	}
	w.members = nil
	return errors.Join(errs...)
}

// Run answers and announces until ctx ends, then without error, or a socket
// fails. It closes the wire.
func (w *Wire) Run(outer context.Context) error {
	ctx, cancel := context.WithCancel(outer)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = w.Close() })
	defer stop()
	errs := make(chan error, len(w.socks))
	var wg sync.WaitGroup
	for _, s := range w.socks {
		wg.Go(func() {
			defer cancel()
			errs <- w.read(s)
		})
	}
	w.repeat(ctx)
	wg.Wait()
	if err := <-errs; outer.Err() == nil {
		return fmt.Errorf("interface %s: %w", w.ifi.Name, err)
	}
	return nil
}

func (w *Wire) read(s *packet.Conn) error {
	b := make([]byte, maxFrame)
	for {
		n, _, err := s.ReadFrom(b)
		if err != nil {
			return err
		}
		if h, err := parse(b[:n]); err == nil {
			w.hear(h)
		}
	}
}

// hear does what one message asks for.
func (w *Wire) hear(h heard) {
	if slices.Equal(h.mac, w.ifi.HardwareAddr) {
		return
	}
	w.mu.Lock()
	_, ours := w.answers[h.asks]
	_, contested := w.answers[h.says]
	for _, a := range []netip.Addr{h.says, h.asks} {
		// Who asks without an address of its own is about to take it (RFC 5227, 2.1.1).
		if old, probed := w.probes[a]; probed && old == nil && (a == h.says || !h.from.IsValid()) {
			w.probes[a] = slices.Clone(h.mac)
		}
	}
	w.mu.Unlock()
	if contested {
		w.cfg.Conflict(h.says, slices.Clone(h.mac))
	}
	if ours && w.cfg.Alive() {
		if b, err := reply(w.ifi.HardwareAddr, h); err == nil {
			w.send(h.asks, b)
		}
	}
}

// send puts a frame on the wire. One that cannot be sent is as one that is lost.
func (w *Wire) send(a netip.Addr, frame []byte) {
	s := w.socks[0]
	if a.Is6() {
		s = w.socks[1]
	}
	_, _ = s.WriteTo(frame, &packet.Addr{HardwareAddr: frame[:6]})
}

// Add answers for addresses from now on and announces each some times.
func (w *Wire) Add(addrs ...netip.Addr) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range addrs {
		if w.answers[a] == nil {
			if err := w.join(a); err != nil {
				return fmt.Errorf("interface %s: %s: %w", w.ifi.Name, a, err)
			}
		}
		w.answers[a] = &repeat{}
	}
	w.nudge()
	return nil
}

// Announce begins to announce an address anew, if it is answered for.
func (w *Wire) Announce(a netip.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.answers[a] != nil {
		w.answers[a] = &repeat{}
		w.nudge()
	}
}

// Remove is silent about addresses from now on.
func (w *Wire) Remove(addrs ...netip.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range addrs {
		if w.answers[a] != nil {
			delete(w.answers, a)
			w.leave(a)
		}
	}
}

func (w *Wire) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// join listens to the group in which neighbours ask for an IPv6 address.
func (w *Wire) join(a netip.Addr) error {
	if a.Is4() {
		return nil
	}
	name, err := ndp.SolicitedNodeMulticast(a)
	if err != nil {
		return err
	}
	if g := w.groups[name]; g != nil {
		g.users++
		return nil
	}
	by, err := w.member(name)
	if err == nil {
		w.groups[name] = &group{users: 1, by: by}
	}
	return err
}

// member puts a socket into a group. A socket takes some hundred groups (the
// kernel's optmem_max); then there is another.
func (w *Wire) member(name netip.Addr) (*ipv6.PacketConn, error) {
	to := &net.UDPAddr{IP: name.AsSlice()}
	if n := len(w.members); n > 0 && w.members[n-1].JoinGroup(w.ifi, to) == nil {
		return w.members[n-1], nil
	}
	var lc net.ListenConfig
	pc, err := lc.ListenPacket(context.Background(), "udp6", "[::]:0") // it resolves nothing
	if err != nil {
		return nil, err
	}
	m := ipv6.NewPacketConn(pc)
	if err := m.JoinGroup(w.ifi, to); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	w.members = append(w.members, m)
	return m, nil
}

func (w *Wire) leave(a netip.Addr) {
	if a.Is4() {
		return
	}
	name, err := ndp.SolicitedNodeMulticast(a)
	g := w.groups[name]
	if err != nil || g == nil {
		return
	}
	if g.users--; g.users == 0 {
		delete(w.groups, name)
		_ = g.by.LeaveGroup(w.ifi, &net.UDPAddr{IP: name.AsSlice()})
	}
}

// repeat sends announcements when they are due until ctx ends.
func (w *Wire) repeat(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(w.announceDue(time.Now()))
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		case <-timer.C:
		}
	}
}

// announceDue sends what is due and returns when to look again.
func (w *Wire) announceDue(now time.Time) time.Duration {
	const idle = time.Hour
	wait := pauses()
	w.mu.Lock()
	var due []netip.Addr
	next := idle
	for a, r := range w.answers {
		if r.sent > len(wait) {
			continue
		}
		if !r.next.After(now) {
			due = append(due, a)
			r.next = now.Add(wait[min(r.sent, len(wait)-1)])
			r.sent++
		}
		next = min(next, r.next.Sub(now))
	}
	w.mu.Unlock()
	slices.SortFunc(due, netip.Addr.Compare)
	for _, a := range due {
		if b, err := announcement(w.ifi.HardwareAddr, a); err == nil && w.cfg.Alive() {
			w.send(a, b)
		}
	}
	return next
}

// Probe asks several times whether anybody has the addresses, and returns who has:
// hardware addresses by address. It takes times × pause; only one Probe of an
// address may run at a time. The error is the context's.
func (w *Wire) Probe(ctx context.Context, addrs []netip.Addr, times int, pause time.Duration) (map[netip.Addr]net.HardwareAddr, error) {
	w.mu.Lock()
	for _, a := range addrs {
		w.probes[a] = nil
	}
	w.mu.Unlock()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	var err error
	for range times {
		for _, a := range addrs {
			if b, err := question(w.ifi.HardwareAddr, a); err == nil {
				w.send(a, b)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := map[netip.Addr]net.HardwareAddr{}
	for _, a := range addrs {
		if mac := w.probes[a]; mac != nil {
			taken[a] = mac
		}
		delete(w.probes, a)
	}
	return taken, err
}

// Answers returns the addresses that are answered for, sorted.
func (w *Wire) Answers() []netip.Addr {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.SortedFunc(maps.Keys(w.answers), netip.Addr.Compare)
}
