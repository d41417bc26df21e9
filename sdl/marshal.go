package sdl

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/moorage-dev/moorage/market"
)

// Marshal writes the document as YAML that compiles to the same groups, the
// same manifest and the same hash. Comments of a parsed text are not kept; see
// [Format] for that. Secrets are written in clear. The document need not be
// valid. An error is one of the YAML library; none is known to happen.
func (d *Document) Marshal() ([]byte, error) {
	var b strings.Builder
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(d.yamlNode()); err != nil {
		return nil, fmt.Errorf("sdl: marshal: %w", err)
	}
	if err := enc.Close(); err != nil {
		return nil, fmt.Errorf("sdl: marshal: %w", err)
	}
	return []byte(b.String()), nil
}

// ymap is a mapping under construction.
type ymap struct{ *yaml.Node }

func newMap() ymap { return ymap{&yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}} }

func (m ymap) put(key string, value *yaml.Node) {
	if value != nil {
		m.Content = append(m.Content, textNode(key), value)
	}
}

// putMap adds a mapping unless it is empty.
func (m ymap) putMap(key string, value ymap) {
	if len(value.Content) > 0 {
		m.put(key, value.Node)
	}
}

// textNode writes text so that it is read as text.
func textNode(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	if resolvePlain(s, true).typ != textScalar || isWord(s, "y Y yes Yes YES on On ON n N no No NO off Off OFF <<") {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

func wordNode(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: s} }

func numberNode[T ~uint32 | ~uint64](v T) *yaml.Node {
	return wordNode(strconv.FormatUint(uint64(v), 10))
}

// optional returns nil for 0, which then is not written.
func optional(v uint32) *yaml.Node {
	if v == 0 {
		return nil
	}
	return numberNode(v)
}

func optionalText(s string) *yaml.Node {
	if s == "" {
		return nil
	}
	return textNode(s)
}

// listNode returns nil for nil and [] for an empty list.
func listNode[T ~string](list []T) *yaml.Node {
	if list == nil {
		return nil
	}
	n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	if len(list) == 0 {
		n.Style = yaml.FlowStyle
	}
	for _, s := range list {
		n.Content = append(n.Content, textNode(string(s)))
	}
	return n
}

func (d *Document) yamlNode() *yaml.Node {
	root := newMap()
	v := textNode(d.Version)
	v.Style = yaml.DoubleQuotedStyle
	root.put("version", v)
	root.put("include", listNode(d.Include))
	if d.Reclamation != nil {
		m := newMap()
		m.put("min_window", textNode(durationText(d.Reclamation)))
		root.put("reclamation", m.Node)
	}
	services := newMap()
	for i := range d.Services {
		services.put(d.Services[i].Name, d.Services[i].yamlNode())
	}
	root.putMap("services", services)
	root.putMap("profiles", d.profilesNode())
	deployment := newMap()
	for i := range d.Deployment {
		m := newMap()
		for _, p := range d.Deployment[i].Placements {
			e := newMap()
			e.put("profile", textNode(p.Profile))
			e.put("count", numberNode(p.Count))
			m.put(p.Placement, e.Node)
		}
		deployment.put(d.Deployment[i].Service, m.Node)
	}
	root.putMap("deployment", deployment)
	endpoints := newMap()
	for _, e := range d.Endpoints {
		m := newMap()
		m.put("kind", textNode(e.Kind))
		endpoints.put(e.Name, m.Node)
	}
	root.putMap("endpoints", endpoints)
	return root.Node
}

// durationText writes a whole number of the largest unit that fits.
func durationText(r *Reclamation) string {
	s := r.MinWindow.String()
	s = strings.TrimSuffix(s, "0s")
	if t, ok := strings.CutSuffix(s, "h0m"); ok {
		return t + "h"
	}
	if s == "" || s[len(s)-1] >= '0' && s[len(s)-1] <= '9' {
		return r.MinWindow.String()
	}
	return s
}

func (s *Service) yamlNode() *yaml.Node {
	m := newMap()
	m.put("image", optionalText(s.Image))
	m.put("command", listNode(s.Command))
	m.put("args", listNode(s.Args))
	m.put("env", listNode(s.Env))
	if len(s.Expose) > 0 {
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range s.Expose {
			list.Content = append(list.Content, s.Expose[i].yamlNode())
		}
		m.put("expose", list)
	}
	if len(s.Dependencies) > 0 {
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for _, name := range s.Dependencies {
			e := newMap()
			e.put("service", textNode(name))
			list.Content = append(list.Content, e.Node)
		}
		m.put("dependencies", list)
	}
	m.put("params", s.Params.yamlNode())
	if c := s.Credentials; c != nil {
		e := newMap()
		e.put("host", optionalText(c.Host))
		e.put("email", optionalText(c.Email))
		e.put("username", optionalText(c.Username))
		e.put("password", optionalText(c.Password))
		m.put("credentials", e.flowIfEmpty())
	}
	return m.flowIfEmpty()
}

// flowIfEmpty writes an empty mapping as {}.
func (m ymap) flowIfEmpty() *yaml.Node {
	if len(m.Content) == 0 {
		m.Style = yaml.FlowStyle
	}
	return m.Node
}

func (e *Expose) yamlNode() *yaml.Node {
	m := newMap()
	m.put("port", numberNode(e.Port))
	m.put("as", optional(e.As))
	m.put("proto", optionalText(e.Proto))
	m.put("accept", listNode(e.Accept))
	if len(e.To) > 0 {
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for _, to := range e.To {
			t := newMap()
			t.put("service", optionalText(to.Service))
			if to.Global {
				t.put("global", wordNode("true"))
			}
			t.put("ip", optionalText(to.IP))
			list.Content = append(list.Content, t.flowIfEmpty())
		}
		m.put("to", list)
	}
	o := newMap()
	o.put("max_body_size", optional(e.HTTPOptions.MaxBodySize))
	o.put("read_timeout", optional(e.HTTPOptions.ReadTimeout))
	o.put("send_timeout", optional(e.HTTPOptions.SendTimeout))
	o.put("next_tries", optional(e.HTTPOptions.NextTries))
	o.put("next_timeout", optional(e.HTTPOptions.NextTimeout))
	o.put("next_cases", listNode(e.HTTPOptions.NextCases))
	o.put("proxy_buffer_size", optional(e.HTTPOptions.ProxyBufferSize))
	m.putMap("http_options", o)
	return m.Node
}

func (p *Params) yamlNode() *yaml.Node {
	if p == nil {
		return nil
	}
	m, storage := newMap(), newMap()
	for _, v := range p.Storage {
		e := newMap()
		e.put("mount", textNode(v.Path))
		if v.ReadOnly {
			e.put("readOnly", wordNode("true"))
		}
		storage.put(v.Volume, e.Node)
	}
	m.putMap("storage", storage)
	if p.Permissions != nil {
		e := newMap()
		e.put("read", listNode(p.Permissions.Read))
		m.put("permissions", e.flowIfEmpty())
	}
	m.put("tee", optionalText(p.TEE))
	return m.flowIfEmpty()
}

func (d *Document) profilesNode() ymap {
	profiles, compute, placement := newMap(), newMap(), newMap()
	for i := range d.Compute {
		compute.put(d.Compute[i].Name, d.Compute[i].yamlNode())
	}
	for i := range d.Placement {
		placement.put(d.Placement[i].Name, d.Placement[i].yamlNode())
	}
	profiles.putMap("compute", compute)
	profiles.putMap("placement", placement)
	return profiles
}

func (p *ComputeProfile) yamlNode() *yaml.Node {
	m, r := newMap(), newMap()
	if p.CPU != nil {
		e := newMap()
		e.put("units", textNode(cpuText(p.CPU.MilliCores)))
		e.putMap("attributes", attributesNode(p.CPU.Attributes))
		r.put("cpu", e.Node)
	}
	if p.Memory != nil {
		e := newMap()
		e.put("size", textNode(sizeText(p.Memory.Bytes)))
		r.put("memory", e.Node)
	}
	if p.GPU != nil {
		r.put("gpu", p.GPU.yamlNode())
	}
	if len(p.Storage) > 0 {
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range p.Storage {
			list.Content = append(list.Content, p.Storage[i].yamlNode())
		}
		r.put("storage", list)
	}
	if p.Resources || len(r.Content) > 0 {
		m.put("resources", r.flowIfEmpty())
	}
	return m.flowIfEmpty()
}

// cpuText writes whole cores as such, else thousandths.
func cpuText(milli uint32) string {
	if milli%1000 == 0 && milli < 100_000_000 {
		return strconv.FormatUint(uint64(milli/1000), 10)
	}
	return strconv.FormatUint(uint64(milli), 10) + "m"
}

// sizeText writes bytes with the largest binary suffix that keeps them whole.
func sizeText(n uint64) string {
	for power, suffix := range [...]string{"Ei", "Pi", "Ti", "Gi", "Mi", "Ki"} {
		unit := uint64(1) << (60 - 10*power)
		if n != 0 && n%unit == 0 {
			return strconv.FormatUint(n/unit, 10) + suffix
		}
	}
	return strconv.FormatUint(n, 10)
}

func (g *GPU) yamlNode() *yaml.Node {
	m := newMap()
	m.put("units", numberNode(g.Units))
	if g.Attributes == nil {
		return m.Node
	}
	models := &yaml.Node{Kind: yaml.SequenceNode}
	for i := range g.Attributes.Nvidia {
		e, model := newMap(), &g.Attributes.Nvidia[i]
		e.put("model", optionalText(model.Model))
		if model.RAM != nil {
			e.put("ram", textNode(sizeText(*model.RAM)))
		}
		e.put("interface", optionalText(model.Interface))
		models.Content = append(models.Content, e.flowIfEmpty())
	}
	if len(models.Content) == 0 {
		models.Style = yaml.FlowStyle
	}
	vendor, attributes := newMap(), newMap()
	vendor.put(gpuVendors, models)
	attributes.put("vendor", vendor.Node)
	m.put("attributes", attributes.Node)
	return m.Node
}

func (v *Volume) yamlNode() *yaml.Node {
	m := newMap()
	m.put("name", optionalText(v.Name))
	m.put("size", textNode(sizeText(v.Bytes)))
	if v.Attributes != nil {
		m.put("attributes", v.Attributes.yamlNode())
	}
	return m.Node
}

// yamlNode writes the words that are read back as the same. Storage that is
// persistent without a class, or not persistent with one, has words of its own.
func (a *VolumeAttributes) yamlNode() *yaml.Node {
	m := newMap()
	persistent := wordNode(strconv.FormatBool(a.Persistent))
	switch {
	case a.Persistent && a.Class == "":
		persistent = textNode("yes")
	case !a.Persistent && a.Class != "" && a.Class != storageClassRAM:
		persistent = textNode("no")
	}
	m.put("persistent", persistent)
	m.put("class", optionalText(a.Class))
	return m.Node
}

func attributesNode(as market.Attributes) ymap {
	m := newMap()
	for _, a := range as {
		m.put(a.Key, textNode(a.Value))
	}
	return m
}

func (p *PlacementProfile) yamlNode() *yaml.Node {
	m, signed, pricing := newMap(), newMap(), newMap()
	m.putMap("attributes", attributesNode(p.Attributes))
	signed.put("allOf", listNode(p.SignedBy.AllOf))
	signed.put("anyOf", listNode(p.SignedBy.AnyOf))
	m.putMap("signedBy", signed)
	for i := range p.Pricing {
		pr := &p.Pricing[i]
		if pr.unset {
			pricing.put(pr.Profile, wordNode("null"))
			continue
		}
		e := newMap()
		e.put("denom", textNode(pr.Price.Denom))
		e.put("amount", textNode(pr.Price.AmountPerBlock.String()))
		pricing.put(pr.Profile, e.Node)
	}
	m.putMap("pricing", pricing)
	return m.flowIfEmpty()
}
