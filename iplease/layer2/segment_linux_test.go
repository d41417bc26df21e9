package layer2_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/iplease/driver"
	"github.com/moorage-dev/moorage/iplease/layer2"
	"github.com/moorage-dev/moorage/market"
)

const web = 8080

// lease is the n-th deployment's.
func lease(n int) market.LeaseID {
	id, err := market.ParseLeaseID(fmt.Sprintf("tenant/%d/1/1/provider", n))
	if err != nil {
		panic(err)
	}
	return id
}

func name() iplease.ClaimID { return iplease.ClaimID{Owner: "tenant", Name: "web"} }

// announcement leads port 80, TCP and UDP, of both first leased addresses to
// replicas of a deployment.
func announcement(revision uint64, of int, replicas ...driver.Backend) driver.Announcement {
	a := driver.Announcement{Claim: name(), Revision: revision, Addresses: []netip.Addr{leased4(1)[0], leased6(1)[0]}, Backends: replicas}
	for _, proto := range []iplease.Protocol{iplease.TCP, iplease.UDP} {
		a.Ports = append(a.Ports, iplease.Port{Protocol: proto, External: 80, Lease: lease(of), Service: "web", Port: web})
	}
	return a
}

// backends starts a replica of a deployment on a host, with its own name.
func (l *lab) backends(t *testing.T, h *machine, of int, name string) []driver.Backend {
	t.Helper()
	r := l.serve(t, h, name, web)
	return []driver.Backend{
		{Lease: lease(of), Service: "web", Node: h.name, Address: r.at4},
		{Lease: lease(of), Service: "web", Node: h.name, Address: r.at6},
	}
}

// answering waits until the claim is announced, by a host unless it is "", and
// returns the one.
func answering(t *testing.T, r *remote, by string) string {
	t.Helper()
	var s driver.Status
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		var err error
		s, err = r.Status(t.Context(), name())
		require.NoError(c, err)
		require.Equal(c, driver.Announced, s.State, "%+v", s)
		if by != "" {
			require.Equal(c, by, s.Addresses[0].Node)
		}
	}, patience, 10*time.Millisecond)
	return s.Addresses[0].Node
}

// reached asks at both addresses with both protocols and wants one replica.
func (l *lab) reached(t *testing.T, replica string) {
	t.Helper()
	for _, at := range []netip.Addr{leased4(1)[0], leased6(1)[0]} {
		for _, network := range []string{"tcp", "udp"} {
			client := clientAddr4(0)
			if at.Is6() {
				client = clientAddr6(0)
			}
			require.EventuallyWithT(t, func(c *assert.CollectT) {
				words, err := l.ask(0, 0, network, netip.AddrPortFrom(at, 80), time.Second)
				require.NoError(c, err)
				require.Equal(c, []string{replica, "8080", client.String()}, words)
			}, patience, 10*time.Millisecond, "%s %s", network, at)
		}
	}
}

// oneAnswers checks that exactly one answers for each address, and that it is the
// same for both.
func (l *lab) oneAnswers(t *testing.T) (mac string) {
	t.Helper()
	for _, at := range []netip.Addr{leased4(1)[0], leased6(1)[0]} {
		got, err := l.who(1, at)
		require.NoError(t, err)
		require.NotEmpty(t, got, at)
		if mac != "" {
			require.Equal(t, mac, got)
		}
		mac = got
	}
	return mac
}

// announced listens to what is announced without being asked, and returns what
// waits until a hardware address is the last that was heard for both addresses.
func (l *lab) announced(t *testing.T) func(mac string) {
	t.Helper()
	four, six := l.hear(t, 1, leased4(1)[0]), l.hear(t, 1, leased6(1)[0])
	return func(mac string) {
		t.Helper()
		require.Eventually(t, func() bool { return four() == mac && six() == mac }, patience, 10*time.Millisecond, "%s is not announced", mac)
	}
}

// mac is the hardware address of a host on the segment.
func (l *lab) mac(t *testing.T, host string) string {
	t.Helper()
	var out string
	require.NoError(t, l.hosts[host[0]-'a'].in(func() error {
		ifi, err := net.InterfaceByName("eth0")
		if err == nil {
			out = ifi.HardwareAddr.String()
		}
		return err
	}))
	return out
}

func (l *lab) all(t *testing.T, change func(i int, c *layer2.Config)) []*remote {
	t.Helper()
	var out []*remote
	for i, h := range l.hosts {
		c := l.config(i, t.TempDir())
		if change != nil {
			change(i, &c)
		}
		out = append(out, start(t, h, c))
	}
	return out
}

// probe asks without end from a client, a datagram each pause, and notes when each
// answer came.
type probe struct {
	mu      sync.Mutex
	sent    int
	answers []stamp
	stop    context.CancelFunc
	done    chan struct{}
}

type stamp struct {
	at      time.Time
	replica string
}

func (l *lab) probe(to netip.AddrPort) *probe {
	ctx, cancel := context.WithCancel(context.Background())
	p := &probe{stop: cancel, done: make(chan struct{})}
	const pause, wait = 5 * time.Millisecond, 50 * time.Millisecond
	go func() {
		defer close(p.done)
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for ctx.Err() == nil {
			words, err := l.ask(0, 0, "udp", to, wait)
			p.mu.Lock()
			p.sent++
			if err == nil {
				p.answers = append(p.answers, stamp{time.Now(), words[0]})
			}
			p.mu.Unlock()
			<-tick.C
		}
	}()
	return p
}

// until waits for an answer of a replica.
func (p *probe) until(t *testing.T, replica string) {
	t.Helper()
	require.Eventually(t, func() bool { return p.heard(replica) }, patience, 5*time.Millisecond, "no answer of %s", replica)
}

// heard reports whether a replica has answered.
func (p *probe) heard(replica string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.answers, func(s stamp) bool { return s.replica == replica })
}

// gap ends the probe and returns the longest time without an answer, and how many
// datagrams were not answered.
func (p *probe) gap() (longest time.Duration, lost int) {
	p.stop()
	<-p.done
	for i := 1; i < len(p.answers); i++ {
		longest = max(longest, p.answers[i].at.Sub(p.answers[i-1].at))
	}
	return longest, p.sent - len(p.answers)
}

func TestAnAddressMovesWhenItsHostIsKilled(t *testing.T) {
	l := newLab(t, 2)
	hosts := l.all(t, nil)
	both := append(l.backends(t, l.hosts[0], 1, "on-a"), l.backends(t, l.hosts[1], 1, "on-b")...)
	announced := l.announced(t)
	require.NoError(t, hosts[0].Apply(t.Context(), announcement(1, 1, both...)))
	first := answering(t, hosts[0], "")
	require.Equal(t, first, answering(t, hosts[1], ""), "both know who answers")
	announced(l.mac(t, first))
	dead, other := hosts[0], hosts[1]
	second := "b"
	if first == "b" {
		dead, other, second = hosts[1], hosts[0], "a"
	}
	l.reached(t, "on-"+first)
	before := l.oneAnswers(t)
	p := l.probe(netip.AddrPortFrom(leased4(1)[0], 80))
	p.until(t, "on-"+first)
	dead.kill()
	answering(t, other, second)
	announced(l.mac(t, second))
	p.until(t, "on-"+second)
	gap, lost := p.gap()
	t.Logf("host %s was killed: no answer for %s, %d datagrams lost", first, gap.Round(time.Millisecond), lost)
	assert.NotEqual(t, before, l.oneAnswers(t))
	l.reached(t, "on-"+second)
}

// A migration is one Apply; the address moves with the replicas, also between
// hosts.
func TestAMigrationMovesTheAddress(t *testing.T) {
	l := newLab(t, 2)
	hosts := l.all(t, nil)
	one, two, three := l.backends(t, l.hosts[0], 1, "one"), l.backends(t, l.hosts[0], 2, "two"), l.backends(t, l.hosts[1], 3, "three")
	require.NoError(t, hosts[0].Apply(t.Context(), announcement(1, 1, one...)))
	answering(t, hosts[0], "a")
	l.reached(t, "one")

	p := l.probe(netip.AddrPortFrom(leased4(1)[0], 80))
	p.until(t, "one")
	require.NoError(t, hosts[0].Apply(t.Context(), announcement(2, 2, two...)))
	p.until(t, "two")
	gap, lost := p.gap()
	t.Logf("from a deployment to another on the same host: no answer for %s, %d datagrams lost", gap.Round(time.Millisecond), lost)
	l.reached(t, "two")

	p = l.probe(netip.AddrPortFrom(leased4(1)[0], 80))
	p.until(t, "two")
	require.NoError(t, hosts[0].Apply(t.Context(), announcement(3, 3, three...)))
	p.until(t, "three")
	gap, lost = p.gap()
	t.Logf("from a deployment to another on another host: no answer for %s, %d datagrams lost", gap.Round(time.Millisecond), lost)
	answering(t, hosts[0], "b")
	l.reached(t, "three")
	l.oneAnswers(t)
}

func TestAHostThatWasFrozenGivesItsAddressesUp(t *testing.T) {
	l := newLab(t, 2)
	hosts := l.all(t, nil)
	both := append(l.backends(t, l.hosts[0], 1, "on-a"), l.backends(t, l.hosts[1], 1, "on-b")...)
	require.NoError(t, hosts[1].Apply(t.Context(), announcement(1, 1, both...)))
	frozen, other, second := hosts[0], hosts[1], "b"
	if answering(t, hosts[0], "") == "b" {
		frozen, other, second = hosts[1], hosts[0], "a"
	}
	require.NoError(t, frozen.cmd.Process.Signal(syscall.SIGSTOP))
	answering(t, other, second)
	l.oneAnswers(t)
	require.NoError(t, frozen.cmd.Process.Signal(syscall.SIGCONT))
	answering(t, frozen, second)
	l.oneAnswers(t)
	l.reached(t, "on-"+second)
}

// reason waits until the claim is failing for a reason.
func reason(t *testing.T, r *remote, text string) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		s, err := r.Status(t.Context(), name())
		require.NoError(c, err)
		require.Equal(c, driver.Failing, s.State)
		require.Contains(c, s.Addresses[0].Reason+s.Ports[0].Reason, text)
	}, patience, 10*time.Millisecond)
}

func TestAnAddressThatSomebodyElseHasIsNotTaken(t *testing.T) {
	l := newLab(t, 1)
	host := l.all(t, nil)[0]
	for _, at := range []netip.Addr{leased4(1)[0], leased6(1)[0]} {
		prefix := netip.PrefixFrom(at, at.BitLen()).String()
		l.clients[1].address(t, "eth0", prefix)
		a := announcement(1, 1)
		a.Addresses = []netip.Addr{at}
		require.NoError(t, host.Apply(t.Context(), a))
		reason(t, host, "no host of ours")
		l.clients[1].run(t, "ip", "addr", "del", prefix, "dev", "eth0")
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			s, err := host.Status(t.Context(), name())
			require.NoError(c, err)
			require.Equal(c, driver.Announced, s.Addresses[0].State)
		}, patience, 10*time.Millisecond)
		require.NoError(t, host.Withdraw(t.Context(), name()))
	}
}

func TestAnAddressThatSomebodyElseTakesIsDefended(t *testing.T) {
	l := newLab(t, 1)
	host := l.all(t, nil)[0]
	replicas := l.backends(t, l.hosts[0], 1, "one")
	for i, at := range []netip.Addr{leased4(1)[0], leased6(1)[0]} {
		a := announcement(uint64(1+i), 1, replicas...)
		a.Addresses = []netip.Addr{at}
		require.NoError(t, host.Apply(t.Context(), a))
		answering(t, host, "a")
		own, err := l.who(0, at)
		require.NoError(t, err)
		heard := l.hear(t, 0, at)
		l.claims(t, 1, at)
		reason(t, host, "no host of ours")
		// The last word that a neighbour hears is the host's.
		require.EventuallyWithT(t, func(c *assert.CollectT) { require.Equal(c, own, heard()) }, patience, 10*time.Millisecond)
		require.NoError(t, host.Withdraw(t.Context(), name()))
	}
}

// Hosts that cannot talk to each other while the segment works do not both answer.
func TestHostsOutOfTouchDoNotTakeWhatIsAnswered(t *testing.T) {
	l := newLab(t, 2)
	hosts := l.all(t, nil)
	both := append(l.backends(t, l.hosts[0], 1, "on-a"), l.backends(t, l.hosts[1], 1, "on-b")...)
	require.NoError(t, hosts[0].Apply(t.Context(), announcement(1, 1, both...)))
	first := answering(t, hosts[0], "")
	other := hosts[1]
	if first == "b" {
		other = hosts[0]
	}
	l.hosts[0].run(t, "nft", "add table inet cut; add chain inet cut in { type filter hook input priority 0 ; }; add rule inet cut in tcp dport 7947 drop; add rule inet cut in tcp sport 7947 drop")
	reason(t, other, "out of touch")
	l.oneAnswers(t)
	l.reached(t, "on-"+first)
	l.hosts[0].run(t, "nft", "delete", "table", "inet", "cut")
	answering(t, other, first)
}

func TestASegmentThatWasBrokenHasOneAnswerAgain(t *testing.T) {
	l := newLab(t, 2)
	hosts := l.all(t, nil)
	both := append(l.backends(t, l.hosts[0], 1, "on-a"), l.backends(t, l.hosts[1], 1, "on-b")...)
	require.NoError(t, hosts[0].Apply(t.Context(), announcement(1, 1, both...)))
	first := answering(t, hosts[0], "")
	second, other := "b", hosts[1]
	if first == "b" {
		second, other = "a", hosts[0]
	}
	l.wire.run(t, "ip", "link", "set", "host"+first, "down")
	answering(t, other, second)
	l.reached(t, "on-"+second)
	l.wire.run(t, "ip", "link", "set", "host"+first, "up")
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		a, err := hosts[0].Status(t.Context(), name())
		require.NoError(c, err)
		b, err := hosts[1].Status(t.Context(), name())
		require.NoError(c, err)
		require.Equal(c, driver.Announced, a.State)
		require.Equal(c, a.Addresses, b.Addresses, "both know who answers")
	}, patience, 10*time.Millisecond)
	l.oneAnswers(t)
	l.reached(t, "on-"+answering(t, hosts[0], ""))
}

// With MinHosts a host alone is silent.
func TestAHostAloneIsSilentWhereMoreAreNeeded(t *testing.T) {
	l := newLab(t, 2)
	hosts := l.all(t, func(_ int, c *layer2.Config) { c.MinHosts = 2 })
	require.NoError(t, hosts[0].Apply(t.Context(), announcement(1, 1, l.backends(t, l.hosts[0], 1, "one")...)))
	answering(t, hosts[0], "a")
	hosts[1].kill()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		s, err := hosts[0].Status(t.Context(), name())
		require.NoError(c, err)
		require.Equal(c, driver.Pending, s.State)
	}, patience, 10*time.Millisecond)
	got, err := l.who(0, leased4(1)[0])
	require.NoError(t, err)
	assert.Empty(t, got)
}

// What a host was told while the other was away is told to it, also that
// something is gone.
func TestAHostThatWasAwayLearnsWhatHappened(t *testing.T) {
	l := newLab(t, 2)
	dir := t.TempDir()
	a, b := start(t, l.hosts[0], l.config(0, t.TempDir())), start(t, l.hosts[1], l.config(1, dir))
	require.NoError(t, b.Apply(t.Context(), announcement(1, 1)))
	other := announcement(1, 1)
	other.Claim.Name, other.Addresses = "api", leased4(2)[1:]
	require.NoError(t, b.Apply(t.Context(), other))
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		ids, err := a.List(t.Context())
		require.NoError(c, err)
		require.Len(c, ids, 2)
	}, patience, 10*time.Millisecond)
	b.kill()
	require.NoError(t, a.Withdraw(t.Context(), name()))
	other.Revision = 2
	require.NoError(t, a.Apply(t.Context(), other))
	b = start(t, l.hosts[1], l.config(1, dir))
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		ids, err := b.List(t.Context())
		require.NoError(c, err)
		require.Equal(c, []iplease.ClaimID{other.Claim}, ids)
		s, err := b.Status(t.Context(), other.Claim)
		require.NoError(c, err)
		require.EqualValues(c, 2, s.Revision)
	}, patience, 10*time.Millisecond)
}

// A host without a segment answers itself, goes on while its process is away, and
// is as before in the end.
func TestAHostAloneAnswersItself(t *testing.T) {
	l := newLab(t, 1)
	h := l.hosts[0]
	c := layer2.Config{StateDir: t.TempDir(), Instance: "test"}
	alone := start(t, h, c)
	require.NoError(t, alone.Apply(t.Context(), announcement(1, 1, l.backends(t, h, 1, "one")...)))
	answering(t, alone, "a")
	fromHost := func() {
		t.Helper()
		for _, at := range []netip.Addr{leased4(1)[0], leased6(1)[0]} {
			require.EventuallyWithT(t, func(c *assert.CollectT) {
				words, err := l.from(h.space, "tcp", netip.AddrPortFrom(at, 80))
				require.NoError(c, err)
				require.Equal(c, "one", words[0])
			}, patience, 10*time.Millisecond)
			_, err := l.from(h.space, "tcp", netip.AddrPortFrom(at, web))
			require.Error(t, err, "what the host itself listens to is not at the address")
		}
	}
	l.listen(t, h.space, "ssh", netip.AddrPortFrom(netip.IPv6Unspecified(), web))
	fromHost()
	// For IPv4 the kernel answers neighbours; for IPv6 it wants to be routed to.
	l.clients[0].run(t, "ip", "-6", "route", "add", leased6(1)[0].String(), "via", "2001:db8::11")
	l.reached(t, "one")
	alone.kill()
	fromHost()
	alone = start(t, h, c)
	answering(t, alone, "a")
	fromHost()
	require.NoError(t, alone.Withdraw(t.Context(), name()))
	_, err := l.from(h.space, "tcp", netip.AddrPortFrom(leased4(1)[0], 80))
	require.Error(t, err)
	alone.shut()
	l.clean(t)
}

// A replica reaches its own leased address, on its own network.
func TestAReplicaReachesItsOwnAddress(t *testing.T) {
	l := newLab(t, 1)
	host := l.all(t, nil)[0]
	a := announcement(1, 1, l.backends(t, l.hosts[0], 1, "one")...)
	a.Egress = true
	require.NoError(t, host.Apply(t.Context(), a))
	answering(t, host, "a")
	for _, at := range a.Addresses {
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			words, err := l.from(l.hosts[0].workload, "tcp", netip.AddrPortFrom(at, 80))
			require.NoError(c, err)
			require.Equal(c, "one", words[0])
		}, patience, 10*time.Millisecond)
	}
}

// Rules of others stay as they are, and so do their connections.
func TestOthersRulesAreLeftAlone(t *testing.T) {
	l := newLab(t, 1)
	h := l.hosts[0]
	h.run(t, "nft", "add table inet others; add chain inet others c; add rule inet others c counter accept")
	before := h.run(t, "nft", "list", "table", "inet", "others")
	host := l.all(t, nil)[0]
	require.NoError(t, host.Apply(t.Context(), announcement(1, 1, l.backends(t, h, 1, "one")...)))
	answering(t, host, "a")
	assert.Equal(t, before, h.run(t, "nft", "list", "table", "inet", "others"))
	host.shut()
	assert.Equal(t, before, h.run(t, "nft", "list", "ruleset"))
}

// Somebody may flush all rules of a host; the next change brings ours back.
func TestRulesThatWereFlushedComeBack(t *testing.T) {
	l := newLab(t, 1)
	host := l.all(t, nil)[0]
	replicas := l.backends(t, l.hosts[0], 1, "one")
	require.NoError(t, host.Apply(t.Context(), announcement(1, 1, replicas...)))
	answering(t, host, "a")
	l.hosts[0].run(t, "nft", "flush", "ruleset")
	a := announcement(2, 1, replicas...)
	a.Ports = append(a.Ports, iplease.Port{Protocol: iplease.TCP, External: 81, Lease: lease(1), Service: "web", Port: web})
	require.NoError(t, host.Apply(t.Context(), a))
	l.reached(t, "one")
}

func TestCurlFetchesAPage(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("there is no curl")
	}
	l := newLab(t, 1)
	host := l.all(t, nil)[0]
	a := announcement(1, 1, l.backends(t, l.hosts[0], 1, "one")...)
	for i, at := range l.pages(t, l.hosts[0]) {
		a.Backends[i].Address = at
	}
	require.NoError(t, host.Apply(t.Context(), a))
	answering(t, host, "a")
	for i, at := range a.Addresses {
		client := []string{clientAddr4(0).String(), clientAddr6(0).String()}[i]
		url := "http://" + netip.AddrPortFrom(at, 80).String() + "/"
		assert.Equal(t, "a page for "+client, strings.TrimSpace(l.clients[0].run(t, "curl", "-sS", "--max-time", "10", url)))
	}
}
