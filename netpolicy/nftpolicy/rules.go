package nftpolicy

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/moorage-dev/moorage/netpolicy"
)

// leaving judges what comes from the network's containers; to return is to pass.
func (t Table) leaving(w *writer, n *Network) {
	w.line("\tchain %s {", n.chain("leaving"))
	n.guard(w)
	w.line("\t\toifname %q return", n.Bridge)
	t.controls(w, n, "return")
	w.line("\t\tgoto %s\n\t}", exitName(&n.Policy.Egress))
}

// guard drops addresses that are no container's of the network.
func (n *Network) guard(w *writer) {
	for _, family := range families() {
		if p := n.prefix(family); p.IsValid() {
			w.line("\t\t%s saddr != %s drop", family.word, p)
		} else {
			w.line("\t\tmeta nfproto %s drop", family.proto)
		}
	}
}

// exit is shared by all networks whose containers may reach the same.
func (t Table) exit(w *writer, name string, e *netpolicy.Egress) {
	w.line("\tchain %s {", name)
	resolvers(w, e, "return")
	w.line("\t\toifname \"%s*\" drop", t.Foreign)
	for _, step := range []struct {
		ranges  []netip.Prefix
		verdict string
	}{{e.Own, "drop"}, {e.Open, "return"}, {e.Denied, "drop"}} {
		for _, family := range families() {
			if list := family.pickRanges(step.ranges); len(list) > 0 {
				w.line("\t\t%s daddr { %s } %s", family.word, strings.Join(list, ", "), step.verdict)
			}
		}
	}
	w.line("\t\tip6 daddr ::ffff:0:0/96 drop\n\t\treturn\n\t}") // IPv4 in disguise
}

func resolvers(w *writer, e *netpolicy.Egress, verdict string) {
	ports := make([]string, len(e.ResolverPorts))
	for i, p := range e.ResolverPorts {
		ports[i] = strconv.Itoa(int(p))
	}
	for _, family := range families() {
		if list := family.pick(e.Resolvers); len(list) > 0 {
			w.line("\t\t%s daddr { %s } meta l4proto { tcp, udp } th dport { %s } %s",
				family.word, strings.Join(list, ", "), strings.Join(ports, ", "), verdict)
		}
	}
}

// controls lets services that may reach the API servers.
func (t Table) controls(w *writer, n *Network, verdict string) {
	for i := range n.Policy.Services {
		if !n.Policy.Services[i].ControlPlane {
			continue
		}
		for _, a := range n.Policy.Egress.ControlPlane {
			family := familyOf(a.Addr())
			w.line("\t\t%s saddr @%s %s daddr %s tcp dport %d %s", family.word, n.set(i, family), family.word, a.Addr(), a.Port(), verdict)
		}
	}
}

// entering judges what goes to the network's containers; nothing returns.
func (t Table) entering(w *writer, n *Network, members map[string][]netip.Addr) {
	for i := range n.Policy.Services {
		t.service(w, n, i)
	}
	for _, family := range families() {
		var to []string
		for i := range n.Policy.Services {
			for _, a := range family.pick(members[n.Policy.Services[i].Name]) {
				to = append(to, fmt.Sprintf("%s : goto %s", a, n.chain(strconv.Itoa(i))))
			}
		}
		w.line("\tmap %s {\n\t\ttype %s : verdict\n%s\t}", n.members(family), family.kind, elements(to))
	}
	w.line("\tchain %s {", n.chain("entering"))
	for _, p := range n.Prefixes { // nobody outside has an address of ours
		w.line("\t\tiifname != %q %s saddr %s drop", n.Bridge, familyOf(p.Addr()).word, p.Masked())
	}
	if n.Open {
		w.line("\t\tiifname %q accept", n.Bridge)
	}
	for _, family := range families() {
		w.line("\t\t%s daddr vmap @%s", family.word, n.members(family))
	}
	w.line("\t\tdrop\n\t}")
}

// service is the chain for what goes to containers of a service.
func (t Table) service(w *writer, n *Network, index int) {
	s := &n.Policy.Services[index]
	w.line("\tchain %s {", n.chain(strconv.Itoa(index)))
	for _, family := range families() {
		w.line("\t\t%s saddr @%s accept", family.word, n.set(index, family))
	}
	for i := range s.Openings {
		t.opening(w, n, &s.Openings[i])
	}
	w.line("\t\tdrop\n\t}")
}

func (t Table) opening(w *writer, n *Network, o *netpolicy.Opening) {
	port := strings.ToLower(string(o.Port.Protocol)) + " dport " + strconv.Itoa(int(o.Port.Number))
	if o.World && len(o.Sources) == 0 {
		w.line("\t\t%s accept", port)
		return
	}
	if o.Lease {
		w.line("\t\tiifname %q %s accept", n.Bridge, port)
	}
	for i := range n.Policy.Services {
		if !slices.Contains(o.Services, n.Policy.Services[i].Name) {
			continue
		}
		for _, family := range families() {
			w.line("\t\t%s saddr @%s %s accept", family.word, n.set(i, family), port)
		}
	}
	for _, family := range families() {
		var from []string
		if o.Router {
			from = family.pick(t.Routers)
		}
		if len(from) > 0 {
			w.line("\t\t%s saddr { %s } %s accept", family.word, strings.Join(from, ", "), port)
		}
		if list := family.pickRanges(o.Sources); len(list) > 0 {
			w.line("\t\t%s saddr { %s } %s accept", family.word, strings.Join(list, ", "), port)
		}
	}
}
