package nfteval

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Kernel holds tables. The zero value is empty. It is for one goroutine.
type Kernel struct{ tables map[string]*table }

type table struct {
	chains map[string]*chain
	sets   map[string]*set
}

type chain struct {
	// hook is where the kernel calls the chain, "" for one that others call; policy
	// is what becomes of a packet that reaches its end.
	hook, policy string
	nat          bool
	rules        []rule
}

// set is a set, or a map when its elements have verdicts.
type set struct {
	kind     string
	verdicts bool
	interval bool
	elements []element
}

type element struct {
	key     key
	verdict verdict
}

func (t *table) clone() *table {
	out := &table{chains: make(map[string]*chain, len(t.chains)), sets: make(map[string]*set, len(t.sets))}
	for name, c := range t.chains {
		twin := *c
		twin.rules = slices.Clone(c.rules)
		out.chains[name] = &twin
	}
	for name, s := range t.sets {
		twin := *s
		twin.elements = slices.Clone(s.elements)
		out.sets[name] = &twin
	}
	return out
}

// Tables are the names of the tables, sorted.
func (k *Kernel) Tables() []string { return slices.Sorted(maps.Keys(k.tables)) }

// Chains are the names of a table's chains, sorted.
func (k *Kernel) Chains(table string) []string {
	t := k.tables[table]
	if t == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(t.chains))
}

// Run carries a script out, all of it or nothing.
func (k *Kernel) Run(script string) error {
	next := make(map[string]*table, len(k.tables))
	for name, t := range k.tables {
		next[name] = t.clone()
	}
	p := &parser{tokens: tokenize(script), tables: next}
	if err := p.script(); err != nil {
		return fmt.Errorf("nfteval: near %q: %w", p.near(), err)
	}
	for name, t := range next {
		if err := t.whole(); err != nil {
			return fmt.Errorf("nfteval: table %s: %w", name, err)
		}
	}
	k.tables = next
	return nil
}

// whole reports names that lead nowhere.
func (t *table) whole() error {
	var errs []error
	check := func(ok bool, what, name string) {
		if !ok {
			errs = append(errs, fmt.Errorf("no %s %s", what, name))
		}
	}
	for _, c := range t.chains {
		for _, r := range c.rules {
			for _, name := range r.sets() {
				check(t.sets[name] != nil, "set", name)
			}
			if r.verdict.to != "" {
				check(t.chains[r.verdict.to] != nil, "chain", r.verdict.to)
			}
		}
	}
	for _, s := range t.sets {
		for _, e := range s.elements {
			if e.verdict.to != "" {
				check(t.chains[e.verdict.to] != nil, "chain", e.verdict.to)
			}
		}
	}
	return errors.Join(errs...)
}

// busy reports whether anything refers to a chain or a set.
func (t *table) busy(name string) bool {
	for _, c := range t.chains {
		for _, r := range c.rules {
			if r.verdict.to == name || slices.Contains(r.sets(), name) {
				return true
			}
		}
	}
	for _, s := range t.sets {
		if slices.ContainsFunc(s.elements, func(e element) bool { return e.verdict.to == name }) {
			return true
		}
	}
	return false
}

// tokenize splits a script into words, quoted texts, braces, commas and ends of
// statements (";", also for the end of a line).
func tokenize(script string) []string {
	var out []string
	for line := range strings.Lines(script) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "#")
		for line != "" {
			if line[0] == '"' {
				end := strings.IndexByte(line[1:], '"')
				if end < 0 {
					end = len(line) - 2
				}
				out = append(out, line[:end+2])
				line = strings.TrimLeft(line[end+2:], " \t")
				continue
			}
			n := strings.IndexAny(line, " \t{},;\"")
			switch {
			case n < 0:
				n = len(line)
			case n == 0:
				n = 1
			}
			if word := strings.TrimSpace(line[:n]); word != "" {
				out = append(out, word)
			}
			line = strings.TrimLeft(line[n:], " \t")
		}
		out = append(out, ";")
	}
	return out
}
