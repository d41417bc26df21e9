// Package realpackets asks a data plane itself about the packets of a
// netpolicytest.World: it listens at the ends, opens connections between them by
// TCP and UDP, and compares what comes through with what the policies say.
package realpackets

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/moorage-dev/moorage/netpolicy"
	"github.com/moorage-dev/moorage/netpolicy/netpolicytest"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// Ground is where packets are real.
type Ground struct {
	World *netpolicytest.World
	// Do runs f where the end is: a socket that f makes in its own goroutine is the
	// end's. It is called concurrently.
	Do func(e netpolicytest.End, f func() error) error
}

// Report is what became of packets.
type Report struct {
	Sent, Came int
	// Wrong describes each packet that fared otherwise than the policies say.
	Wrong []string
}

// Bounds of a check. A packet that must come through is given more time from one
// attempt to the next, for busy machines; one that must not is tried once.
const (
	atOnce   = 96
	attempts = 4
	patience = time.Second
)

// Listen answers on all ports of all ends until closed.
func (g *Ground) Listen(ctx context.Context, ends []netpolicytest.End, ports []netpolicy.Port) (closeAll func(), err error) {
	var open []interface{ Close() error }
	var wg sync.WaitGroup
	closeAll = func() {
		for _, c := range open {
			_ = c.Close()
		}
		wg.Wait()
	}
	for _, e := range ends {
		for _, p := range ports {
			at := netip.AddrPortFrom(e.Address, p.Number).String()
			err := g.Do(e, func() error {
				if p.Protocol == manifest.TCP {
					l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", at)
					if err == nil {
						open = append(open, l)
						wg.Go(func() { accept(l) })
					}
					return err
				}
				c, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp", at)
				if err == nil {
					open = append(open, c)
					wg.Go(func() { echo(c) })
				}
				return err
			})
			if err != nil {
				closeAll()
				return func() {}, fmt.Errorf("listen at %s %s: %w", e, p, err)
			}
		}
	}
	return closeAll, nil
}

func accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_ = c.Close()
	}
}

func echo(c net.PacketConn) {
	buf := make([]byte, 64)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		_, _ = c.WriteTo(buf[:n], from)
	}
}

// Check sends every packet, many at a time. Somebody must listen for all of them.
func (g *Ground) Check(ctx context.Context, packets []netpolicytest.Packet) Report {
	slots := make(chan struct{}, atOnce)
	came := make([]error, len(packets))
	var wg sync.WaitGroup
	for i, p := range packets {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			for n := range attempts {
				came[i] = g.send(ctx, p, patience<<n)
				if came[i] == nil || !g.World.Evaluate(p).Allowed() {
					return
				}
			}
		})
	}
	wg.Wait()
	r := Report{Sent: len(packets)}
	for i, p := range packets {
		if came[i] == nil {
			r.Came++
		}
		if want := g.World.Evaluate(p); want.Allowed() != (came[i] == nil) {
			r.Wrong = append(r.Wrong, fmt.Sprintf("%s: %v; %s", p, came[i], want))
		}
	}
	return r
}

// send opens a connection, or sends a packet and waits for it to come back.
func (g *Ground) send(ctx context.Context, p netpolicytest.Packet, patience time.Duration) error {
	d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: p.From.Address.AsSlice()}}
	if p.Port.Protocol == manifest.UDP {
		d.LocalAddr = &net.UDPAddr{IP: p.From.Address.AsSlice()}
	}
	if p.From.Role == netpolicy.Node {
		d.LocalAddr = nil // whichever the node takes
	}
	return g.Do(p.From, func() error {
		c, err := d.DialContext(ctx, strings.ToLower(string(p.Port.Protocol)), netip.AddrPortFrom(p.To.Address, p.Port.Number).String())
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		if p.Port.Protocol == manifest.TCP {
			return nil
		}
		if _, err := c.Write([]byte("hello")); err != nil {
			return err
		}
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		_, err = c.Read(make([]byte, 64))
		return err
	})
}
