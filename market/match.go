package market

import (
	"slices"
	"strings"
	"time"
)

// Prefixes of the provider attributes that state capabilities.
const (
	// CapabilityStorage is followed by a number that joins the attributes of one
	// kind of storage: "capabilities/storage/1/class".
	CapabilityStorage = "capabilities/storage/"
	// CapabilityGPU is followed by what a GPU attribute of an order asks for:
	// "capabilities/gpu/vendor/nvidia/model/a100".
	CapabilityGPU = "capabilities/gpu/"
)

// Match checks that a provider is what the group asks for: whether it is listed,
// where it is, its own attributes, the auditors' words and its capabilities. audits are what auditors say of the
// provider; words that are expired at now, or of auditors nobody asked for, do
// not count. The error is a [RuleError] of kind [ErrMismatch].
//
// A required key may hold "*" for anything between two slashes; values must be
// equal. With signers, every one of AllOf and at least one of AnyOf
// must have signed all required attributes. The attributes of a volume must be
// found together under one number of [CapabilityStorage]; of the attributes of
// a GPU, which are alternatives, one under [CapabilityGPU].
func (g GroupSpec) Match(p Provider, audits []Audit, now time.Time) error {
	required, err := g.Requirements.admit(p)
	if err != nil {
		return err
	}
	if a, ok := g.Requirements.Attributes.in(p.Attributes); !ok {
		return Refuse(ErrMismatch, "bid-attributes", "provider %s lacks %s=%s", p.Owner, a.Key, a.Value)
	}
	if err := g.Requirements.signed(required, p.Owner, audits, now); err != nil {
		return err
	}
	stores := storesOf(p.Attributes)
	for _, u := range g.Units {
		for _, v := range u.Storage {
			if !storedIn(v, stores) {
				return Refuse(ErrMismatch, "bid-storage", "provider %s has no storage for volume %q", p.Owner, v.Name)
			}
		}
		if u.GPU.Units > 0 && !gpuIn(u.GPU.Attributes, p.Attributes) {
			return Refuse(ErrMismatch, "bid-gpu", "provider %s has no GPU for unit %d", p.Owner, u.ID)
		}
	}
	return nil
}

// admit checks a provider against the lists, and returns the attributes that
// auditors must have signed if any are asked for: those required, and where the
// provider is if that matters.
func (r Requirements) admit(p Provider) (Attributes, error) {
	if !r.Providers.Admits(p.Owner) {
		return nil, Refuse(ErrMismatch, "bid-provider-listed", "provider %s is excluded or not among those allowed", p.Owner)
	}
	if r.DataCenters.IsZero() {
		return r.Attributes, nil
	}
	where, ok := p.Attributes.Get(AttributeDataCenter)
	if !ok || !r.DataCenters.Admits(where) {
		return nil, Refuse(ErrMismatch, "bid-data-center", "data centre %q of provider %s is not named, excluded or not among those allowed", where, p.Owner)
	}
	return append(slices.Clone(r.Attributes), Attribute{AttributeDataCenter, where}), nil
}

// signed checks that the auditors asked for have signed the required attributes.
func (r Requirements) signed(required Attributes, provider Address, audits []Audit, now time.Time) error {
	by := func(auditor Address) bool {
		return slices.ContainsFunc(audits, func(a Audit) bool {
			live := a.ExpiresAt.IsZero() || now.Before(a.ExpiresAt)
			_, all := required.in(a.Attributes)
			return a.ID == AuditID{provider, auditor} && live && all
		})
	}
	for _, auditor := range r.SignedBy.AllOf {
		if !by(auditor) {
			return Refuse(ErrMismatch, "bid-signed-by-all", "auditor %s has not signed the attributes of provider %s", auditor, provider)
		}
	}
	if len(r.SignedBy.AnyOf) > 0 && !slices.ContainsFunc(r.SignedBy.AnyOf, by) {
		return Refuse(ErrMismatch, "bid-signed-by-any", "no auditor asked for has signed the attributes of provider %s", provider)
	}
	return nil
}

// in reports whether every attribute is found in have, and the first that is
// not.
func (as Attributes) in(have Attributes) (Attribute, bool) {
	for _, a := range as {
		if !a.in(have, "") {
			return a, false
		}
	}
	return Attribute{}, true
}

// in reports whether have has the attribute under a prefix.
func (a Attribute) in(have Attributes, prefix string) bool {
	return slices.ContainsFunc(have, func(h Attribute) bool {
		k, ok := strings.CutPrefix(h.Key, prefix)
		return ok && h.Value == a.Value && keyMatches(a.Key, k)
	})
}

// keyMatches matches a key with a pattern, part by part between slashes. A part
// of the pattern may hold one "*", which stands for anything in that place. It
// takes one pass: both come from strangers.
func keyMatches(pattern, k string) bool {
	for {
		want, restPattern, morePattern := strings.Cut(pattern, "/")
		have, restKey, moreKey := strings.Cut(k, "/")
		head, tail, star := strings.Cut(want, "*")
		switch {
		case !star && want != have:
			return false
		case star && (len(have) < len(head)+len(tail) || !strings.HasPrefix(have, head) || !strings.HasSuffix(have, tail)):
			return false
		case !morePattern || !moreKey:
			return morePattern == moreKey
		}
		pattern, k = restPattern, restKey
	}
}

// storesOf returns the kinds of storage a provider states, each with its
// attributes without the prefix.
func storesOf(have Attributes) map[string]Attributes {
	stores := make(map[string]Attributes)
	for _, h := range have {
		rest, ok := strings.CutPrefix(h.Key, CapabilityStorage)
		if number, k, more := strings.Cut(rest, "/"); ok && more {
			stores[number] = append(stores[number], Attribute{k, h.Value})
		}
	}
	return stores
}

// storedIn reports whether one of the stores has all that a volume asks for.
func storedIn(v Volume, stores map[string]Attributes) bool {
	if len(v.Attributes) == 0 {
		return true
	}
	for _, store := range stores {
		if _, ok := v.Attributes.in(store); ok {
			return true
		}
	}
	return false
}

func gpuIn(want, have Attributes) bool {
	return len(want) == 0 || slices.ContainsFunc(want, func(a Attribute) bool { return a.in(have, CapabilityGPU) })
}
