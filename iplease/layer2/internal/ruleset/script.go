package ruleset

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// Name is the name of the table, of family inet.
func (t *Table) Name() string { return t.name }

// Whole is the script that makes the table anew in one transaction, whatever was
// there.
func (t *Table) Whole() string {
	var b strings.Builder
	_, _ = fmt.Fprintf(&b, "table inet %[1]s\ndelete table inet %[1]s\ntable inet %[1]s {\n%[2]s}\n", t.name, t.frame())
	t.write(&b, map[netip.Addr]facts{}, slices.SortedFunc(maps.Keys(t.want), netip.Addr.Compare))
	return b.String()
}

// Script is what changed since [Table.Done]; "" when nothing did.
func (t *Table) Script() string {
	var b strings.Builder
	t.write(&b, t.have, t.Dirty())
	return b.String()
}

// frame is what does not depend on addresses.
func (t *Table) frame() string {
	var b strings.Builder
	w := func(format string, args ...any) { _, _ = fmt.Fprintf(&b, format+"\n", args...) }
	for _, f := range []struct{ n, kind, word string }{{"4", "ipv4_addr", "ip"}, {"6", "ipv6_addr", "ip6"}} {
		w("\tset held%s { type %s; }", f.n, f.kind)
		w("\tmap ports%s { type %s . inet_proto . inet_service : verdict; }", f.n, f.kind)
		w("\tmap egress%s { type %s : %s; }", f.n, f.kind, f.kind)
		w("\tset near%s { type %s . %s; flags interval; }", f.n, f.kind, f.kind)
	}
	for _, hook := range []string{"prerouting", "output"} {
		w("\tchain lead_%[1]s {\n\t\ttype nat hook %[1]s priority -101; policy accept;", hook)
		w("\t\tip daddr . meta l4proto . th dport vmap @ports4\n\t\tip6 daddr . meta l4proto . th dport vmap @ports6\n\t}")
		w("\tchain rest_%[1]s {\n\t\ttype filter hook %[1]s priority -90; policy accept;", hook)
		w("\t\tct direction reply accept") // this host may be the client, from the address itself
		w("\t\tip daddr @held4 goto refused\n\t\tip6 daddr @held6 goto refused\n\t}")
	}
	discovery := "drop"
	if t.local {
		discovery = "accept"
	}
	w("\tchain refused {\n\t\ticmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } %s", discovery)
	w("\t\tmeta l4proto tcp reject with tcp reset\n\t\tmeta l4proto udp reject with icmpx type port-unreachable\n\t\tdrop\n\t}")
	w("\tchain leave {\n\t\ttype nat hook postrouting priority 99; policy accept;")
	w("\t\tct original ip daddr . ip saddr @near4 masquerade\n\t\tct original ip6 daddr . ip6 saddr @near6 masquerade")
	if len(t.out) > 0 {
		out := `{ "` + strings.Join(t.out, `", "`) + `" }`
		w("\t\toifname %s snat ip to ip saddr map @egress4\n\t\toifname %s snat ip6 to ip6 saddr map @egress6", out, out)
	}
	w("\t}")
	return b.String()
}

// change is the difference of some addresses: what goes and what comes.
type change struct {
	gone, come map[string][]string // elements by set
	chains     []string            // statements that make or refill chains
	drop       []string            // names of chains that go
}

// write appends the statements that turn what was into what is wanted: elements
// go, chains go, chains come, elements come. nft does all or nothing.
func (t *Table) write(b *strings.Builder, was map[netip.Addr]facts, addrs []netip.Addr) {
	c := change{gone: map[string][]string{}, come: map[string][]string{}}
	for _, a := range addrs {
		c.compare(t.name, was[a], t.want[a])
	}
	elements(b, "delete", t.name, c.gone)
	for _, name := range c.drop {
		_, _ = fmt.Fprintf(b, "delete chain inet %s %s\n", t.name, name)
	}
	for _, s := range c.chains {
		b.WriteString(s)
	}
	elements(b, "add", t.name, c.come)
}

func (c *change) compare(table string, was, is facts) {
	for _, set := range slices.Sorted(maps.Keys(was.elements)) {
		for _, key := range slices.Sorted(maps.Keys(was.elements[set])) {
			if v, ok := is.elements[set][key]; !ok || v != was.elements[set][key] {
				c.gone[set] = append(c.gone[set], key)
			}
		}
	}
	for _, set := range slices.Sorted(maps.Keys(is.elements)) {
		for _, key := range slices.Sorted(maps.Keys(is.elements[set])) {
			v := is.elements[set][key]
			if old, ok := was.elements[set][key]; ok && old == v {
				continue
			}
			if v != "" {
				key += " : " + v
			}
			c.come[set] = append(c.come[set], key)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(was.chains)) {
		if _, ok := is.chains[name]; !ok {
			c.drop = append(c.drop, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(is.chains)) {
		old, there := was.chains[name]
		if old == is.chains[name] {
			continue
		}
		c.chains = append(c.chains, fill(table, name, is.chains[name], there))
	}
}

// fill makes a chain, or empties one that is there, and puts rules in.
func fill(table, name, rules string, there bool) string {
	var b strings.Builder
	verb := "add"
	if there {
		verb = "flush"
	}
	_, _ = fmt.Fprintf(&b, "%s chain inet %s %s\n", verb, table, name)
	for rule := range strings.Lines(rules) {
		_, _ = fmt.Fprintf(&b, "add rule inet %s %s %s", table, name, rule)
	}
	return b.String()
}

func elements(b *strings.Builder, verb, table string, sets map[string][]string) {
	for _, set := range slices.Sorted(maps.Keys(sets)) {
		_, _ = fmt.Fprintf(b, "%s element inet %s %s { %s }\n", verb, table, set, strings.Join(sets[set], ", "))
	}
}
