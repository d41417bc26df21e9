package manifest

import (
	"fmt"

	"github.com/moorage-dev/moorage/market"
)

// Check tells whether m is exactly what the groups promise: the same groups;
// every service with the resources of its unit, volumes and attributes
// included; replicas and endpoints used up, no more and no less; leased
// addresses with the same sequence numbers, each number under one name. m must also pass
// [Manifest.Validate]. The error is a [Mismatches] with all differences found.
// Neither argument is changed or kept.
func Check(m Manifest, groups []market.GroupSpec) error {
	if err := m.Validate(); err != nil {
		return err
	}
	c := &collector{kind: market.ErrMismatch}
	byName := make(map[string]*market.GroupSpec, len(groups))
	for i := range groups {
		byName[groups[i].Name] = &groups[i]
	}
	if len(m) != len(groups) {
		c.add("groups", num(len(groups)), num(len(m)))
	}
	for i := range m {
		c.group, c.service = m[i].Name, ""
		spec, ok := byName[m[i].Name]
		if !ok {
			c.add("name", "a group of the deployment", "an unknown name")
			continue
		}
		delete(byName, m[i].Name)
		checkGroup(c, &m[i], spec)
	}
	for i := range groups {
		if byName[groups[i].Name] == &groups[i] {
			c.group, c.service = groups[i].Name, ""
			c.add("services", "services for the group", "none")
		}
	}
	checkEndpoints(c, m)
	return c.err()
}

// budget is what is left of one resource unit.
type budget struct {
	unit     *market.ResourceUnit
	replicas uint64
	// endpoints counts ways in that no service has claimed yet.
	endpoints map[market.Endpoint]int
}

func checkGroup(c *collector, g *Group, spec *market.GroupSpec) {
	units := make(map[uint32]*budget, len(spec.Units))
	for i := range spec.Units {
		u := &spec.Units[i]
		b := &budget{unit: u, replicas: uint64(u.Count), endpoints: make(map[market.Endpoint]int, len(u.Endpoints))}
		for _, e := range u.Endpoints {
			b.endpoints[e]++
		}
		units[u.ID] = b
	}
	for i := range g.Services {
		s := &g.Services[i]
		c.service = s.Name
		b, ok := units[s.Resources.ID]
		if !ok {
			c.add("resources.id", "a unit of the group", num(s.Resources.ID))
			continue
		}
		b.checkResources(c, &s.Resources)
		b.take(c, s)
	}
	c.service = ""
	for i := range spec.Units {
		if b := units[spec.Units[i].ID]; b.unit == &spec.Units[i] {
			b.checkSpent(c)
		}
	}
}

func (b *budget) checkResources(c *collector, r *market.Resources) {
	u := &b.unit.Resources
	if r.CPU.MilliCores != u.CPU.MilliCores {
		c.add("resources.cpu.units", num(u.CPU.MilliCores), num(r.CPU.MilliCores))
	}
	if r.Memory.Bytes != u.Memory.Bytes {
		c.add("resources.memory.size", num(u.Memory.Bytes), num(r.Memory.Bytes))
	}
	if r.GPU.Units != u.GPU.Units {
		c.add("resources.gpu.units", num(u.GPU.Units), num(r.GPU.Units))
	}
	checkAttributes(c, "resources.cpu", u.CPU.Attributes, r.CPU.Attributes)
	checkAttributes(c, "resources.memory", u.Memory.Attributes, r.Memory.Attributes)
	checkAttributes(c, "resources.gpu", u.GPU.Attributes, r.GPU.Attributes)
	if len(r.Storage) != len(u.Storage) {
		c.add("resources.storage", num(len(u.Storage))+" volumes", num(len(r.Storage))+" volumes")
		return
	}
	for i, v := range r.Storage {
		want, field := u.Storage[i], fmt.Sprintf("resources.storage[%d]", i)
		if v.Name != want.Name {
			c.add(field+".name", fmt.Sprintf("%q", clip(want.Name)), fmt.Sprintf("%q", clip(v.Name)))
		}
		if v.Bytes != want.Bytes {
			c.add(field+".size", num(want.Bytes), num(v.Bytes))
		}
		checkAttributes(c, field, want.Attributes, v.Attributes)
	}
}

func checkAttributes(c *collector, field string, want, got market.Attributes) {
	if len(want) != len(got) {
		c.add(field+".attributes", num(len(want))+" attributes", num(len(got))+" attributes")
		return
	}
	for i, w := range want {
		if got[i] != w {
			c.add(field+".attributes", clip(w.Key+"="+w.Value), clip(got[i].Key+"="+got[i].Value))
			return
		}
	}
}

// take claims the replicas and the endpoints of a service.
func (b *budget) take(c *collector, s *Service) {
	if n := uint64(s.Count); n > b.replicas {
		c.add("count", "at most "+num(b.replicas), num(n))
		b.replicas = 0
	} else {
		b.replicas -= n
	}
	for i := range s.Expose {
		for _, e := range s.Expose[i].Endpoints() {
			if b.endpoints[e] == 0 {
				c.add(fmt.Sprintf("expose[%d]", i), "an endpoint of the unit", describe(e)+" over what was leased")
				continue
			}
			b.endpoints[e]--
		}
	}
}

// checkSpent reports what no service claimed. Endpoints are visited in the
// order of the unit.
func (b *budget) checkSpent(c *collector) {
	unit := "unit " + num(b.unit.ID)
	if b.replicas > 0 {
		c.add("count", num(b.unit.Count)+" replicas of "+unit, num(uint64(b.unit.Count)-b.replicas))
	}
	for _, e := range b.unit.Endpoints {
		if n := b.endpoints[e]; n > 0 {
			c.add("expose", num(n)+" more "+describe(e)+" on "+unit, "none")
			b.endpoints[e] = 0
		}
	}
}

func describe(e market.Endpoint) string {
	if e.Kind == market.EndpointLeasedIP {
		return e.Kind.String() + " " + num(e.SequenceNumber)
	}
	return e.Kind.String()
}

// Endpoints returns the ways in that a port needs: none when it is not global;
// else one on the HTTP router or a random port, and the leased address if it
// names one, sorted by sequence number.
func (e Expose) Endpoints() []market.Endpoint { return e.AppendEndpoints(nil) }

// AppendEndpoints appends what [Expose.Endpoints] returns.
func (e *Expose) AppendEndpoints(dst []market.Endpoint) []market.Endpoint {
	if !e.Global {
		return dst
	}
	port := market.Endpoint{Kind: market.EndpointRandomPort}
	if e.HTTP() {
		port.Kind = market.EndpointSharedHTTP
	}
	if e.IP == "" {
		return append(dst, port)
	}
	leased := market.Endpoint{Kind: market.EndpointLeasedIP, SequenceNumber: e.EndpointSequenceNumber}
	if leased.SequenceNumber == 0 {
		return append(dst, leased, port)
	}
	return append(dst, port, leased)
}
