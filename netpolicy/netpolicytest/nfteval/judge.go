package nfteval

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Packet is what rules look at.
type Packet struct {
	// Hook is where the packet is: "forward", "input" or "output".
	Hook string
	// In and Out are the interfaces it came by and leaves by, "" for none.
	In, Out string
	From    netip.Addr
	To      netip.Addr
	// Protocol is "tcp", "udp", "sctp", "icmp" or "icmpv6"; Port is where it goes.
	Protocol string
	Port     uint16
	// State is of its connection: "new" if "", or "established", "related".
	State string
	// Reply says that it goes the other way than the packet that opened the
	// connection.
	Reply bool
	// Type is of ICMP, by nft's name.
	Type string
}

// Verdicts.
const (
	accept = "accept"
	drop   = "drop"
	back   = "return"
)

type verdict struct{ what, to string }

// key is an element of a set: a range of addresses, of numbers, or a word.
type key struct {
	prefix    netip.Prefix
	low, high uint16
	word      string
}

// rule is matches, all of which must hold, and what then becomes of the packet.
type rule struct {
	matches []match
	verdict verdict
	// field and vmap are of a rule that looks its verdict up.
	field, vmap string
}

type match struct {
	field string
	not   bool
	keys  []key
	set   string
}

// sets are the names of sets and maps that the rule refers to.
func (r rule) sets() []string {
	var out []string
	for _, m := range r.matches {
		if m.set != "" {
			out = append(out, m.set)
		}
	}
	if r.vmap != "" {
		out = append(out, r.vmap)
	}
	return out
}

func known(field string) bool {
	return slices.Contains([]string{
		"iifname", "oifname", "ip saddr", "ip daddr", "ip6 saddr", "ip6 daddr", "tcp dport", "udp dport", "sctp dport", "th dport",
		"ct state", "ct direction", "meta l4proto", "meta nfproto", "icmp type", "icmpv6 type",
	}, field)
}

func parseKey(word string) (key, error) {
	if word == "" || strings.ContainsAny(word, "{}@,;") {
		return key{}, fmt.Errorf("operand %q", word)
	}
	if p, err := netip.ParsePrefix(word); err == nil {
		return key{prefix: p.Masked()}, nil
	}
	if a, err := netip.ParseAddr(word); err == nil {
		return key{prefix: netip.PrefixFrom(a, a.BitLen())}, nil
	}
	low, high, ranged := strings.Cut(word, "-")
	if !ranged {
		high = low
	}
	from, err1 := strconv.ParseUint(low, 10, 16)
	to, err2 := strconv.ParseUint(high, 10, 16)
	if err1 == nil && err2 == nil && from <= to {
		return key{low: uint16(from), high: uint16(to), word: word}, nil
	}
	return key{word: strings.Trim(word, `"`)}, nil
}

// Judge says whether the packet passes all tables.
func (k *Kernel) Judge(p Packet) (bool, error) {
	if !p.From.IsValid() || !p.To.IsValid() || p.From.Is4() != p.To.Is4() {
		return false, errors.New("nfteval: a packet has two addresses of one family")
	}
	for _, name := range k.Tables() {
		t := k.tables[name]
		for _, chain := range k.Chains(name) {
			c := t.chains[chain]
			if c.hook != p.Hook || c.nat {
				continue
			}
			v, err := t.walk(c, p, 0)
			if err != nil {
				return false, fmt.Errorf("nfteval: table %s chain %s: %w", name, chain, err)
			}
			if v == drop || v == back && c.policy == drop {
				return false, nil
			}
		}
	}
	return true, nil
}

// walk goes through a chain. The verdict is [back] when the chain decides nothing.
func (t *table) walk(c *chain, p Packet, depth int) (string, error) {
	const most = 16 // the kernel's own bound of jumps
	if depth > most {
		return "", errors.New("too many jumps")
	}
	for _, r := range c.rules {
		v, ok := t.apply(r, p)
		if !ok {
			continue
		}
		switch v.what {
		case accept, drop, back:
			return v.what, nil
		case "jump", "goto":
			got, err := t.walk(t.chains[v.to], p, depth+1)
			if err != nil || got != back || v.what == "goto" {
				return got, err
			}
		}
	}
	return back, nil
}

// apply returns a rule's verdict if it matches.
func (t *table) apply(r rule, p Packet) (verdict, bool) {
	for _, m := range r.matches {
		keys := m.keys
		if m.set != "" {
			keys = nil
			for _, e := range t.sets[m.set].elements {
				keys = append(keys, e.key)
			}
		}
		v, applies := p.value(m.field)
		if !applies || slices.ContainsFunc(keys, v.in) == m.not {
			return verdict{}, false
		}
	}
	if r.vmap == "" {
		return r.verdict, r.verdict.what != ""
	}
	v, applies := p.value(r.field)
	for _, e := range t.sets[r.vmap].elements {
		if applies && v.in(e.key) {
			return e.verdict, true
		}
	}
	return verdict{}, false
}

// value is a field of a packet.
type value struct {
	addr   netip.Addr
	number uint16
	word   string
	wild   bool
}

// in reports whether the key holds the value.
func (v value) in(k key) bool {
	switch {
	case v.addr.IsValid():
		return k.prefix.Contains(v.addr)
	case v.wild && strings.HasSuffix(k.word, "*"):
		return strings.HasPrefix(v.word, strings.TrimSuffix(k.word, "*"))
	case v.word != "" || v.wild:
		return slices.Contains(strings.Split(k.word, ","), v.word)
	}
	return k.low <= v.number && v.number <= k.high && k.word != ""
}

// value returns a field, and false when packets of this kind do not have it.
func (p Packet) value(field string) (value, bool) {
	four := p.From.Is4()
	switch field {
	case "iifname":
		return value{word: p.In, wild: true}, true
	case "oifname":
		return value{word: p.Out, wild: true}, true
	case "ip saddr", "ip6 saddr":
		return value{addr: p.From}, four == (field == "ip saddr")
	case "ip daddr", "ip6 daddr":
		return value{addr: p.To}, four == (field == "ip daddr")
	case "tcp dport", "udp dport", "sctp dport":
		return value{number: p.Port}, field == p.Protocol+" dport"
	case "th dport":
		return value{number: p.Port}, p.Protocol == "tcp" || p.Protocol == "udp" || p.Protocol == "sctp"
	case "ct state":
		if p.State == "" {
			return value{word: "new"}, true
		}
		return value{word: p.State}, true
	case "ct direction":
		if p.Reply {
			return value{word: "reply"}, true
		}
		return value{word: "original"}, true
	case "meta l4proto":
		return value{word: p.Protocol}, true
	case "meta nfproto":
		if four {
			return value{word: "ipv4"}, true
		}
		return value{word: "ipv6"}, true
	case "icmp type", "icmpv6 type":
		return value{word: p.Type}, field == p.Protocol+" type"
	}
	return value{}, false
}
