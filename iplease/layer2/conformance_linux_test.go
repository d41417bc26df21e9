package layer2_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/iplease/driver"
	"github.com/moorage-dev/moorage/iplease/ipleasetest"
	"github.com/moorage-dev/moorage/iplease/layer2"
)

// leased are addresses on the segment that nobody has.
func leased4(n int) (out []netip.Addr) {
	for i := range n {
		out = append(out, netip.AddrFrom4([4]byte{192, 0, 2, byte(200 + i)}))
	}
	return out
}

func leased6(n int) (out []netip.Addr) {
	for i := range n {
		out = append(out, netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", 0x200+i)))
	}
	return out
}

// config is that of a host in a lab of n.
func (l *lab) config(i int, dir string) layer2.Config {
	c := layer2.Config{Interface: "eth0", StateDir: dir, Instance: "test", Timeout: 2 * time.Second}
	if len(l.hosts) > 1 {
		c.Key, c.Listen = []byte("a key of the hosts of this lab"), netip.AddrPortFrom(hostAddr4(i), 7947)
		for j := range l.hosts {
			c.Peers = append(c.Peers, netip.AddrPortFrom(hostAddr4(j), 7947))
		}
	}
	return c
}

// network is a lab as the suite wants it. The first host is the one that is
// called.
func (l *lab) network(t *testing.T) *ipleasetest.Network {
	t.Helper()
	dirs := make([]string, len(l.hosts))
	remotes := make([]*remote, len(l.hosts))
	for i, h := range l.hosts {
		dirs[i] = t.TempDir()
		remotes[i] = start(t, h, l.config(i, dirs[i]))
	}
	replicas := map[netip.Addr]replica{}
	n := &ipleasetest.Network{Announcer: remotes[0], V4: leased4(4), V6: leased6(4)}
	for i := range 2 {
		n.Clients4[i], n.Clients6[i] = clientAddr4(i), clientAddr6(i)
	}
	n.Serve = func(_ context.Context, name string) ([]driver.Backend, error) {
		h := l.hosts[0]
		r := l.serve(t, h, name, ipleasetest.ContainerPort, ipleasetest.OtherPort)
		replicas[r.at4], replicas[r.at6] = r, r
		return []driver.Backend{{Node: h.name, Address: r.at4}, {Node: h.name, Address: r.at6}}, nil
	}
	n.Ask = func(_ context.Context, from ipleasetest.Client, proto iplease.Protocol, to netip.AddrPort) (ipleasetest.Answer, error) {
		words, err := l.ask(from.Index, from.Port, strings.ToLower(proto.String()), to, 2*time.Second)
		if err != nil {
			return ipleasetest.Answer{}, err
		}
		port, err1 := strconv.ParseUint(words[1], 10, 16)
		client, err2 := netip.ParseAddr(words[2])
		return ipleasetest.Answer{Replica: words[0], Port: uint16(port), Client: client}, errors.Join(err1, err2)
	}
	n.Leaves = func(_ context.Context, b driver.Backend) (netip.Addr, error) {
		return l.seen(replicas[b.Address], b.Address)
	}
	n.Answers = func(_ context.Context, a netip.Addr) (string, error) { return l.who(0, a) }
	n.Reopen = func(context.Context) (driver.Announcer, error) {
		remotes[0].shut()
		remotes[0] = start(t, l.hosts[0], l.config(0, dirs[0]))
		return remotes[0], nil
	}
	n.Kill = func(ctx context.Context) (driver.Announcer, error) { return l.killHolder(ctx, remotes) }
	return n
}

// killHolder kills the host that answers for the first claim and returns another.
func (l *lab) killHolder(ctx context.Context, remotes []*remote) (driver.Announcer, error) {
	ids, err := remotes[0].List(ctx)
	if err != nil {
		return nil, err
	}
	s, err := remotes[0].Status(ctx, ids[0])
	if err != nil {
		return nil, err
	}
	var survivor *remote
	for i, h := range l.hosts {
		if h.name == s.Addresses[0].Node {
			remotes[i].kill()
		} else {
			survivor = remotes[i]
		}
	}
	return survivor, nil
}

func abilities() []ipleasetest.Ability {
	return []ipleasetest.Ability{
		ipleasetest.Watch, ipleasetest.Egress, ipleasetest.Sources, ipleasetest.IPv6, ipleasetest.Reopen, ipleasetest.Traffic,
		ipleasetest.ClientAddress, ipleasetest.Neighbours,
	}
}

func TestConformanceOfOneHost(t *testing.T) {
	l := newLab(t, 1)
	ipleasetest.Run(t, ipleasetest.Harness{Abilities: abilities(), Patience: patience, New: l.network})
	l.clean(t)
}

func TestConformanceOfTwoHosts(t *testing.T) {
	l := newLab(t, 2)
	ipleasetest.Run(t, ipleasetest.Harness{Abilities: append(abilities(), ipleasetest.Failover), Patience: patience, New: l.network})
	// One of them was killed: what it left goes when it runs again.
	for i, h := range l.hosts {
		start(t, h, l.config(i, "")).shut()
	}
	l.clean(t)
}

// clean checks that nothing is left on the hosts.
func (l *lab) clean(t *testing.T) {
	t.Helper()
	for _, h := range l.hosts {
		require.Empty(t, h.run(t, "nft", "list", "ruleset"), "rules are left on host %s", h.name)
		require.NotContains(t, h.run(t, "ip", "-o", "link"), "mip", "a bridge is left on host %s", h.name)
	}
}
