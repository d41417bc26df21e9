package machine

import "github.com/moorage-dev/moorage/market"

func (m *Machine) createProvider(at Moment, msg market.CreateProvider) error {
	p := msg.Provider
	if err := free(m.Providers, p.Owner, "provider"); err != nil {
		return err
	}
	p.CreatedAt = at.Height
	return m.setProvider(p)
}

func (m *Machine) updateProvider(msg market.UpdateProvider) error {
	old, err := need(m.Providers, msg.Provider.Owner, "provider")
	if err != nil {
		return err
	}
	p := msg.Provider
	p.CreatedAt = old.CreatedAt
	return m.setProvider(p)
}

func (m *Machine) setProvider(p market.Provider) error {
	if err := p.Validate(m.Params.Limits); err != nil {
		return err
	}
	p.Attributes = p.Attributes.Sorted()
	m.emit(market.EventProviderChanged, market.LeaseID{Provider: p.Owner})
	return m.Providers.Set(p.Owner, p)
}

func (m *Machine) deleteProvider(msg market.DeleteProvider) error {
	if _, err := need(m.Providers, msg.Owner, "provider"); err != nil {
		return err
	}
	for r, err := range m.Refs.Scan(refPrefix(RefLiveBid, msg.Owner), nil) {
		if err != nil {
			return err
		}
		return market.Refuse(market.ErrState, "provider-busy", "provider %s has a live bid or lease: %s", msg.Owner, r.ID)
	}
	for r, err := range m.Refs.Scan(refPrefix(RefOpenRetainer, msg.Owner), nil) {
		if err != nil {
			return err
		}
		return market.Refuse(market.ErrState, "provider-busy", "provider %s has an open retainer: %s", msg.Owner, r.Retainer)
	}
	m.emit(market.EventProviderChanged, market.LeaseID{Provider: msg.Owner})
	return m.Providers.Delete(msg.Owner)
}

func (m *Machine) signAudit(at Moment, msg market.SignAudit) error {
	a := msg.Audit
	if err := a.ID.Auditor.Validate(); err != nil {
		return market.Refuse(market.ErrInvalid, "auditor", "%v", err)
	}
	if _, err := need(m.Providers, a.ID.Provider, "provider"); err != nil {
		return err
	}
	if err := a.Attributes.Validate(int(m.Params.Limits.MaxAttributes)); err != nil {
		return err
	}
	if !a.ExpiresAt.IsZero() && !a.ExpiresAt.After(at.Time) {
		return market.Refuse(market.ErrInvalid, "audit-expired", "audit %s expires at %s, it is %s", a.ID, a.ExpiresAt, at.Time)
	}
	a.Attributes = a.Attributes.Sorted()
	m.emit(market.EventAuditChanged, market.LeaseID{Provider: a.ID.Provider})
	if err := m.addRef(RefAuditorAudit, auditRef(a.ID)); err != nil {
		return err
	}
	return m.Audits.Set(a.ID, a)
}

// auditRef is the ID of an audit as its index has it.
func auditRef(id market.AuditID) market.LeaseID {
	ref := market.LeaseID{Provider: id.Provider}
	ref.Owner = id.Auditor
	return ref
}

func (m *Machine) revokeAudit(msg market.RevokeAudit) error {
	if _, err := need(m.Audits, msg.ID, "audit"); err != nil {
		return err
	}
	m.emit(market.EventAuditChanged, market.LeaseID{Provider: msg.ID.Provider})
	if err := m.dropRef(RefAuditorAudit, auditRef(msg.ID)); err != nil {
		return err
	}
	return m.Audits.Delete(msg.ID)
}
