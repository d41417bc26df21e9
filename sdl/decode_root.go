package sdl

import (
	"time"
)

// document reads the whole tree. It returns nil when there is nothing to go on.
func (d *decoder) document() *Document {
	root := d.t.root
	if root == 0 || d.t.null(root) {
		d.limit(ruleMissingVersion, 1, 1, "the document is empty")
		return nil
	}
	if d.t.at(root).kind != mappingNode {
		d.fail(ruleWrongType, root, "want a mapping at the top, got "+d.kindName(root))
		return nil
	}
	if d.t.more {
		d.warn(ruleSeveralDocuments, root, "only the first document of the text is read")
	}
	doc := &Document{tree: d.t}
	d.version(root, doc)
	seen := ""
	for c := d.t.at(root).first; c != 0 && !d.stopped; c = d.t.at(c).next {
		k := d.t.at(c).key
		key := d.t.at(k).value
		d.push(key)
		if isWord(key, seen) {
			d.repeated(k, key, doc)
		} else if isWord(key, rootKeys) {
			seen += key + " "
		}
		d.topLevel(k, key, c, doc)
		d.pop()
	}
	return doc
}

// topLevel reads the value of one key of the document.
func (d *decoder) topLevel(k int32, key string, value int32, doc *Document) {
	switch key {
	case "version":
	case "include":
		d.texts(value, &doc.Include)
	case "services":
		d.services(value, doc)
	case "profiles":
		d.profiles(value, doc)
	case "deployment":
		d.deployments(value, doc)
	case "endpoints":
		d.endpoints(value, doc)
	case "reclamation":
		doc.Reclamation = d.reclamation(value)
	default:
		d.add(problem{
			rule: ruleUnknownTopLevelKey, pos: d.pos(k), path: d.pathString(), msg: "unknown key " + quote(key) + " at the top",
			words: rootKeys, suggestion: suggestKey(key, rootKeys),
		})
	}
}

// repeated handles a key that the top level has twice. The reference reads the
// first version and, of the others, lets later entries replace earlier ones of
// the same name.
func (d *decoder) repeated(again int32, key string, doc *Document) {
	d.add(problem{
		rule: ruleDuplicateTopLevelKey, pos: d.pos(again), path: d.pathString(), lax: true,
		msg: "the key " + quote(key) + " is there twice; later entries replace earlier ones, except version",
	})
	for c := d.t.at(d.t.root).first; c != 0; c = d.t.at(c).next {
		if d.t.at(c).key == again && d.null(c) {
			doc.clear(key)
		}
	}
	doc.repeated = true
}

// clear forgets what was read under a key, for a later empty value.
func (d *Document) clear(key string) {
	switch key {
	case "include":
		d.Include = nil
	case "services":
		d.Services = nil
	case "deployment":
		d.Deployment = nil
	case "endpoints":
		d.Endpoints = nil
	}
}

// replaceEarlier keeps the last of several entries of one name, which only a
// top-level key that comes twice can bring about.
func (d *Document) replaceEarlier() {
	if !d.repeated {
		return
	}
	d.Services = lastOfEach(d.Services, func(s *Service) string { return s.Name })
	d.Compute = lastOfEach(d.Compute, func(p *ComputeProfile) string { return p.Name })
	d.Placement = lastOfEach(d.Placement, func(p *PlacementProfile) string { return p.Name })
	d.Deployment = lastOfEach(d.Deployment, func(p *Deployment) string { return p.Service })
	d.Endpoints = lastOfEach(d.Endpoints, func(e *Endpoint) string { return e.Name })
}

func lastOfEach[T any](list []T, name func(*T) string) []T {
	last := make(map[string]int, len(list))
	for i := range list {
		last[name(&list[i])] = i
	}
	out := list[:0]
	for i := range list {
		if last[name(&list[i])] == i {
			out = append(out, list[i])
		}
	}
	return out
}

// version finds the version first, for it decides how the rest is read. Without
// a right one the rest is read as 2.0, to report what else is wrong.
func (d *decoder) version(root int32, doc *Document) {
	doc.dialect = Dialect20
	v := int32(0)
	for c := d.t.at(root).first; c != 0 && v == 0; c = d.t.at(c).next {
		if d.t.at(d.t.at(c).key).value == "version" {
			v = c
		}
	}
	if v == 0 {
		d.add(problem{rule: ruleMissingVersion, pos: d.pos(root), path: "version", msg: "no version", words: versionNames, suggestion: `version: "2.0"`})
		return
	}
	doc.Version = d.t.at(v).value
	dialect, released := parseVersion(doc.Version)
	if dialect != 0 {
		doc.dialect = dialect
	}
	p := problem{rule: ruleUnsupportedVersion, pos: d.pos(v), path: "version", words: versionNames}
	switch {
	case dialect == 0:
		p.msg = "unsupported version " + quote(doc.Version)
		d.add(p)
	case !released:
		p.lax, p.msg = true, "version "+quote(doc.Version)+" was never released; it is read as "+dialect.String()
		d.add(p)
	}
}

func (d *decoder) deployments(n int32, doc *Document) {
	it, ok := d.fields(n, "", "a mapping of service names")
	if !ok {
		return
	}
	doc.Deployment = growTo(doc.Deployment, int(d.t.at(it.node).count))
	for it.next() {
		dep := Deployment{Service: it.key, Pos: d.pos(it.keyNode)}
		if f, ok := d.fields(it.value, "", "a mapping of placement names"); ok {
			dep.node = f.node
			dep.Placements = make([]ServicePlacement, 0, d.t.at(f.node).count)
			for f.next() {
				p := ServicePlacement{Placement: f.key, Pos: d.pos(f.keyNode)}
				d.servicePlacement(f.value, &p)
				dep.Placements = append(dep.Placements, p)
			}
		}
		doc.Deployment = append(doc.Deployment, dep)
	}
}

func (d *decoder) servicePlacement(n int32, p *ServicePlacement) {
	it, ok := d.fields(n, deploymentKeys, "a mapping with profile and count")
	if !ok {
		return
	}
	p.node = it.node
	for it.next() {
		switch it.key {
		case "profile":
			d.text(it.value, &p.Profile)
		case "count":
			d.uint32(it.value, &p.Count)
		}
	}
}

func (d *decoder) endpoints(n int32, doc *Document) {
	it, ok := d.fields(n, "", "a mapping of endpoint names")
	if !ok {
		return
	}
	doc.Endpoints = growTo(doc.Endpoints, int(d.t.at(it.node).count))
	for it.next() {
		e := Endpoint{Name: it.key, Pos: d.pos(it.keyNode)}
		f, ok := d.fields(it.value, endpointKeys, "a mapping with kind")
		if ok {
			e.node = f.node
			for f.next() {
				d.text(f.value, &e.Kind)
			}
		} else if !d.null(it.value) {
			e.Kind = endpointKinds
		}
		doc.Endpoints = append(doc.Endpoints, e)
	}
}

// reclamation reads the notice. An empty value is a wrong one, as in the
// reference.
func (d *decoder) reclamation(n int32) *Reclamation {
	r := &Reclamation{node: d.t.deref(n)}
	text, at := "", n
	it, ok := d.fields(n, reclamationKeys, "a mapping with min_window")
	if !ok && !d.null(n) {
		return nil
	}
	if ok {
		for it.next() {
			at = d.t.deref(it.value)
			d.text(it.value, &text)
		}
	}
	window, err := time.ParseDuration(text)
	p := problem{
		rule: ruleReclamationWindow, pos: d.pos(at), path: "reclamation.min_window",
		allowed: "a whole number of s, m or h, more than 0, for example 24h", suggestion: "1h",
	}
	switch {
	case err != nil:
		p.msg = "not a duration: " + quote(text)
	case window <= 0:
		p.msg = "the window must be more than 0"
	case !plainDuration(text):
		p.lax, p.msg, p.suggestion = true, "tools other than the reference compiler read only a whole number and one of s, m, h", ""
	}
	if p.msg != "" {
		d.add(p)
	}
	r.MinWindow = window
	return r
}

// plainDuration reports whether s is a number from 1 and one of s, m and h.
func plainDuration(s string) bool {
	n := digitsFrom(s, 0)
	return n > 0 && s[0] != '0' && n == len(s)-1 && isWord(s[n:], "s m h")
}
