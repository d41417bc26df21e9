package market

import "slices"

// Clone returns a copy that shares no memory with the original.
func (as Attributes) Clone() Attributes { return slices.Clone(as) }

// Clone returns a copy that shares no memory with the original.
func (g GroupSpec) Clone() GroupSpec {
	g.Requirements.Attributes = g.Requirements.Attributes.Clone()
	g.Requirements.SignedBy.AllOf = slices.Clone(g.Requirements.SignedBy.AllOf)
	g.Requirements.SignedBy.AnyOf = slices.Clone(g.Requirements.SignedBy.AnyOf)
	g.Requirements.Providers = g.Requirements.Providers.Clone()
	g.Requirements.DataCenters = g.Requirements.DataCenters.Clone()
	g.Units = slices.Clone(g.Units)
	for i := range g.Units {
		g.Units[i].Resources = g.Units[i].Resources.Clone()
	}
	return g
}

// Clone returns a copy that shares no memory with the original.
func (s Selection[T]) Clone() Selection[T] {
	return Selection[T]{slices.Clone(s.Allowed), slices.Clone(s.Excluded)}
}

// Clone returns a copy that shares no memory with the original.
func (r Resources) Clone() Resources {
	r.CPU.Attributes = r.CPU.Attributes.Clone()
	r.Memory.Attributes = r.Memory.Attributes.Clone()
	r.GPU.Attributes = r.GPU.Attributes.Clone()
	r.Endpoints = slices.Clone(r.Endpoints)
	r.Storage = slices.Clone(r.Storage)
	for i := range r.Storage {
		r.Storage[i].Attributes = r.Storage[i].Attributes.Clone()
	}
	return r
}

// Clone returns a copy that shares no memory with the original.
func (g Group) Clone() Group {
	g.Spec = g.Spec.Clone()
	return g
}

// Clone returns a copy that shares no memory with the original.
func (o Order) Clone() Order {
	o.Spec = o.Spec.Clone()
	return o
}

// Clone returns a copy that shares no memory with the original.
func (b Bid) Clone() Bid {
	b.Units = slices.Clone(b.Units)
	return b
}

// Clone returns a copy that shares no memory with the original.
func (l Lease) Clone() Lease {
	if l.Scale != nil {
		s := *l.Scale
		s.Counts = slices.Clone(s.Counts)
		l.Scale = &s
	}
	return l
}

// Clone returns a copy that shares no memory with the original.
func (a Account) Clone() Account {
	a.Deposits = slices.Clone(a.Deposits)
	a.Transferred = slices.Clone(a.Transferred)
	return a
}

// Clone returns a copy that shares no memory with the original.
func (p Provider) Clone() Provider {
	p.Attributes = p.Attributes.Clone()
	return p
}

// Clone returns a copy that shares no memory with the original.
func (c Certificate) Clone() Certificate {
	c.DER = slices.Clone(c.DER)
	return c
}

// Clone returns a copy that shares no memory with the original.
func (a Audit) Clone() Audit {
	a.Attributes = a.Attributes.Clone()
	return a
}

// CloneMsg returns a copy of one of this package's messages that shares no
// memory with the original.
func CloneMsg(msg Msg) Msg {
	switch m := msg.(type) {
	case CreateDeployment:
		m.Groups = slices.Clone(m.Groups)
		for i := range m.Groups {
			m.Groups[i] = m.Groups[i].Clone()
		}
		return m
	case CreateBid:
		m.Units = slices.Clone(m.Units)
		return m
	case ScaleLease:
		m.Counts = slices.Clone(m.Counts)
		return m
	case CreateProvider:
		m.Provider = m.Provider.Clone()
		return m
	case UpdateProvider:
		m.Provider = m.Provider.Clone()
		return m
	case CreateCertificate:
		m.DER = slices.Clone(m.DER)
		return m
	case SignAudit:
		m.Audit = m.Audit.Clone()
		return m
	default:
		return msg // the others hold no slices
	}
}
