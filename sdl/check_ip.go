package sdl

import (
	"strconv"

	"github.com/moorage-dev/moorage/sdl/manifest"
)

// endpoint checks a declared address.
func (c *checker) endpoint(e *Endpoint) {
	if !validEndpointName(e.Name) {
		c.add(problem{
			rule: ruleEndpointName, pos: e.Pos, path: joinPath("endpoints", e.Name), msg: "not a name for an endpoint: " + quote(e.Name),
			allowed: "a lower-case letter, then at least one lower-case letter, digit, dash or underscore | at least 2 characters",
		})
	}
	if e.Kind != endpointKinds {
		c.add(problem{
			rule: ruleEndpointKind, pos: c.posOf(e.node, "kind", e.Pos), path: joinPath("endpoints", e.Name, "kind"),
			msg: "unknown kind " + quote(e.Kind), words: endpointKinds, suggestion: endpointKinds,
		})
	}
}

// endpointClashes checks that the environment variables of endpoints differ.
func (c *checker) endpointClashes() {
	if len(c.doc.Endpoints) < 2 {
		return
	}
	names := make([]string, len(c.doc.Endpoints))
	for i := range c.doc.Endpoints {
		names[i] = c.doc.Endpoints[i].Name
	}
	clashes := manifest.EndpointClashes(names)
	for i := range c.doc.Endpoints {
		if with, ok := clashes[i]; ok {
			e := &c.doc.Endpoints[i]
			c.add(problem{
				rule: ruleEndpointClash, lax: true, pos: e.Pos, path: joinPath("endpoints", e.Name),
				msg: "endpoints " + quote(e.Name) + " and " + quote(with) + " have the same environment variables",
			})
		}
	}
}

// validEndpointName matches ^[a-z][a-z0-9_-]+$
func validEndpointName(s string) bool {
	if len(s) < 2 || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		ok := c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_'
		if !ok {
			return false
		}
	}
	return true
}

// portKey is a port of a leased address. The reference compares ports and
// protocols as written.
type portKey struct {
	ip, proto string
	as        uint32
	written   bool
}

// portUse is who has a port.
type portUse struct{ service, path string }

// leasedIPs checks the addresses that a service uses, once for each placement.
func (c *checker) leasedIPs(s *Service) {
	for i := range s.Expose {
		for j := range s.Expose[i].To {
			if s.Expose[i].To[j].IP != "" {
				c.leasedIP(s, i, j)
			}
		}
	}
}

func (c *checker) leasedIP(s *Service, i, j int) {
	e := &s.Expose[i]
	to := &e.To[j]
	pos, path := c.posOf(to.node, "ip", to.Pos), joinPath("services", s.Name, "expose", i, "to", j, "ip")
	if !to.Global {
		c.add(problem{rule: ruleIPNotGlobal, pos: pos, path: path, msg: "a leased address needs global: true", suggestion: "global: true"})
	}
	ei, ok := c.endpoints.find(to.IP)
	if !ok {
		c.add(problem{
			rule: ruleIPUndeclared, pos: pos, path: path, msg: "no endpoint is named " + quote(to.IP), suggestion: c.near(to.IP, &c.endpoints),
		})
		return
	}
	c.usedEndpoints[ei] = true
	as := e.As
	if as == 0 {
		as = e.Port
	}
	proto, _ := protocol(e.Proto)
	c.takePort(portKey{to.IP, e.Proto, e.As, true}, portKey{to.IP, string(proto), as, false}, portUse{s.Name, path}, pos)
}

// takePort claims a port as written, where a clash is an error, and as it is
// meant, where the reference lets a clash pass.
func (c *checker) takePort(written, meant portKey, use portUse, pos Pos) {
	if c.ports == nil {
		c.ports = make(map[portKey]portUse)
	}
	other, clash := c.ports[written]
	lax := false
	if !clash {
		other, clash = c.ports[meant]
		lax = true
	}
	c.ports[written], c.ports[meant] = use, use
	if !clash {
		return
	}
	port := strconv.Itoa(int(meant.as)) + "/" + meant.proto
	msg := "port " + port + " of the address is taken by " + other.path
	switch {
	case other.path == use.path:
		msg = "port " + port + " of the address would be taken twice: the service has several placements"
	case written.as == 0 && !lax:
		msg = "two ports of the address without as: " + other.path + " is the other; say as for each"
	}
	c.add(problem{rule: ruleIPPortTaken, lax: lax, pos: pos, path: use.path, msg: msg})
}
