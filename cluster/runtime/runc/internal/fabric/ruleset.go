// Package fabric builds the private networks of the embedded runc: a bridge for
// each, addresses out of a pool, and one nftables table that keeps networks apart
// from one another, from the host and from the host's neighbours.
//
// What the table says, for traffic that comes from a container: replies pass; the
// same network passes; name servers pass; other containers, private and
// link-local ranges (the host's LAN, metadata services) and the host itself do
// not; the rest of the world passes under the host's address. Nobody outside
// opens a connection to a container; the host does, being no outsider.
package fabric

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Segment is one private network.
type Segment struct {
	Name   string
	Index  int
	Prefix netip.Prefix
	// Hosts are names set for all containers of it.
	Hosts map[string][]netip.Addr `json:",omitempty"`
}

// Gateway is the bridge's address.
func (s Segment) Gateway() netip.Addr { return s.Prefix.Addr().Next() }

// Policy is what else the table needs to know.
type Policy struct {
	// Instance tells tables and bridges of several agents on one machine apart.
	Instance string
	// Nameservers are reached on port 53 wherever they are.
	Nameservers []netip.Addr
	// PrivateEgress are private ranges that containers may reach all the same.
	PrivateEgress []netip.Prefix
}

// anyBridge begins the names of bridges of all instances on the machine; no usual
// interface is called so.
const anyBridge = "mrg"

// Table is the name of the instance's table.
func (p Policy) Table() string { return "moorage_" + p.Instance }

// bridgePrefix begins the name of every bridge of the instance.
func (p Policy) bridgePrefix() string { return anyBridge + p.Instance + "." }

// Bridge is the name of a segment's bridge; the kernel takes 15 bytes.
func (p Policy) Bridge(s Segment) string { return fmt.Sprintf("%s%d", p.bridgePrefix(), s.Index) }

// denied are ranges that are somebody's own: RFC 1918, 6598, 3927, 2544, 5736,
// loopback, multicast and reserved.
func denied() []string {
	return []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
		"192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/3",
	}
}

// Ruleset is the text that nft applies in one transaction, replacing what the
// table was before.
func (p Policy) Ruleset(segments []Segment) string {
	segments = slices.SortedFunc(slices.Values(segments), func(a, b Segment) int { return a.Index - b.Index })
	ours := fmt.Sprintf("%q", p.bridgePrefix()+"*")
	var b strings.Builder
	w := func(format string, args ...any) { _, _ = fmt.Fprintf(&b, format+"\n", args...) }
	w("table inet %s\ndelete table inet %s\ntable inet %s {", p.Table(), p.Table(), p.Table())
	w("\tchain forward {\n\t\ttype filter hook forward priority -5; policy accept;")
	w("\t\tiifname %s jump leaving\n\t\toifname %s jump entering\n\t}", ours, ours)
	w("\tchain leaving {")
	for _, s := range segments {
		w("\t\tiifname %q oifname %q accept", p.Bridge(s), p.Bridge(s))
		w("\t\tiifname %q ip saddr != %s drop", p.Bridge(s), s.Prefix)
	}
	w("\t\toifname \"%s*\" drop\n\t\tct state established,related accept\n\t\tmeta nfproto ipv6 drop", anyBridge)
	p.names(w)
	for _, r := range p.PrivateEgress {
		w("\t\tip daddr %s accept", r.Masked())
	}
	w("\t\tip daddr { %s } drop\n\t\taccept\n\t}", strings.Join(denied(), ", "))
	w("\tchain entering {\n\t\tct state established,related accept\n\t\tdrop\n\t}")
	w("\tchain input {\n\t\ttype filter hook input priority -5; policy accept;\n\t\tiifname %s jump host\n\t}", ours)
	w("\tchain host {\n\t\tct state established,related accept")
	p.names(w)
	w("\t\tdrop\n\t}")
	w("\tchain egress {\n\t\ttype nat hook postrouting priority 100; policy accept;")
	for _, s := range segments {
		w("\t\tip saddr %s oifname != \"%s*\" masquerade", s.Prefix, anyBridge)
	}
	w("\t}\n}")
	return b.String()
}

func (p Policy) names(w func(string, ...any)) {
	for _, a := range p.Nameservers {
		if a.Is4() {
			w("\t\tip daddr %s meta l4proto { tcp, udp } th dport 53 accept", a)
		}
	}
}

// MaxSegments bounds networks of one instance.
const MaxSegments = 9999

// FreeAddr picks the lowest address of the segment that is not taken.
func (s Segment) FreeAddr(taken map[netip.Addr]bool) (netip.Addr, error) {
	for a := s.Gateway().Next(); s.Prefix.Contains(a.Next()); a = a.Next() {
		if !taken[a] {
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("no free address left in %s", s.Prefix)
}
