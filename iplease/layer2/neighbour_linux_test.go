package layer2_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
	"github.com/stretchr/testify/require"
)

// listening is how long the segment is listened to for answers.
const listening = 300 * time.Millisecond

// who asks from a client's place on the segment who has an address, with ARP or
// NDP, and returns the hardware address of whoever answers, "" for nobody. Two who
// answer are an error.
func (l *lab) who(client int, a netip.Addr) (string, error) {
	macs := map[string]bool{}
	err := l.clients[client].in(func() error {
		ifi, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		if a.Is4() {
			return askARP(ifi, a, macs)
		}
		return askNDP(ifi, a, macs)
	})
	if err != nil {
		return "", err
	}
	if len(macs) > 1 {
		return "", fmt.Errorf("%s is answered for by %d hosts: %v", a, len(macs), macs)
	}
	for mac := range macs {
		return mac, nil
	}
	return "", nil
}

func askARP(ifi *net.Interface, a netip.Addr, macs map[string]bool) error {
	c, err := arp.Dial(ifi)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.Request(a); err != nil {
		return err
	}
	_ = c.SetReadDeadline(time.Now().Add(listening))
	for {
		p, _, err := c.Read()
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			return nil
		}
		if err != nil {
			return err
		}
		if p.Operation == arp.OperationReply && p.SenderIP == a {
			macs[p.SenderHardwareAddr.String()] = true
		}
	}
}

func askNDP(ifi *net.Interface, a netip.Addr, macs map[string]bool) error {
	c, _, err := ndp.Listen(ifi, ndp.Global)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	group, err := ndp.SolicitedNodeMulticast(a)
	if err != nil {
		return err
	}
	solicit := &ndp.NeighborSolicitation{
		TargetAddress: a, Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: ifi.HardwareAddr}},
	}
	if err := c.WriteTo(solicit, nil, group); err != nil {
		return err
	}
	_ = c.SetReadDeadline(time.Now().Add(listening))
	for {
		m, _, _, err := c.ReadFrom()
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			return nil
		}
		if err != nil {
			return err
		}
		if na, ok := m.(*ndp.NeighborAdvertisement); ok && na.TargetAddress == a {
			for _, o := range na.Options {
				if l, ok := o.(*ndp.LinkLayerAddress); ok && l.Direction == ndp.Target {
					macs[l.Addr.String()] = true
				}
			}
		}
	}
}

// claims lets a client say to all that it has an address.
func (l *lab) claims(t *testing.T, client int, a netip.Addr) {
	t.Helper()
	require.NoError(t, l.clients[client].in(func() error {
		ifi, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		if a.Is4() {
			c, err := arp.Dial(ifi)
			if err != nil {
				return err
			}
			p, err := arp.NewPacket(arp.OperationReply, ifi.HardwareAddr, a, ethernet.Broadcast, a)
			return errors.Join(err, c.WriteTo(p, ethernet.Broadcast), c.Close())
		}
		c, _, err := ndp.Listen(ifi, ndp.Global)
		if err != nil {
			return err
		}
		return errors.Join(c.WriteTo(&ndp.NeighborAdvertisement{
			Override: true, TargetAddress: a, Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: ifi.HardwareAddr}},
		}, nil, netip.IPv6LinkLocalAllNodes()), c.Close())
	}))
}

// hear listens on a client and returns what tells who said last that it has an
// address.
func (l *lab) hear(t *testing.T, client int, a netip.Addr) func() string {
	t.Helper()
	var mu sync.Mutex
	last := ""
	note := func(mac string) {
		mu.Lock()
		defer mu.Unlock()
		last = mac
	}
	var closing func() error
	require.NoError(t, l.clients[client].in(func() error {
		ifi, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		if a.Is4() {
			c, err := arp.Dial(ifi)
			if err != nil {
				return err
			}
			closing = c.Close
			go func() {
				for {
					p, _, err := c.Read()
					if err != nil {
						return
					}
					if p.SenderIP == a {
						note(p.SenderHardwareAddr.String())
					}
				}
			}()
			return nil
		}
		c, _, err := ndp.Listen(ifi, ndp.Global)
		if err != nil {
			return err
		}
		closing = c.Close
		go func() {
			for {
				m, _, _, err := c.ReadFrom()
				if err != nil {
					return
				}
				if na, ok := m.(*ndp.NeighborAdvertisement); ok && na.TargetAddress == a {
					note(na.Options[0].(*ndp.LinkLayerAddress).Addr.String())
				}
			}
		}()
		return nil
	}))
	context.AfterFunc(t.Context(), func() { _ = closing() })
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return last
	}
}
