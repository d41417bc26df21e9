package nfteval

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// parser carries a script out on a copy of the tables.
type parser struct {
	tokens []string
	at     int
	tables map[string]*table
}

func (p *parser) near() string {
	const around = 6
	return strings.Join(p.tokens[max(0, p.at-around):min(len(p.tokens), p.at+around)], " ")
}

func (p *parser) peek() string {
	if p.at < len(p.tokens) {
		return p.tokens[p.at]
	}
	return ""
}

func (p *parser) next() string {
	t := p.peek()
	p.at++
	return t
}

// take consumes the token if it is next.
func (p *parser) take(token string) bool {
	if p.peek() != token {
		return false
	}
	p.at++
	return true
}

func (p *parser) expect(tokens ...string) error {
	for _, t := range tokens {
		if !p.take(t) {
			return fmt.Errorf("want %q", t)
		}
	}
	return nil
}

// skip consumes ends of statements.
func (p *parser) skip() {
	for p.take(";") {
	}
}

func (p *parser) script() error {
	for p.skip(); p.at < len(p.tokens); p.skip() {
		var err error
		switch verb := p.next(); verb {
		case "table":
			err = p.table()
		case "add", "delete", "flush":
			err = p.command(verb)
		default:
			err = fmt.Errorf("statement %q", verb)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// table declares a table and, in braces, what is in it.
func (p *parser) table() error {
	if err := p.expect("inet"); err != nil {
		return err
	}
	name := p.next()
	t := p.tables[name]
	if t == nil {
		t = &table{chains: map[string]*chain{}, sets: map[string]*set{}}
		p.tables[name] = t
	}
	if !p.take("{") {
		return nil
	}
	for p.skip(); !p.take("}"); p.skip() {
		kind, name := p.next(), p.next()
		if err := p.expect("{"); err != nil {
			return err
		}
		var err error
		switch kind {
		case "chain":
			err = p.chain(t, name)
		case "set", "map":
			err = p.set(t, name, kind == "map")
		default:
			err = fmt.Errorf("a %q in a table", kind)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// command is a statement about one thing.
func (p *parser) command(verb string) error {
	kind := p.next()
	if err := p.expect("inet"); err != nil {
		return err
	}
	name := p.next()
	t := p.tables[name]
	if t == nil {
		return fmt.Errorf("no table %s", name)
	}
	if kind == "table" && verb == "delete" {
		delete(p.tables, name)
		return nil
	}
	name = p.next()
	switch verb + " " + kind {
	case "add chain":
		if t.chains[name] == nil {
			t.chains[name] = &chain{}
		}
		return nil
	case "flush chain":
		if t.chains[name] == nil {
			return fmt.Errorf("no chain %s", name)
		}
		t.chains[name].rules = nil
		return nil
	case "delete chain":
		return t.deleteChain(name)
	case "delete set", "delete map":
		return t.deleteSet(name)
	case "add element", "delete element":
		return p.elements(t, name, verb)
	}
	return fmt.Errorf("%s %s", verb, kind)
}

func (t *table) deleteChain(name string) error {
	switch c := t.chains[name]; {
	case c == nil:
		return fmt.Errorf("no chain %s", name)
	case len(c.rules) > 0 || t.busy(name):
		return fmt.Errorf("chain %s is in use", name)
	}
	delete(t.chains, name)
	return nil
}

func (t *table) deleteSet(name string) error {
	if t.sets[name] == nil {
		return fmt.Errorf("no set %s", name)
	}
	for _, c := range t.chains {
		for _, r := range c.rules {
			if slices.Contains(r.sets(), name) {
				return fmt.Errorf("set %s is in use", name)
			}
		}
	}
	delete(t.sets, name)
	return nil
}

func (p *parser) elements(t *table, name, verb string) error {
	s := t.sets[name]
	if s == nil {
		return fmt.Errorf("no set %s", name)
	}
	if err := p.expect("{"); err != nil {
		return err
	}
	list, err := p.list(s.verdicts && verb == "add")
	if err != nil {
		return err
	}
	for _, e := range list {
		i := slices.IndexFunc(s.elements, func(o element) bool { return o.key == e.key })
		switch {
		case verb == "delete" && i < 0:
			return errors.New("no such element")
		case verb == "delete":
			s.elements = slices.Delete(s.elements, i, i+1)
		case i < 0:
			s.elements = append(s.elements, e)
		case s.elements[i] != e:
			return errors.New("another element has this key")
		}
	}
	return nil
}

func (p *parser) set(t *table, name string, verdicts bool) error {
	if t.sets[name] != nil {
		return fmt.Errorf("set %s twice", name)
	}
	s := &set{verdicts: verdicts}
	t.sets[name] = s
	for p.skip(); !p.take("}"); p.skip() {
		var err error
		switch word := p.next(); word {
		case "type":
			if s.kind = p.next(); verdicts {
				err = p.expect(":", "verdict")
			}
		case "flags":
			s.interval = true
			err = p.expect("interval")
		case "elements":
			if err = p.expect("=", "{"); err == nil {
				s.elements, err = p.list(verdicts)
			}
		default:
			err = fmt.Errorf("%q in a set", word)
		}
		if err != nil {
			return err
		}
	}
	for _, e := range s.elements {
		if e.key.prefix.IsValid() && !e.key.prefix.IsSingleIP() && !s.interval {
			return fmt.Errorf("set %s: a range in a set without the flag interval", name)
		}
	}
	return nil
}

// list reads elements up to the closing brace.
func (p *parser) list(verdicts bool) ([]element, error) {
	var out []element
	for p.skip(); !p.take("}"); p.skip() {
		k, err := parseKey(p.next())
		if err != nil {
			return nil, err
		}
		e := element{key: k}
		if verdicts {
			if err := p.expect(":"); err != nil {
				return nil, err
			}
			if e.verdict, err = p.verdict(p.next()); err != nil {
				return nil, err
			}
		}
		out = append(out, e)
		if p.skip(); !p.take(",") && p.peek() != "}" {
			return nil, errors.New("want , or }")
		}
	}
	return out, nil
}

func (p *parser) chain(t *table, name string) error {
	c := t.chains[name]
	if c == nil {
		c = &chain{}
		t.chains[name] = c
	}
	for p.skip(); !p.take("}"); p.skip() {
		switch {
		case p.take("type"):
			c.nat = p.next() == "nat"
			if err := p.expect("hook"); err != nil {
				return err
			}
			c.hook, c.policy = p.next(), accept
			if err := p.expect("priority"); err != nil {
				return err
			}
			p.next()
		case p.take("policy"):
			c.policy = p.next()
		default:
			r, err := p.rule()
			if err != nil {
				return err
			}
			c.rules = append(c.rules, r)
		}
	}
	return nil
}

// rule reads matches and a verdict up to the end of the statement.
func (p *parser) rule() (rule, error) {
	var r rule
	for !slices.Contains([]string{";", "}", ""}, p.peek()) {
		if r.verdict.what != "" {
			return r, errors.New("something after the verdict")
		}
		if err := p.expression(&r); err != nil {
			return r, err
		}
	}
	return r, nil
}

// expression reads one match, or the verdict.
func (p *parser) expression(r *rule) error {
	word := p.next()
	field := word
	switch word {
	case accept, drop, back, "jump", "goto", "masquerade":
		var err error
		r.verdict, err = p.verdict(word)
		return err
	case "iifname", "oifname":
	case "ip", "ip6", "tcp", "udp", "th", "ct", "meta", "icmp", "icmpv6", "sctp":
		field += " " + p.next()
	default:
		return fmt.Errorf("expression %q", word)
	}
	if !known(field) {
		return fmt.Errorf("field %q", field)
	}
	m := match{field: field}
	if p.take("vmap") {
		name, ok := strings.CutPrefix(p.next(), "@")
		if !ok {
			return errors.New("want a map after vmap")
		}
		r.field, r.vmap = field, name
		r.verdict.what = "vmap"
		return nil
	}
	m.not = p.take("!=")
	if err := p.operand(&m); err != nil {
		return err
	}
	r.matches = append(r.matches, m)
	return nil
}

func (p *parser) operand(m *match) error {
	if p.take("{") {
		list, err := p.list(false)
		for _, e := range list {
			m.keys = append(m.keys, e.key)
		}
		return err
	}
	word := p.next()
	if name, ok := strings.CutPrefix(word, "@"); ok {
		m.set = name
		return nil
	}
	k, err := parseKey(word)
	m.keys = []key{k}
	return err
}

func (p *parser) verdict(word string) (verdict, error) {
	switch word {
	case accept, drop, back, "masquerade":
		return verdict{what: word}, nil
	case "jump", "goto":
		return verdict{what: word, to: p.next()}, nil
	}
	return verdict{}, fmt.Errorf("verdict %q", word)
}
