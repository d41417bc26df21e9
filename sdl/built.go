package sdl

import (
	"slices"

	"github.com/moorage-dev/moorage/market"
)

// normalized returns a copy of a document built in Go in the form that reading
// its text would give: volumes named, attributes sorted. The receiver is not
// changed.
func (d *Document) normalized() *Document {
	out := *d
	out.Compute = slices.Clone(d.Compute)
	for i := range out.Compute {
		p := &out.Compute[i]
		p.Resources = p.Resources || p.CPU != nil || p.Memory != nil || p.GPU != nil || len(p.Storage) > 0
		p.Storage = slices.Clone(p.Storage)
		for j := range p.Storage {
			if p.Storage[j].Name == "" {
				p.Storage[j].Name = defaultVolume
			}
		}
		if p.CPU != nil {
			cpu := *p.CPU
			cpu.Attributes = normalAttributes(cpu.Attributes)
			p.CPU = &cpu
		}
	}
	out.Placement = slices.Clone(d.Placement)
	for i := range out.Placement {
		out.Placement[i].Attributes = normalAttributes(out.Placement[i].Attributes)
	}
	return &out
}

func normalAttributes(as market.Attributes) market.Attributes {
	if len(as) == 0 {
		return nil
	}
	return as.Sorted()
}

// built checks what reading a text would have found out.
func (c *checker) built() {
	distinct(c, c.doc.Services, func(s *Service) string { return s.Name }, "services")
	distinct(c, c.doc.Compute, func(p *ComputeProfile) string { return p.Name }, "profiles", "compute")
	distinct(c, c.doc.Placement, func(p *PlacementProfile) string { return p.Name }, "profiles", "placement")
	distinct(c, c.doc.Deployment, func(d *Deployment) string { return d.Service }, "deployment")
	distinct(c, c.doc.Endpoints, func(e *Endpoint) string { return e.Name }, "endpoints")
	for i := range c.doc.Services {
		if p := c.doc.Services[i].Params; p != nil {
			distinct(c, p.Storage, func(m *Mount) string { return m.Volume }, "services", c.doc.Services[i].Name, "params", "storage")
		}
	}
	for i := range c.doc.Compute {
		c.builtProfile(&c.doc.Compute[i])
	}
	for i := range c.doc.Placement {
		p := &c.doc.Placement[i]
		distinct(c, p.Attributes, func(a *market.Attribute) string { return a.Key }, "profiles", "placement", p.Name, "attributes")
		distinct(c, p.Pricing, func(pr *ProfilePrice) string { return pr.Profile }, "profiles", "placement", p.Name, "pricing")
	}
	for i := range c.doc.Deployment {
		dep := &c.doc.Deployment[i]
		distinct(c, dep.Placements, func(p *ServicePlacement) string { return p.Placement }, "deployment", dep.Service)
	}
	if r := c.doc.Reclamation; r != nil && r.MinWindow <= 0 {
		c.add(problem{rule: ruleReclamationWindow, path: "reclamation.min_window", msg: "the window must be more than 0"})
	}
}

// distinct reports names that a list has twice.
func distinct[T any](c *checker, list []T, name func(*T) string, path ...any) {
	if len(list) < 2 {
		return
	}
	seen := make(map[string]bool, len(list))
	for i := range list {
		n := name(&list[i])
		if seen[n] {
			c.add(problem{rule: ruleDuplicateKey, path: joinPath(append(slices.Clone(path), n)...), msg: "the name " + quote(n) + " is there twice"})
		}
		seen[n] = true
	}
}

func (c *checker) builtProfile(p *ComputeProfile) {
	if p.CPU != nil {
		for _, a := range p.CPU.Attributes {
			if !isWord(a.Key, cpuAttributes) {
				c.add(problem{
					rule: ruleCPUAttribute, path: joinPath("profiles", "compute", p.Name, "resources", "cpu", "attributes", a.Key),
					msg: "unknown CPU attribute " + quote(a.Key), words: cpuAttributes,
				})
			}
		}
	}
	for i := range p.Storage {
		a := p.Storage[i].Attributes
		if a == nil || a.Class == "" {
			continue
		}
		at := joinPath("profiles", "compute", p.Name, "resources", "storage", i, "attributes", "class")
		switch {
		case !isWord(a.Class, storageClasses):
			c.add(problem{rule: ruleStorageClass, path: at, msg: "unknown storage class " + quote(a.Class), words: storageClasses, suggestion: suggestWord(a.Class, storageClasses)})
		case a.Class == storageClassRAM && a.Persistent:
			c.add(problem{rule: ruleStorageRAM, path: at, msg: "class ram needs persistent false"})
		case a.Class != storageClassRAM && !a.Persistent:
			c.add(problem{rule: ruleStorageContradiction, lax: true, path: at, msg: "class " + a.Class + " is for persistent storage"})
		}
	}
}
