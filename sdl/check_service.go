package sdl

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/moorage-dev/moorage/sdl/manifest"
)

// service checks what one deployed service says by itself.
func (c *checker) service(s *Service) {
	if !manifest.ValidServiceName(s.Name) {
		c.add(problem{
			rule: ruleServiceName, pos: s.Pos, path: joinPath("services", s.Name), msg: "not a name for a service: " + quote(s.Name),
			allowed: "a lower-case letter, then lower-case letters, digits and dashes | no dash at the end", suggestion: suggestName(s.Name),
		})
	} else if len(s.Name) > MaxServiceNameLength {
		c.add(problem{
			rule: ruleServiceNameLength, lax: true, pos: s.Pos, path: joinPath("services", s.Name),
			msg: fmt.Sprintf("the name has %d characters; Kubernetes takes no more than %d", len(s.Name), MaxServiceNameLength),
		})
	}
	if s.Image == "" {
		c.add(problem{rule: ruleMissingImage, pos: c.posOf(s.node, "image", s.Pos), path: joinPath("services", s.Name, "image"), msg: "the service has no image"})
	}
	for i, e := range s.Env {
		if name, _, _ := strings.Cut(e, "="); !manifest.ValidEnvName(name) {
			c.add(problem{
				rule: ruleEnvName, pos: c.posItem(s.node, "env", i, s.Pos), path: joinPath("services", s.Name, "env", i),
				msg: "not the name of a variable before the first =", allowed: "letters, digits and any of -._ | not starting with a digit or two dots",
			})
		}
	}
	for i := range s.Expose {
		c.expose(s, i)
	}
	c.dependencies(s)
	c.credentials(s)
	c.params(s)
}

// suggestName makes a valid name of a near one.
func suggestName(s string) string {
	t := strings.Trim(strings.NewReplacer("_", "-", ".", "-", " ", "-").Replace(strings.ToLower(s)), "-")
	if t != s && len(t) <= MaxServiceNameLength && manifest.ValidServiceName(t) {
		return t
	}
	return ""
}

func (c *checker) expose(s *Service, i int) {
	e := &s.Expose[i]
	at := func(key string) Pos { return c.posOf(e.node, key, e.Pos) }
	path := func(key string) string { return joinPath("services", s.Name, "expose", i, key) }
	if e.Port == 0 || e.Port > MaxPort {
		c.add(problem{
			rule: rulePortRange, pos: at("port"), path: path("port"), msg: fmt.Sprintf("not a port: %d", e.Port), allowed: rangeText(1, MaxPort),
		})
	}
	if e.As > MaxPort {
		c.add(problem{
			rule: rulePortOutside, lax: true, pos: at("as"), path: path("as"), msg: fmt.Sprintf("not a port: %d", e.As), allowed: rangeText(1, MaxPort),
		})
	}
	if _, ok := protocol(e.Proto); !ok {
		c.add(problem{
			rule: ruleUnknownProtocol, pos: at("proto"), path: path("proto"), msg: "unknown protocol " + quote(e.Proto),
			words: protocolNames, suggestion: suggestProtocol(e.Proto),
		})
	}
	c.httpOptions(e, path)
	for j := range e.To {
		to := &e.To[j]
		if !to.Global {
			c.target(s, i, j)
			continue
		}
		c.global = true
		if to.Service != "" {
			c.add(problem{
				rule: ruleGlobalAndService, lax: true, pos: c.posOf(to.node, "service", to.Pos), path: joinPath("services", s.Name, "expose", i, "to", j, "service"),
				msg: "the port is open to the world; naming one service beside global has no effect",
			})
		}
	}
}

// target checks that the service a port is opened to exists.
func (c *checker) target(s *Service, i, j int) {
	to := &s.Expose[i].To[j]
	if to.Service == "" {
		return
	}
	if _, ok := c.services.find(to.Service); ok {
		return
	}
	c.add(problem{
		rule: ruleUnknownTarget, lax: true, pos: c.posOf(to.node, "service", to.Pos),
		path: joinPath("services", s.Name, "expose", i, "to", j, "service"),
		msg:  "no service is named " + quote(to.Service), suggestion: c.near(to.Service, &c.services),
	})
}

// protocol reads a protocol in any case; none is TCP.
func protocol(s string) (manifest.Protocol, bool) {
	switch strings.ToUpper(s) {
	case "", "TCP":
		return manifest.TCP, true
	case "UDP":
		return manifest.UDP, true
	}
	return manifest.TCP, false
}

func suggestProtocol(s string) string {
	switch strings.ToLower(s) {
	case "http", "https", "ws", "wss", "grpc", "tls", "ssl":
		return "tcp"
	case "quic", "dtls":
		return "udp"
	}
	return suggestWord(s, protocolNames)
}

func (c *checker) httpOptions(e *Expose, path func(string) string) {
	o := manifest.HTTPOptions(e.HTTPOptions)
	for _, l := range o.Limits() {
		if l.Value <= l.Most {
			continue
		}
		c.add(problem{
			rule: ruleHTTPOptionRange, pos: c.posIn(e.node, "http_options", l.Option, e.Pos), path: path("http_options") + "." + l.Option,
			msg: fmt.Sprintf("%d %s is too much", l.Value, l.Unit), allowed: rangeText(0, uint64(l.Most)),
		})
	}
	for _, name := range o.NextCases {
		p := problem{pos: c.posIn(e.node, "http_options", "next_cases", e.Pos), path: path("http_options") + ".next_cases"}
		switch {
		case name == manifest.NextCaseOff && len(o.NextCases) != 1:
			p.rule, p.msg = ruleHTTPNextCaseOff, "off stands alone"
		case !isWord(name, nextCaseNames):
			p.rule, p.msg = ruleHTTPNextCase, "unknown case "+quote(name)
			p.words, p.suggestion = nextCaseNames, suggestWord(name, nextCaseNames)
		default:
			continue
		}
		c.add(p)
	}
}

// posIn returns where a key of the mapping under another key stands.
func (c *checker) posIn(n int32, outer, inner string, or Pos) Pos {
	if c.doc.tree == nil || n == 0 || c.full {
		return or
	}
	o := c.doc.tree.child(n, outer)
	if o == 0 {
		return or
	}
	return c.posOf(o, inner, c.doc.tree.pos(o))
}

// acceptSyntax checks host names as the reference does when it reads them, of
// services that are not deployed too.
func (c *checker) acceptSyntax(s *Service) {
	for i := range s.Expose {
		e := &s.Expose[i]
		for j, host := range e.Accept {
			if manifest.ValidHostname(host) {
				continue
			}
			if _, err := url.ParseRequestURI("http://" + host); err != nil {
				c.badHost(s, i, j)
			}
		}
	}
}

func (c *checker) badHost(s *Service, i, j int) {
	e := &s.Expose[i]
	host := e.Accept[j]
	c.add(problem{
		rule: ruleHostname, pos: c.posItem(e.node, "accept", j, e.Pos), path: joinPath("services", s.Name, "expose", i, "accept", j),
		msg: "not a host name: " + quote(host), allowed: "lower-case labels of letters, digits and dashes, joined by dots | no scheme, port or wildcard",
		suggestion: suggestHost(host),
	})
}

// suggestHost strips what does not belong to a host name.
func suggestHost(s string) string {
	t := strings.ToLower(strings.TrimSpace(s))
	if _, after, ok := strings.Cut(t, "://"); ok {
		t = after
	}
	t, _, _ = strings.Cut(t, "/")
	t, _, _ = strings.Cut(t, ":")
	t = strings.TrimPrefix(t, "*.")
	if t != s && manifest.ValidHostname(t) && len(t) <= 80 {
		return t
	}
	return ""
}

// hostnames checks the names of a deployed service. It is called once for each
// placement, and counts a name once for each entry of to, as the reference does.
func (c *checker) hostnames(s *Service) {
	for i := range s.Expose {
		e := &s.Expose[i]
		for j, host := range e.Accept {
			if !manifest.ValidHostname(host) {
				if _, err := url.ParseRequestURI("http://" + host); err == nil && c.firstHost(host, "") {
					c.badHost(s, i, j)
				}
				continue
			}
			where := joinPath("services", s.Name, "expose", i, "accept", j)
			for range min(2, max(1, len(e.To))) { // twice is once too often
				c.useHost(s, i, j, where)
			}
		}
	}
}

// firstHost notes the use of a name and reports whether it is the first.
func (c *checker) firstHost(host, where string) bool {
	if c.hosts == nil {
		c.hosts = make(map[string]string)
	}
	_, used := c.hosts[host]
	if !used {
		c.hosts[host] = where
	}
	return !used
}

func (c *checker) useHost(s *Service, i, j int, where string) {
	host := s.Expose[i].Accept[j]
	if c.firstHost(host, where) {
		return
	}
	why := "is taken by " + c.hosts[host]
	if c.hosts[host] == where {
		why = "would be taken twice: the port has several entries under to, or the service several placements"
	}
	c.add(problem{
		rule: ruleHostnameTaken, pos: c.posItem(s.Expose[i].node, "accept", j, s.Expose[i].Pos), path: where, msg: "the name " + quote(host) + " " + why,
	})
}

func (c *checker) dependencies(s *Service) {
	for i, name := range s.Dependencies {
		if _, ok := c.services.find(name); ok {
			continue
		}
		c.add(problem{
			rule: ruleUnknownTarget, lax: true, pos: c.posItem(s.node, "dependencies", i, s.Pos), path: joinPath("services", s.Name, "dependencies", i),
			msg: "no service is named " + quote(name), suggestion: c.near(name, &c.services),
		})
	}
}

func (c *checker) credentials(s *Service) {
	cr := s.Credentials
	if cr == nil {
		return
	}
	for _, part := range [...]struct{ key, value string }{{"host", cr.Host}, {"username", cr.Username}, {"password", cr.Password}} {
		if strings.TrimSpace(part.value) == "" {
			c.add(problem{
				rule: ruleCredentials, pos: c.posOf(cr.node, part.key, c.posOf(s.node, "credentials", s.Pos)),
				path: joinPath("services", s.Name, "credentials", part.key), msg: "credentials need a " + part.key,
			})
		}
	}
	if cr.Email != "" && c.doc.Dialect() == Dialect20 {
		c.add(problem{
			rule: ruleEmailDropped, lax: true, pos: c.posOf(cr.node, "email", s.Pos), path: joinPath("services", s.Name, "credentials", "email"),
			msg: "version 2.0 drops the email address", suggestion: `version: "2.1"`,
		})
	}
}

// params checks what does not depend on the profile.
func (c *checker) params(s *Service) {
	p := s.Params
	if p == nil {
		return
	}
	if p.TEE != "" && !isWord(p.TEE, teeNames) {
		c.add(problem{
			rule: ruleTEE, pos: c.posOf(p.node, "tee", s.Pos), path: joinPath("services", s.Name, "params", "tee"),
			msg: "unknown kind " + quote(p.TEE), words: teeNames, suggestion: suggestWord(p.TEE, teeNames),
		})
	}
	if p.Permissions != nil {
		for i, name := range p.Permissions.Read {
			if !isWord(name, permissionNames) {
				c.add(problem{
					rule: rulePermission, lax: true, pos: c.posItem(p.Permissions.node, "read", i, s.Pos),
					path: joinPath("services", s.Name, "params", "permissions", "read", i),
					msg:  "unknown permission " + quote(name), words: permissionNames, suggestion: suggestWord(name, permissionNames),
				})
			}
		}
	}
	seen := make(map[string]string, len(p.Storage))
	for i := range p.Storage {
		m := &p.Storage[i]
		path := func() string { return joinPath("services", s.Name, "params", "storage", m.Volume, "mount") }
		if !strings.HasPrefix(m.Path, "/") {
			c.add(problem{rule: ruleMountPath, pos: c.posOf(m.node, "mount", m.Pos), path: path(), msg: "not an absolute path: " + quote(m.Path), allowed: "a path that starts with /"})
			continue
		}
		if other, taken := seen[m.Path]; taken {
			c.add(problem{rule: ruleMountTaken, pos: c.posOf(m.node, "mount", m.Pos), path: path(), msg: "the path " + quote(m.Path) + " is taken by volume " + quote(other)})
		}
		seen[m.Path] = m.Volume
	}
}
