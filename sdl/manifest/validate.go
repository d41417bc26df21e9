package manifest

import (
	"fmt"
	"strings"

	"github.com/moorage-dev/moorage/market"
)

// Validate checks the form of a manifest by the rules of the reference: groups
// present and named once, services sorted and well named, images set, names of
// environment variables, ports, protocols, HTTP options and host names valid,
// host names used once, and at least one port open to the world. The error is a
// [Mismatches].
func (m Manifest) Validate() error {
	c := &collector{kind: market.ErrInvalid}
	if len(m) == 0 {
		c.add("groups", "at least 1", "none")
		return c.err()
	}
	names := make(map[string]bool, len(m))
	hosts := make(map[string]bool)
	global := false
	for i := range m {
		g := &m[i]
		c.group, c.service = g.Name, ""
		if names[g.Name] {
			c.add("name", "a name used once", "a duplicate")
		}
		names[g.Name] = true
		if len(g.Services) == 0 {
			c.add("services", "at least 1", "none")
		}
		for j := range g.Services {
			c.service = g.Services[j].Name
			if j > 0 && g.Services[j-1].Name >= c.service {
				c.add("name", "services sorted by name, each once", "after "+fmt.Sprintf("%q", clip(g.Services[j-1].Name)))
			}
			global = g.Services[j].validate(c, hosts) || global
		}
	}
	if !global {
		c.group, c.service = "", ""
		c.add("expose", "at least 1 global in the manifest", "none")
	}
	return c.err()
}

// validate reports whether any port of the service is global.
func (s *Service) validate(c *collector, hosts map[string]bool) bool {
	if !ValidServiceName(s.Name) {
		c.add("name", "a lower-case letter, then letters, digits and dashes", fmt.Sprintf("%q", clip(s.Name)))
	}
	if s.Image == "" {
		c.add("image", "a reference", `""`)
	}
	if s.Resources.ID == 0 {
		c.add("resources.id", "at least 1", "0")
	}
	if len(s.Resources.Storage) == 0 {
		c.add("resources.storage", "at least 1 volume", "none")
	}
	for i, e := range s.Env {
		if name, _, _ := strings.Cut(e, "="); !ValidEnvName(name) {
			c.add(fmt.Sprintf("env[%d]", i), "NAME or NAME=VALUE", "a malformed name")
		}
	}
	global := false
	for i := range s.Expose {
		s.Expose[i].validate(c, i, hosts)
		global = global || s.Expose[i].Global
		if i > 0 && s.Expose[i].less(&s.Expose[i-1]) {
			c.add(fmt.Sprintf("expose[%d]", i), "ports in order", "a port out of order")
		}
	}
	return global
}

func (e *Expose) validate(c *collector, i int, hosts map[string]bool) {
	if e.Port == 0 || e.Port > MaxPort {
		c.add(fmt.Sprintf("expose[%d].port", i), "1 to 65535", num(e.Port))
	}
	if e.Proto != TCP && e.Proto != UDP {
		c.add(fmt.Sprintf("expose[%d].proto", i), "TCP or UDP", fmt.Sprintf("%q", clip(string(e.Proto))))
	}
	e.HTTPOptions.validate(c, fmt.Sprintf("expose[%d].httpOptions", i))
	for j, h := range e.Hosts {
		field := fmt.Sprintf("expose[%d].hosts[%d]", i, j)
		if !ValidHostname(h) {
			c.add(field, "a lower-case host name", fmt.Sprintf("%q", clip(h)))
		}
		if hosts[h] {
			c.add(field, "a host name used once", fmt.Sprintf("%q again", clip(h)))
		}
		hosts[h] = true
	}
}

// less is the order of ports in a service: by target service, port, protocol,
// and global before private.
func (e *Expose) less(f *Expose) bool {
	switch {
	case e.Service != f.Service:
		return e.Service < f.Service
	case e.Port != f.Port:
		return e.Port < f.Port
	case e.Proto != f.Proto:
		return e.Proto < f.Proto
	}
	return e.Global && !f.Global
}

// Before reports whether e stands before f in a service: by target service,
// port and protocol, and global before private. It is the order of the
// reference; exposes that are equal in these four are in no order.
func (e *Expose) Before(f *Expose) bool { return e.less(f) }

func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
