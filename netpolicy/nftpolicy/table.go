package nftpolicy

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/moorage-dev/moorage/netpolicy"
)

// Table describes an nftables table of family inet and what it guards. It holds
// values only. Names are of letters, digits, '_' and '.', and are checked: they become
// part of a text.
type Table struct {
	// Name of the table.
	Name string
	// Bridges begins the names of the bridges of all networks of the table. What
	// comes from or goes to a bridge of no network is dropped.
	Bridges string
	// Foreign begins the names of bridges that belong to networks of this and other
	// tables on the machine; containers reach those of no other network.
	Foreign string
	// Routers are where the HTTP router connects from, if it is not the host.
	Routers []netip.Addr
	// Masquerade gives what leaves for the world the host's address.
	Masquerade bool
	// Networks have different IDs and bridges.
	Networks []Network
}

// Network is the private network of a lease.
type Network struct {
	// ID is unique in the table, 0 or more.
	ID int
	// Bridge is the interface that its containers are behind.
	Bridge string
	// Prefixes are its ranges: at most one of IPv4 and one of IPv6. Packets of a
	// family without a range are dropped.
	Prefixes []netip.Prefix
	// Policy is who may reach whom. Required.
	Policy *netpolicy.Policy
	// Open lets its containers reach one another whatever the policy says.
	Open bool
	// Members are the containers.
	Members []Member
}

// Member is an address of a container.
type Member struct {
	Address netip.Addr
	// Service is as the policy names it; a container of no service takes no
	// connections.
	Service string
}

// Priority is of the table's hooks: just before that of iptables' filter table.
const Priority = -5

// ndp are the messages without which IPv6 neighbours do not find one another, RFC 4861.
const ndp = "{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit }"

// writer collects lines.
type writer struct{ strings.Builder }

func (w *writer) line(format string, args ...any) { fmt.Fprintf(&w.Builder, format+"\n", args...) }

// Ruleset is the text that puts the whole table into the kernel and replaces what
// was there under its name.
func (t Table) Ruleset() (string, error) {
	if err := t.check(); err != nil {
		return "", err
	}
	var w writer
	w.line("table inet %s\ndelete table inet %s\ntable inet %s {", t.Name, t.Name, t.Name)
	for _, name := range dispatch() {
		w.line("\tmap %s {\n\t\ttype ifname : verdict\n\t}", name)
	}
	t.hooks(&w)
	w.line("}")
	networks := slices.SortedFunc(slices.Values(t.Networks), func(a, b Network) int { return a.ID - b.ID })
	written := map[string]bool{}
	w.line("table inet %s {", t.Name)
	for i := range networks {
		chain := exitName(&networks[i].Policy.Egress)
		if !written[chain] {
			t.exit(&w, chain, &networks[i].Policy.Egress)
			written[chain] = true
		}
		t.network(&w, &networks[i])
	}
	w.line("}")
	if len(networks) > 0 {
		t.connect(&w, networks...)
	}
	return w.String(), nil
}

// Replace is the text that changes one network of a table that is in the kernel:
// old is how it is there, nil if it is not; now is how it shall be, nil if not at
// all. It fails, and changes nothing, when the table is not as told.
func (t Table) Replace(old, now *Network) (string, error) {
	for _, n := range []*Network{old, now} {
		if n == nil {
			continue
		}
		t.Networks = []Network{*n}
		if err := t.check(); err != nil {
			return "", err
		}
	}
	var w writer
	if old != nil {
		t.remove(&w, old)
	}
	if now != nil {
		exit := exitName(&now.Policy.Egress)
		w.line("add chain inet %s %s\nflush chain inet %s %s", t.Name, exit, t.Name, exit)
		w.line("table inet %s {", t.Name)
		t.exit(&w, exit, &now.Policy.Egress)
		t.network(&w, now)
		w.line("}")
		t.connect(&w, *now)
	}
	return w.String(), nil
}

// Delete is the text that takes the table out of the kernel, also if it is not
// there.
func (t Table) Delete() string {
	return fmt.Sprintf("table inet %s\ndelete table inet %s\n", t.Name, t.Name)
}

// dispatch are the maps that lead from a bridge to its network's chain.
func dispatch() []string { return []string{"leaving_of", "entering_of", "host_of"} }

// hooks are the chains that the kernel calls, and how they find a network's own.
func (t Table) hooks(w *writer) {
	ours := strconv.Quote(t.Bridges + "*")
	w.line("\tchain forward {\n\t\ttype filter hook forward priority %d; policy accept;", Priority)
	w.line("\t\tiifname %s jump leaving\n\t\toifname %s jump entering\n\t}", ours, ours)
	// A chain that is gone to returns to who called this one: then the packet may leave.
	w.line("\tchain leaving {\n\t\tct state established ct direction reply return\n\t\tct state related return")
	w.line("\t\tiifname vmap @leaving_of\n\t\tdrop\n\t}")
	w.line("\tchain entering {\n\t\tct state established ct direction reply accept\n\t\tct state related accept")
	w.line("\t\toifname vmap @entering_of\n\t\tdrop\n\t}")
	w.line("\tchain input {\n\t\ttype filter hook input priority %d; policy accept;\n\t\tiifname %s jump host\n\t}", Priority, ours)
	w.line("\tchain host {\n\t\tct state established ct direction reply accept\n\t\tct state related accept")
	w.line("\t\ticmpv6 type %s accept\n\t\tiifname vmap @host_of\n\t\tdrop\n\t}", ndp)
	// Containers of one network are neighbours, and the host would tell them so.
	w.line("\tchain output {\n\t\ttype filter hook output priority %d; policy accept;", Priority)
	w.line("\t\toifname %s icmp type redirect drop\n\t\toifname %s icmpv6 type nd-redirect drop\n\t}", ours, ours)
	if !t.Masquerade {
		return
	}
	w.line("\tchain outbound {\n\t\ttype nat hook postrouting priority 100; policy accept;")
	for _, family := range families() {
		w.line("\t\toifname != \"%s*\" %s saddr @%s masquerade", t.Foreign, family.word, family.masked())
	}
	w.line("\t}")
	for _, family := range families() {
		w.line("\tset %s {\n\t\ttype %s\n\t\tflags interval\n\t}", family.masked(), family.kind)
	}
}

// network writes a network's chains and sets into an open table.
func (t Table) network(w *writer, n *Network) {
	members := n.byService()
	for i := range n.Policy.Services {
		for _, family := range families() {
			w.line("\tset %s {\n\t\ttype %s\n%s\t}", n.set(i, family), family.kind, elements(family.pick(members[n.Policy.Services[i].Name])))
		}
	}
	t.leaving(w, n)
	t.entering(w, n, members)
	w.line("\tchain %s {", n.chain("host"))
	n.guard(w)
	resolvers(w, &n.Policy.Egress, "accept")
	t.controls(w, n, "accept")
	w.line("\t\tdrop\n\t}")
}

// connect makes bridges lead to their networks' chains.
func (t Table) connect(w *writer, networks ...Network) {
	for _, name := range dispatch() {
		var list []string
		for i := range networks {
			list = append(list, fmt.Sprintf("%q : goto %s", networks[i].Bridge, networks[i].chain(strings.TrimSuffix(name, "_of"))))
		}
		w.line("add element inet %s %s { %s }", t.Name, name, strings.Join(list, ", "))
	}
	t.mask(w, "add", networks)
}

// mask changes which ranges leave under the host's address.
func (t Table) mask(w *writer, verb string, networks []Network) {
	for _, family := range families() {
		var list []netip.Prefix
		for i := range networks {
			if p := networks[i].prefix(family); p.IsValid() {
				list = append(list, p)
			}
		}
		if t.Masquerade && len(list) > 0 {
			w.line("%s element inet %s %s { %s }", verb, t.Name, family.masked(), strings.Join(family.pickRanges(list), ", "))
		}
	}
}

// remove takes a network's chains and sets out.
func (t Table) remove(w *writer, n *Network) {
	for _, name := range dispatch() {
		w.line("delete element inet %s %s { %q }", t.Name, name, n.Bridge)
	}
	t.mask(w, "delete", []Network{*n})
	chains := []string{n.chain("leaving"), n.chain("entering"), n.chain("host")}
	for i := range n.Policy.Services {
		chains = append(chains, n.chain(strconv.Itoa(i)))
	}
	for _, c := range chains {
		w.line("flush chain inet %s %s", t.Name, c)
	}
	for _, family := range families() {
		w.line("delete map inet %s %s", t.Name, n.members(family))
		for i := range n.Policy.Services {
			w.line("delete set inet %s %s", t.Name, n.set(i, family))
		}
	}
	for _, c := range chains {
		w.line("delete chain inet %s %s", t.Name, c)
	}
}

// exitName names the chain of an egress by its content, so that equal ones share it.
func exitName(e *netpolicy.Egress) string {
	const usual = 2048
	text := make([]byte, 0, usual)
	for _, a := range e.Resolvers {
		text = append(a.AppendTo(text), ' ')
	}
	for _, p := range e.ResolverPorts {
		text = append(strconv.AppendUint(text, uint64(p), 10), ' ')
	}
	for _, list := range [][]netip.Prefix{e.Own, e.Open, e.Denied} {
		text = append(text, '/')
		for _, p := range list {
			text = append(p.AppendTo(text), ' ')
		}
	}
	h := fnv.New64a()
	_, _ = h.Write(text)
	return fmt.Sprintf("exit_%016x", h.Sum64())
}

func (n *Network) chain(part string) string { return fmt.Sprintf("n%d_%s", n.ID, part) }

func (n *Network) set(service int, f family) string {
	return fmt.Sprintf("n%d_%d_v%s", n.ID, service, f.digit)
}

func (n *Network) members(f family) string { return fmt.Sprintf("n%d_v%s", n.ID, f.digit) }

func (n *Network) prefix(f family) netip.Prefix {
	for _, p := range n.Prefixes {
		if p.Addr().Is4() == f.four {
			return p.Masked()
		}
	}
	return netip.Prefix{}
}

// byService sorts the members' addresses by service.
func (n *Network) byService() map[string][]netip.Addr {
	out := make(map[string][]netip.Addr)
	for _, m := range n.Members {
		out[m.Service] = append(out[m.Service], m.Address)
	}
	for name, list := range out {
		slices.SortFunc(list, netip.Addr.Compare)
		out[name] = slices.Compact(list)
	}
	return out
}

// check says why a table cannot be rendered.
func (t Table) check() error {
	for _, name := range []string{t.Name, t.Bridges, t.Foreign} {
		if !plainName(name) {
			return fmt.Errorf("nftpolicy: name %.40q: only letters, digits, '_' and '.'", name)
		}
	}
	ids, bridges := map[int]bool{}, map[string]bool{}
	for i := range t.Networks {
		n := &t.Networks[i]
		switch {
		case n.ID < 0 || ids[n.ID] || !plainName(n.Bridge) || bridges[n.Bridge]:
			return fmt.Errorf("nftpolicy: network %d at %.40q: number or bridge malformed or twice", n.ID, n.Bridge)
		case !strings.HasPrefix(n.Bridge, t.Bridges) || !strings.HasPrefix(n.Bridge, t.Foreign):
			return fmt.Errorf("nftpolicy: bridge %s: does not begin with %s", n.Bridge, t.Bridges)
		case n.Policy == nil:
			return fmt.Errorf("nftpolicy: network %d: no policy", n.ID)
		}
		ids[n.ID], bridges[n.Bridge] = true, true
		if err := n.check(); err != nil {
			return err
		}
	}
	return nil
}

// check says why a network cannot be rendered: without it an address could stand
// in the wrong place.
func (n *Network) check() error {
	for i, p := range n.Prefixes {
		if !p.IsValid() || i > 0 && p.Addr().Is4() == n.Prefixes[0].Addr().Is4() {
			return fmt.Errorf("nftpolicy: network %d: range %s", n.ID, p)
		}
	}
	seen := make(map[netip.Addr]bool, len(n.Members))
	for _, m := range n.Members {
		if seen[m.Address] {
			return fmt.Errorf("nftpolicy: network %d: %s is given to two", n.ID, m.Address)
		}
		seen[m.Address] = true
		inside := func(p netip.Prefix) bool { return p.Contains(m.Address) }
		if !slices.ContainsFunc(n.Prefixes, inside) {
			return fmt.Errorf("nftpolicy: network %d: %s is not in its ranges", n.ID, m.Address)
		}
	}
	return nil
}

func plainName(s string) bool {
	odd := func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '.'
	}
	return s != "" && !strings.ContainsFunc(s, odd)
}
