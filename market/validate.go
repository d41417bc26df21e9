package market

import (
	"net/url"
	"slices"
	"unicode"
	"unicode/utf8"
)

// MaxNameLength bounds the names of groups and volumes in bytes.
const MaxNameLength = 64

// MaxTextLength bounds a provider's URI, email and website and the value of an
// attribute, in bytes.
const MaxTextLength = 256

// MaxAttributeKeyLength bounds the key of an attribute in bytes.
const MaxAttributeKeyLength = 128

// Bounds on the attributes of one resource of a unit, whatever the limits of a
// market allow: each is compared with every attribute of a provider.
const (
	// MaxResourceAttributes is for CPU, memory and GPU; the longest lists are of
	// acceptable GPU models.
	MaxResourceAttributes = 64
	// MaxVolumeAttributes is for a volume; published documents use two.
	MaxVolumeAttributes = 8
)

// Validate checks the form of the ID. The error wraps [ErrInvalid].
func (id DeploymentID) Validate() error {
	if err := id.Owner.Validate(); err != nil {
		return err
	}
	if id.DSeq == 0 {
		return Refuse(ErrInvalid, "dseq-zero", "deployment of %s: dseq must be at least 1", id.Owner)
	}
	return nil
}

// Validate checks a group against the limits of a market. Every fault is a
// [RuleError]; the first is returned.
func (g GroupSpec) Validate(l Limits) error {
	if n, most := g.Size(), l.groupBytes(); n > most {
		return Refuse(ErrLimit, "group-bytes", "group %q has %d bytes, at most %d", clip(g.Name), n, most)
	}
	if g.Name == "" || !plainText(g.Name, MaxNameLength) {
		return Refuse(ErrInvalid, "group-name", "group %q: want 1 to %d bytes of text", clip(g.Name), MaxNameLength)
	}
	if n := len(g.Units); n == 0 || n > int(l.MaxUnitsPerGroup) {
		return Refuse(ErrLimit, "group-units", "group %q has %d units, want 1 to %d", g.Name, n, l.MaxUnitsPerGroup)
	}
	if err := g.Requirements.validate(l); err != nil {
		return err
	}
	if g.ReclaimBlocks < 0 {
		return Refuse(ErrInvalid, "group-reclaim", "group %q asks for a notice of %d blocks", g.Name, g.ReclaimBlocks)
	}
	seen := make(map[uint32]bool, len(g.Units))
	for _, u := range g.Units {
		if u.ID == 0 || seen[u.ID] {
			return Refuse(ErrInvalid, "unit-id", "group %q: unit id %d is zero or used twice", g.Name, u.ID)
		}
		seen[u.ID] = true
		if err := u.validate(l); err != nil {
			return err
		}
	}
	ceiling, err := g.atMost().Ceiling()
	if err != nil {
		return Refuse(ErrInvalid, "group-price", "%v", err)
	}
	if ceiling.AmountPerBlock.IsZero() {
		return Refuse(ErrInvalid, "group-price-zero", "group %q offers nothing", g.Name)
	}
	if err := ValidateDenom(ceiling.Denom); err != nil {
		return Refuse(ErrInvalid, "price-denom", "%v", err)
	}
	return nil
}

// plainText reports whether s is at most so many bytes of UTF-8 without control
// characters.
func plainText(s string, most int) bool {
	if len(s) > most || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return false
		}
	}
	return true
}

// atMost returns the group scaled up as far as it may be.
func (g GroupSpec) atMost() GroupSpec {
	g.Units = slices.Clone(g.Units)
	for i := range g.Units {
		_, g.Units[i].Count = g.Units[i].Bounds()
	}
	return g
}

func (u ResourceUnit) validate(l Limits) error {
	if low, high := u.Bounds(); low > u.Count || high < u.Count || low == 0 && u.Count > 0 {
		return Refuse(ErrInvalid, "unit-count-bounds", "unit %d has %d replicas, to be scaled from %d to %d", u.ID, u.Count, low, high)
	}
	_, most := u.Bounds()
	bounds := []struct {
		rule      string
		got       uint64
		low, high uint64
	}{
		{"unit-replicas", uint64(u.Count), 1, uint64(l.MaxReplicasPerUnit)},
		{"unit-replicas", uint64(most), 1, uint64(l.MaxReplicasPerUnit)},
		{"unit-cpu", u.CPU.MilliCores, 1, l.MaxMilliCores},
		{"unit-memory", u.Memory.Bytes, 1, l.MaxMemoryBytes},
		{"unit-gpus", u.GPU.Units, 0, l.MaxGPUs},
		{"unit-volumes", uint64(len(u.Storage)), 0, uint64(l.MaxVolumesPerUnit)},
		{"unit-endpoints", uint64(len(u.Endpoints)), 0, uint64(l.MaxEndpointsPerUnit)},
	}
	for _, b := range bounds {
		if b.got < b.low || b.got > b.high {
			return Refuse(ErrLimit, b.rule, "unit %d has %d, want %d to %d", u.ID, b.got, b.low, b.high)
		}
	}
	for _, as := range []Attributes{u.CPU.Attributes, u.Memory.Attributes, u.GPU.Attributes} {
		if err := as.Validate(min(int(l.MaxAttributes), MaxResourceAttributes)); err != nil {
			return err
		}
	}
	for _, e := range u.Endpoints {
		if e.Kind > EndpointLeasedIP {
			return Refuse(ErrInvalid, "endpoint-kind", "unit %d: %s", u.ID, e.Kind)
		}
	}
	return u.validateStorage(l)
}

func (u ResourceUnit) validateStorage(l Limits) error {
	var sum uint64
	var names []string
	for _, v := range u.Storage {
		if v.Name == "" || !plainText(v.Name, MaxNameLength) || slices.Contains(names, v.Name) {
			return Refuse(ErrInvalid, "volume-name", "unit %d: volume %q is unnamed, too long, no text or there twice", u.ID, clip(v.Name))
		}
		names = append(names, v.Name)
		if v.Bytes == 0 || v.Bytes > l.MaxStorageBytes || sum+v.Bytes > l.MaxStorageBytes {
			return Refuse(ErrLimit, "unit-storage", "unit %d: volume %q of %d bytes: want at least 1 and at most %d in all", u.ID, v.Name, v.Bytes, l.MaxStorageBytes)
		}
		sum += v.Bytes
		if err := v.Attributes.Validate(min(int(l.MaxAttributes), MaxVolumeAttributes)); err != nil {
			return err
		}
	}
	return nil
}

func (r Requirements) validate(l Limits) error {
	if n := len(r.SignedBy.AllOf) + len(r.SignedBy.AnyOf); n > int(l.MaxSigners) {
		return Refuse(ErrLimit, "group-signers", "%d signers, at most %d", n, l.MaxSigners)
	}
	for _, a := range slices.Concat(r.SignedBy.AllOf, r.SignedBy.AnyOf) {
		if err := a.Validate(); err != nil {
			return Refuse(ErrInvalid, "signer", "%v", err)
		}
	}
	if err := r.validateLists(int(l.MaxListed)); err != nil {
		return err
	}
	return r.Attributes.Validate(int(l.MaxAttributes))
}

// validateLists checks the lists of providers and data centres.
func (r Requirements) validateLists(most int) error {
	n := len(r.Providers.Allowed) + len(r.Providers.Excluded) + len(r.DataCenters.Allowed) + len(r.DataCenters.Excluded)
	if n > most {
		return Refuse(ErrLimit, "group-listed", "%d providers and data centres are listed, at most %d", n, most)
	}
	for _, a := range slices.Concat(r.Providers.Allowed, r.Providers.Excluded) {
		if err := a.Validate(); err != nil {
			return Refuse(ErrInvalid, "listed-provider", "%v", err)
		}
	}
	for _, d := range slices.Concat(r.DataCenters.Allowed, r.DataCenters.Excluded) {
		if d == "" || !plainText(d, MaxTextLength) {
			return Refuse(ErrInvalid, "listed-data-center", "%q: want 1 to %d bytes of text", clip(d), MaxTextLength)
		}
	}
	return nil
}

// Validate checks a list of attributes: at most so many, keys of 1 to
// [MaxAttributeKeyLength] letters, digits or any of "_/.-*" with at most one "*"
// between two slashes, each key once, values of at most [MaxTextLength] bytes of text. Each fault is a [RuleError].
func (as Attributes) Validate(most int) error {
	if len(as) > most {
		return Refuse(ErrLimit, "attributes", "%d attributes, at most %d", len(as), most)
	}
	seen := make(map[string]bool, len(as))
	for _, a := range as {
		if !attributeKey(a.Key) || seen[a.Key] {
			return Refuse(ErrInvalid, "attribute-key", "attribute %q is malformed or there twice", clip(a.Key))
		}
		seen[a.Key] = true
		if !plainText(a.Value, MaxTextLength) {
			return Refuse(ErrInvalid, "attribute-value", "attribute %q: want text of at most %d bytes", a.Key, MaxTextLength)
		}
	}
	return nil
}

func attributeKey(s string) bool {
	ok := s != "" && len(s) <= MaxAttributeKeyLength
	stars := 0
	for i := 0; ok && i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '.', c == '-':
		case c == '/':
			stars = 0
		case c == '*' && stars == 0:
			stars++
		default:
			ok = false
		}
	}
	return ok
}

// Validate checks a provider's facts against the limits of a market: an
// absolute https URI with a host and no path, bounded attributes and texts.
// Each fault is a [RuleError].
func (p Provider) Validate(l Limits) error {
	if err := p.Owner.Validate(); err != nil {
		return Refuse(ErrInvalid, "provider-address", "%v", err)
	}
	u, err := url.Parse(p.HostURI)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || len(p.HostURI) > MaxTextLength ||
		u.Path != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return Refuse(ErrInvalid, "provider-host-uri", "%q: want https, a host, perhaps a port, nothing else", clip(p.HostURI))
	}
	for _, text := range []string{p.Email, p.Website} {
		if !plainText(text, MaxTextLength) {
			return Refuse(ErrInvalid, "provider-info", "want text of at most %d bytes", MaxTextLength)
		}
	}
	return p.Attributes.Validate(int(l.MaxAttributes))
}
