package fleet

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/fleet/internal/proxy"
	"github.com/moorage-dev/moorage/cluster/fleet/internal/store"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// portKey is a port of this host.
type portKey struct {
	proto  manifest.Protocol
	number uint16
}

// forward is an open port of this host.
type forward struct {
	key    portKey
	lease  market.LeaseID
	target proxy.Target
	ln     net.Listener
	pc     net.PacketConn
	// once guards that the port is closed once; cancel ends its service.
	once   sync.Once
	cancel context.CancelFunc
}

func (w *forward) close() {
	w.once.Do(func() {
		if w.cancel != nil {
			w.cancel()
		}
		if w.ln != nil {
			_ = w.ln.Close()
		}
		if w.pc != nil {
			_ = w.pc.Close()
		}
	})
}

// wantedPorts lists the ports of a workload that need a number on the host,
// sorted, without numbers.
func wantedPorts(w driver.Workload) []store.Port {
	var out []store.Port
	for _, s := range w.Group.Services {
		for _, e := range s.Expose {
			if e.Global && !e.HTTP() {
				out = append(out, store.Port{Service: s.Name, Port: uint16(e.Port), Proto: e.Proto})
			}
		}
	}
	slices.SortFunc(out, comparePorts)
	return slices.Compact(out)
}

func comparePorts(a, b store.Port) int {
	return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Proto, b.Proto))
}

// assignPorts opens every port that a workload needs: the number it had if that
// can still be had, else another. Ports that it no longer needs stay open; see
// closePorts. When one cannot be opened, those opened by this call are closed.
// The caller holds write, or is [New].
func (f *Fleet) assignPorts(ctx context.Context, w driver.Workload, had []store.Port) ([]store.Port, error) {
	wanted := wantedPorts(w)
	var opened []*forward
	for i := range wanted {
		fw, err := f.openPort(ctx, w.Lease, &wanted[i], candidates(wanted[i], had, wanted[:i]))
		if err != nil {
			for _, o := range opened {
				f.drop(o)
			}
			return nil, err
		}
		if fw != nil {
			opened = append(opened, fw)
		}
	}
	return wanted, nil
}

// candidates are the numbers to try first: what the port had, then what the same
// port of the other protocol has.
func candidates(p store.Port, had, others []store.Port) []uint16 {
	var out []uint16
	for _, o := range slices.Concat(had, others) {
		if o.Service == p.Service && o.Port == p.Port && o.Proto == p.Proto && o.External != 0 {
			out = append(out, o.External)
		}
	}
	for _, o := range slices.Concat(others, had) {
		if o.Service == p.Service && o.Port == p.Port && o.External != 0 {
			out = append(out, o.External)
		}
	}
	return out
}

// openPort gives p a number: one that the lease has open for it already, else
// the first of the candidates, then of the range, that can be opened. The result
// is nil when it was open.
func (f *Fleet) openPort(ctx context.Context, id market.LeaseID, p *store.Port, first []uint16) (*forward, error) {
	f.mu.Lock()
	target := proxy.Target{Pool: f.pool(poolKey{id, p.Service}), Port: p.Port}
	f.mu.Unlock()
	size := int(f.cfg.LastPort) - int(f.cfg.FirstPort) + 1
	h := fnv.New32a()
	fmt.Fprintf(h, "%s/%s/%d", id, p.Service, p.Port)
	begin := int(h.Sum32() % uint32(size))
	for i := range len(first) + size {
		number := uint16(int(f.cfg.FirstPort) + (begin+i-len(first)+size)%size)
		if i < len(first) {
			number = first[i]
		}
		key := portKey{p.Proto, number}
		if open := f.holder(key); open != nil {
			if open.lease == id && open.target == target {
				p.External = number
				return nil, nil
			}
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		fw, err := f.bind(ctx, key)
		if err != nil {
			if i < len(first) {
				f.log.Info("a port is taken by another program; another is used", slog.Any("lease", id), slog.Int("port", int(number)), slog.Any("err", err))
			}
			continue
		}
		fw.lease, fw.target, p.External = id, target, number
		f.adopt(fw)
		return fw, nil
	}
	return nil, fmt.Errorf("%w: no port of this host from %d to %d is free for service %s port %d/%s",
		driver.ErrExhausted, f.cfg.FirstPort, f.cfg.LastPort, p.Service, p.Port, p.Proto)
}

// holder returns who has a port, nil when nobody of this fleet.
func (f *Fleet) holder(key portKey) *forward {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.forwards[key]
}

// bind opens a port of the host.
func (f *Fleet) bind(ctx context.Context, key portKey) (*forward, error) {
	address := net.JoinHostPort(f.cfg.PortHost, strconv.Itoa(int(key.number)))
	fw := &forward{key: key}
	var err error
	if key.proto == manifest.UDP {
		fw.pc, err = f.cfg.ListenPacket(ctx, "udp", address)
	} else {
		fw.ln, err = f.cfg.Listen(ctx, "tcp", address)
	}
	return fw, err
}

// adopt takes an open port into the books and serves it while the fleet runs.
func (f *Fleet) adopt(fw *forward) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forwards[fw.key] = fw
	if f.running != nil {
		f.serve(fw)
	}
}

// serve leads clients of a port to its replicas until it is closed. The caller
// holds mu.
func (f *Fleet) serve(fw *forward) {
	if f.running.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(f.running.ctx)
	fw.cancel = cancel
	f.running.wg.Go(func() {
		defer cancel()
		if fw.pc != nil {
			proxy.ServeUDP(ctx, fw.pc, fw.target, f.cfg.Dial)
		} else {
			proxy.ServeTCP(ctx, fw.ln, fw.target, f.cfg.Dial)
		}
	})
}

// drop closes a port.
func (f *Fleet) drop(fw *forward) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.forwards, fw.key)
	fw.close()
}

// closePorts closes the ports of a lease that are not among keep.
func (f *Fleet) closePorts(id market.LeaseID, keep []store.Port) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, fw := range f.forwards {
		kept := func(p store.Port) bool { return p.Proto == key.proto && p.External == key.number }
		if fw.lease == id && !slices.ContainsFunc(keep, kept) {
			delete(f.forwards, key)
			fw.close()
		}
	}
}
