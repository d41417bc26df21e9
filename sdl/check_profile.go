package sdl

import (
	"fmt"
	"strings"

	"github.com/moorage-dev/moorage/market"
)

// profile checks what holds for every compute profile, used or not.
func (c *checker) profile(p *ComputeProfile) {
	at := func(parts ...any) string {
		return joinPath(append([]any{"profiles", "compute", p.Name, "resources"}, parts...)...)
	}
	if len(p.Storage) > 1 {
		x := indexNames(p.Storage, func(v *Volume) string { return v.Name })
		for i := range p.Storage {
			v := &p.Storage[i]
			if j, _ := x.find(v.Name); j != i {
				c.add(problem{
					rule: ruleVolumeDuplicate, pos: c.posOf(v.node, "name", v.Pos), path: at("storage", i, "name"),
					msg: "two volumes are called " + quote(v.Name), allowed: "a name of its own for every volume; one without a name is called default",
				})
			}
		}
	}
	g := p.GPU
	if g == nil {
		return
	}
	if g.Units > 0 && g.Attributes == nil {
		c.add(problem{
			rule: ruleGPUVendorMissing, pos: c.posOr(g.node, p.Pos), path: at("gpu", "attributes"),
			msg: "cards need a vendor: add attributes: {vendor: {nvidia: []}} for any, or list models",
		})
	}
	if g.Attributes != nil {
		c.gpuModels(p, g.Attributes)
	}
}

func (c *checker) gpuModels(p *ComputeProfile, a *GPUAttributes) {
	seen := make(map[string]bool, len(a.Nvidia))
	for i := range a.Nvidia {
		m := &a.Nvidia[i]
		path := func(key ...any) string {
			return joinPath(append([]any{"profiles", "compute", p.Name, "resources", "gpu", "attributes", "vendor", "nvidia", i}, key...)...)
		}
		if m.Interface != "" && !isWord(m.Interface, gpuInterfaces) {
			c.add(problem{
				rule: ruleGPUInterface, pos: c.posOf(m.node, "interface", m.Pos), path: path("interface"),
				msg: "unknown interface " + quote(m.Interface), words: gpuInterfaces, suggestion: suggestWord(m.Interface, gpuInterfaces),
			})
		}
		key := m.key()
		if !validAttributeKey(key) {
			c.add(problem{
				rule: ruleGPUModel, pos: c.posOf(m.node, "model", m.Pos), path: path("model"), msg: "not the name of a model: " + quote(m.Model),
				allowed: "letters, digits and any of /._- | * alone for any model | at most 100 characters",
			})
		}
		if seen[key] {
			c.add(problem{rule: ruleGPUDuplicate, pos: m.Pos, path: path(), msg: "the model is listed twice"})
		}
		seen[key] = true
		if m.Model == "" {
			c.add(problem{rule: ruleGPUModelMissing, lax: true, pos: m.Pos, path: path(), msg: "no model is named: no provider can match", suggestion: `model: "*"`})
		}
	}
}

// validAttributeKey matches ^[a-zA-Z][\w/.\-]{1,126}[\w*]?$
func validAttributeKey(s string) bool {
	if len(s) < 2 || len(s) > 128 || !isLetter(s[0]) {
		return false
	}
	for i := 1; i < len(s); i++ {
		c := s[i]
		word := isLetter(c) || c >= '0' && c <= '9' || c == '_'
		last := i == len(s)-1
		inner := c == '/' || c == '.' || c == '-'
		switch {
		case word:
		case inner && i < 127:
		case c == '*' && last && i >= 2:
		default:
			return false
		}
	}
	return true
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// usedProfile checks the amounts of a profile that a service uses.
func (c *checker) usedProfile(p *ComputeProfile) {
	path := func(parts ...any) string {
		return joinPath(append([]any{"profiles", "compute", p.Name, "resources"}, parts...)...)
	}
	if !p.Resources {
		c.add(problem{rule: ruleMissingResources, pos: p.Pos, path: path(), msg: "the profile has no resources", words: resourcesKeys})
		return
	}
	missing := func(key string) {
		c.add(problem{rule: ruleMissingResources, pos: p.Pos, path: path(key), msg: "the profile has no " + key})
	}
	if p.CPU == nil {
		missing("cpu")
	} else {
		c.cpu(p)
	}
	if p.Memory == nil {
		missing("memory")
	} else if n := p.Memory.Bytes; n < MinMemoryBytes || n > MaxMemoryBytes {
		c.add(problem{
			rule: ruleMemoryRange, pos: c.posOf(p.Memory.node, "size", p.Pos), path: path("memory", "size"),
			msg: fmt.Sprintf("%s of memory is out of range", bytesText(n)), allowed: "1Mi..2Ti",
		})
	}
	if len(p.Storage) == 0 {
		missing("storage")
	}
	for i := range p.Storage {
		v := &p.Storage[i]
		if v.Bytes < MinVolumeBytes || v.Bytes > MaxVolumeBytes {
			c.add(problem{
				rule: ruleVolumeRange, pos: c.posOf(v.node, "size", v.Pos), path: path("storage", i, "size"),
				msg: fmt.Sprintf("%s of storage is out of range", bytesText(v.Bytes)), allowed: "5Mi..32Ti",
			})
		}
	}
	c.usedGPU(p, path)
}

func bytesText(n uint64) string {
	if n == 0 {
		return "no size, or 0 bytes,"
	}
	return fmt.Sprintf("%d bytes", n)
}

func (c *checker) cpu(p *ComputeProfile) {
	if n := p.CPU.MilliCores; n < MinMilliCores || n > MaxMilliCores {
		c.add(problem{
			rule: ruleCPURange, pos: c.posOf(p.CPU.node, "units", p.Pos), path: joinPath("profiles", "compute", p.Name, "resources", "cpu", "units"),
			msg: fmt.Sprintf("%d thousandths of a core is out of range", n), allowed: "10m..384",
		})
	}
	if len(p.CPU.Attributes) > 1 {
		c.add(problem{
			rule: ruleDuplicateKey, pos: c.posOf(p.CPU.node, "attributes", p.Pos), path: joinPath("profiles", "compute", p.Name, "resources", "cpu", "attributes"),
			msg: "the attribute " + quote(p.CPU.Attributes[0].Key) + " is there twice",
		})
	}
}

func (c *checker) usedGPU(p *ComputeProfile, path func(...any) string) {
	g := p.GPU
	switch {
	case g == nil:
	case g.Units > MaxGPUs:
		c.add(problem{
			rule: ruleGPURange, pos: c.posOf(g.node, "units", p.Pos), path: path("gpu", "units"),
			msg: fmt.Sprintf("%d cards is too many", g.Units), allowed: rangeText(0, MaxGPUs),
		})
	case g.Units == 0 && g.Attributes != nil:
		c.add(problem{
			rule: ruleGPUUnitsMissing, pos: c.posOf(g.node, "units", c.posOr(g.node, p.Pos)), path: path("gpu", "units"),
			msg: "attributes of a GPU without units", allowed: rangeText(1, MaxGPUs),
		})
	}
}

// placementProfile checks what holds for every placement, used or not.
func (c *checker) placementProfile(p *PlacementProfile) {
	for i := range p.Pricing {
		pr := &p.Pricing[i]
		if pr.unset {
			continue
		}
		path := func(key string) string { return joinPath("profiles", "placement", p.Name, "pricing", pr.Profile, key) }
		if err := market.ValidateDenom(pr.Price.Denom); err != nil {
			c.add(problem{
				rule: ruleDenom, pos: c.posOf(pr.node, "denom", pr.Pos), path: path("denom"), msg: "not a denomination: " + quote(pr.Price.Denom),
				allowed: "a letter, then 2 to 127 letters, digits or any of /:._- | for example uact",
			})
		}
		if pr.Price.AmountPerBlock.IsZero() {
			c.add(problem{rule: rulePriceRange, pos: c.posOf(pr.node, "amount", pr.Pos), path: path("amount"), msg: "the price is 0"})
		}
	}
	for _, a := range p.Attributes {
		if !validAttributeKey(a.Key) {
			c.add(problem{
				rule: ruleAttributeKey, lax: true, pos: c.posIn(p.node, "attributes", a.Key, p.Pos), path: joinPath("profiles", "placement", p.Name, "attributes", a.Key),
				msg: "no provider can have an attribute called " + quote(a.Key), allowed: "a letter, then 1 to 127 letters, digits or any of _/.-",
			})
		}
	}
}

// usedPrice checks the price of a profile where it is used.
func (c *checker) usedPrice(pi int, dep *Deployment, p *ServicePlacement) {
	pl := &c.doc.Placement[pi]
	path := func(key ...any) string {
		return joinPath(append([]any{"profiles", "placement", pl.Name, "pricing", p.Profile}, key...)...)
	}
	var pr *ProfilePrice
	if !c.prices[pi].made() {
		c.prices[pi] = pl.priceIndex()
	}
	if i, ok := c.prices[pi].find(p.Profile); ok {
		pr = &pl.Pricing[i]
	}
	if pr == nil || pr.unset {
		c.add(problem{
			rule: rulePriceMissing, pos: c.posOf(pl.node, "pricing", pl.Pos), path: path(),
			msg: "service " + quote(dep.Service) + " runs profile " + quote(p.Profile) + " here, but it has no price", suggestion: c.nearPrice(pl, p.Profile),
		})
		return
	}
	if pr.Price.AmountPerBlock.Cmp(market.NewDecimal(MaxPrice)) > 0 {
		c.add(problem{
			rule: rulePriceRange, pos: c.posOf(pr.node, "amount", pr.Pos), path: path("amount"),
			msg: "the price is too high", allowed: fmt.Sprintf("more than 0, at most %d", MaxPrice) + " | per replica and block",
		})
	}
	if c.denom == "" {
		c.denom = pr.Price.Denom
	} else if c.denom != pr.Price.Denom {
		c.add(problem{
			rule: ruleDenomMixed, pos: c.posOf(pr.node, "denom", pr.Pos), path: path("denom"),
			msg: "a price in " + quote(pr.Price.Denom) + " beside one in " + quote(c.denom) + "; a document has one denomination", suggestion: clip(c.denom),
		})
	}
}

// priceIndex finds prices by profile.
func (p *PlacementProfile) priceIndex() nameIndex {
	return indexNames(p.Pricing, func(pr *ProfilePrice) string { return pr.Profile })
}

func (c *checker) nearPrice(pl *PlacementProfile, profile string) string {
	for i := range pl.Pricing {
		if name := pl.Pricing[i].Profile; i < maxSuggestNames && !c.full && suggestWord(name, profile) != "" && !strings.Contains(profile, " ") {
			if _, ok := c.compute.find(name); !ok {
				return "pricing." + clip(name) + " to be " + clip(profile)
			}
		}
	}
	return ""
}
