// Package wire speaks ARP and NDP on one interface for addresses that the kernel
// does not have: it answers who asks for them, announces them, asks whether
// somebody else has them, and notices when somebody else says so (RFC 826, RFC
// 4861, RFC 5227, RFC 5944 section 4.6 for gratuitous ARP).
//
// It answers in this process and not in the kernel, so that a host whose agent
// died is silent at once.
package wire

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
)

// etherTypes and sizes on the wire.
const (
	etherARP     = uint16(ethernet.EtherTypeARP)
	etherIPv6    = uint16(ethernet.EtherTypeIPv6)
	etherHeader  = 14
	ipv6Header   = 40
	nextICMPv6   = 58
	icmpSolicit  = 135
	icmpAdvert   = 136
	maxFrame     = 1514
	minARPFrame  = etherHeader + 28
	unspecified4 = "0.0.0.0"
)

// heard is what one packet says.
type heard struct {
	// asks is the address that somebody wants to know about; from where, with
	// fromMAC, "" when it only checks that nobody has it.
	asks netip.Addr
	from netip.Addr
	// says is the address that somebody claims to have, or is about to take.
	says netip.Addr
	mac  net.HardwareAddr
}

var errNotOurs = errors.New("wire: not a message for us")

// parse reads an Ethernet frame with ARP or NDP in it.
func parse(b []byte) (heard, error) {
	if len(b) < etherHeader {
		return heard{}, errNotOurs
	}
	switch binary.BigEndian.Uint16(b[12:14]) {
	case etherARP:
		return parseARP(b)
	case etherIPv6:
		return parseNDP(b)
	}
	return heard{}, errNotOurs
}

func parseARP(b []byte) (heard, error) {
	var p arp.Packet
	if len(b) < minARPFrame || p.UnmarshalBinary(b[etherHeader:]) != nil || !p.SenderIP.Is4() || !p.TargetIP.Is4() {
		return heard{}, errNotOurs
	}
	h := heard{mac: p.SenderHardwareAddr}
	if !p.SenderIP.IsUnspecified() {
		h.says, h.from = p.SenderIP, p.SenderIP
	}
	if p.Operation == arp.OperationRequest && p.SenderIP != p.TargetIP {
		h.asks = p.TargetIP
	}
	return h, nil
}

func parseNDP(b []byte) (heard, error) {
	const hopLimit = 7 // its place in the IPv6 header
	if len(b) < etherHeader+ipv6Header {
		return heard{}, errNotOurs
	}
	head, body := b[etherHeader:etherHeader+ipv6Header], b[etherHeader+ipv6Header:]
	length := int(binary.BigEndian.Uint16(head[4:6]))
	// A hop limit below 255 has come from another link (RFC 4861, 7.1).
	if head[6] != nextICMPv6 || head[hopLimit] != ndp.HopLimit || length > len(body) {
		return heard{}, errNotOurs
	}
	m, err := ndp.ParseMessage(body[:length])
	if err != nil {
		return heard{}, errNotOurs
	}
	h := heard{mac: net.HardwareAddr(append([]byte(nil), b[6:12]...))}
	src := netip.AddrFrom16([16]byte(head[8:24]))
	switch m := m.(type) {
	case *ndp.NeighborSolicitation:
		h.asks = m.TargetAddress
		if !src.IsUnspecified() {
			h.from = src
		}
		h.mac = option(m.Options, h.mac, ndp.Source)
	case *ndp.NeighborAdvertisement:
		h.says = m.TargetAddress
		h.mac = option(m.Options, h.mac, ndp.Target)
	default:
		return heard{}, errNotOurs
	}
	return h, nil
}

// option is the link-layer address that a message names, or else the frame's.
func option(options []ndp.Option, frame net.HardwareAddr, direction ndp.Direction) net.HardwareAddr {
	for _, o := range options {
		if l, ok := o.(*ndp.LinkLayerAddress); ok && l.Direction == direction {
			return l.Addr
		}
	}
	return frame
}

// reply answers a question about an address that is here.
func reply(self net.HardwareAddr, h heard) ([]byte, error) {
	if h.asks.Is4() {
		to := h.from
		if !to.IsValid() {
			to = netip.MustParseAddr(unspecified4) // a probe: the answer defends the address
		}
		return arpFrame(arp.OperationReply, self, h.asks, h.mac, to, h.mac)
	}
	if !h.from.IsValid() {
		return advert(self, h.asks, netip.IPv6LinkLocalAllNodes(), multicastMAC(netip.IPv6LinkLocalAllNodes()), false)
	}
	return advert(self, h.asks, h.from, h.mac, true)
}

// announcement tells all neighbours that an address is here, also those that know
// it to be elsewhere.
func announcement(self net.HardwareAddr, a netip.Addr) ([]byte, error) {
	if a.Is4() {
		return arpFrame(arp.OperationRequest, self, a, make(net.HardwareAddr, len(self)), a, ethernet.Broadcast)
	}
	return advert(self, a, netip.IPv6LinkLocalAllNodes(), multicastMAC(netip.IPv6LinkLocalAllNodes()), false)
}

// question asks whether anybody has an address, without saying that we have it
// (RFC 5227, 2.1; RFC 4862, 5.4).
func question(self net.HardwareAddr, a netip.Addr) ([]byte, error) {
	if a.Is4() {
		return arpFrame(arp.OperationRequest, self, netip.MustParseAddr(unspecified4), make(net.HardwareAddr, len(self)), a, ethernet.Broadcast)
	}
	group, err := ndp.SolicitedNodeMulticast(a)
	if err != nil {
		return nil, err
	}
	return ndpFrame(self, multicastMAC(group), netip.IPv6Unspecified(), group, &ndp.NeighborSolicitation{TargetAddress: a})
}

func arpFrame(op arp.Operation, self net.HardwareAddr, sender netip.Addr, target net.HardwareAddr, targetIP netip.Addr, to net.HardwareAddr) ([]byte, error) {
	p, err := arp.NewPacket(op, self, sender, target, targetIP)
	if err != nil {
		return nil, err
	}
	b, err := p.MarshalBinary()
	if err != nil {
		return nil, err
	}
	return (&ethernet.Frame{Destination: to, Source: self, EtherType: ethernet.EtherTypeARP, Payload: b}).MarshalBinary()
}

func advert(self net.HardwareAddr, a, to netip.Addr, mac net.HardwareAddr, solicited bool) ([]byte, error) {
	return ndpFrame(self, mac, a, to, &ndp.NeighborAdvertisement{
		Solicited: solicited, Override: true, TargetAddress: a,
		Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: self}},
	})
}

func ndpFrame(self, mac net.HardwareAddr, from, to netip.Addr, m ndp.Message) ([]byte, error) {
	body, err := ndp.MarshalMessageChecksum(m, from, to)
	if err != nil {
		return nil, err
	}
	b := make([]byte, ipv6Header, ipv6Header+len(body))
	b[0] = 6 << 4
	binary.BigEndian.PutUint16(b[4:6], uint16(len(body)))
	b[6], b[7] = nextICMPv6, ndp.HopLimit
	src, dst := from.As16(), to.As16()
	copy(b[8:24], src[:])
	copy(b[24:40], dst[:])
	return (&ethernet.Frame{Destination: mac, Source: self, EtherType: ethernet.EtherTypeIPv6, Payload: append(b, body...)}).MarshalBinary()
}

// multicastMAC is where IPv6 multicast goes on Ethernet (RFC 2464, 7).
func multicastMAC(group netip.Addr) net.HardwareAddr {
	b := group.As16()
	return net.HardwareAddr{0x33, 0x33, b[12], b[13], b[14], b[15]}
}
