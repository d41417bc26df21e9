package sdl

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// Mode is how strict the compiler is.
type Mode uint8

const (
	// ModeCompatible accepts what the reference compiler accepts. What that
	// silently ignores or misreads is a warning.
	ModeCompatible Mode = iota
	// ModeStrict makes those warnings errors.
	ModeStrict
)

// Options are the optional extras of [Parse] and [Compile]. The zero value is
// usable.
type Options struct {
	// File names the source in diagnostics.
	File string
	// Mode is [ModeCompatible] by default.
	Mode Mode
	// Limits lowers the bounds on the text; nil stands for the defaults.
	Limits *Limits
}

// Limits are bounds that a caller wants lower than the default. 0 stands for
// the default; a value over the default counts as the default.
type Limits struct {
	// Bytes is at most and by default [MaxBytes].
	Bytes int
	// Nodes is at most and by default [MaxNodes].
	Nodes int
}

// Result is what a document compiles to.
type Result struct {
	// Hash is the version of the manifest, see [manifest.Manifest.Version].
	Hash market.Hash
	// Groups are sorted by name; there is at least one.
	Groups []market.GroupSpec
	// Manifest has the same groups in the same order.
	Manifest manifest.Manifest
	// Diagnostics are the warnings, by place.
	Diagnostics Diagnostics
	// Reclamation is the notice that the tenant asks for, 0 for none.
	Reclamation time.Duration
	// Document is what was compiled.
	Document *Document
}

// Compile reads a document in YAML or JSON and makes group specs and a manifest
// of it. The error is a [Diagnostics] with all problems, warnings included. The
// result shares memory with nothing of the caller's. Compile is safe for
// concurrent use.
func Compile(src []byte, o Options) (*Result, error) {
	r := &reporter{file: o.File, mode: o.Mode}
	doc := r.parse(src, o)
	if doc == nil || r.errors > 0 && r.full {
		return nil, r.sorted()
	}
	return doc.compile(r)
}

// Parse reads a document without compiling it. It checks the shape, not what
// the parts say about each other. The error is a [Diagnostics]; warnings alone
// are no error and are not returned.
func Parse(src []byte, o Options) (*Document, error) {
	r := &reporter{file: o.File, mode: o.Mode}
	doc := r.parse(src, o)
	if doc == nil || r.errors > 0 {
		return nil, r.sorted()
	}
	return doc, nil
}

// Compile checks the document and makes group specs and a manifest of it. The
// error is a [Diagnostics]. The document is not changed; the result may share
// its lists.
func (d *Document) Compile(o Options) (*Result, error) {
	r := &reporter{file: o.File, mode: o.Mode}
	own := d.normalized()
	own.dialect, _ = parseVersion(d.Version)
	if own.dialect == 0 {
		r.add(problem{rule: ruleUnsupportedVersion, path: "version", msg: "unsupported version " + quote(d.Version), words: versionNames})
		own.dialect = Dialect20
	}
	own.fromGo = true
	return own.compile(r)
}

func (d *Document) compile(r *reporter) (*Result, error) {
	newChecker(r, d).run()
	if r.errors > 0 {
		return nil, r.sorted()
	}
	b := builder{doc: d, services: indexNames(d.Services, func(s *Service) string { return s.Name })}
	b.compute = indexNames(d.Compute, func(p *ComputeProfile) string { return p.Name })
	b.placement = indexNames(d.Placement, func(p *PlacementProfile) string { return p.Name })
	res := &Result{Document: d}
	b.build(res)
	var err error
	if res.Hash, err = res.Manifest.Version(); err != nil {
		r.limit(ruleLimitManifest, 1, 1, "the manifest is larger than "+strconv.Itoa(manifest.MaxEncodedBytes)+" bytes")
		return nil, r.sorted()
	}
	if d.Reclamation != nil {
		res.Reclamation = d.Reclamation.MinWindow
	}
	res.Diagnostics = r.sorted()
	return res, nil
}

// builder makes groups of a document without errors.
type builder struct {
	doc                          *Document
	services, compute, placement nameIndex
	sequence                     map[string]uint32
	groups                       []group
	resources                    []market.Resources // by compute profile, made when first used
	prices                       []nameIndex        // by placement
	nextCases                    []string           // the default
}

// group is one placement in the making.
type group struct {
	spec     market.GroupSpec
	manifest manifest.Group
	tee      string
	// unitOf maps compute profiles to units in dialect 2.1.
	unitOf map[int]int
	// merged marks units of several services.
	merged []bool
	used   bool
}

func (b *builder) build(res *Result) {
	order := b.doc.deploymentOrder()
	b.sequence = b.sequenceNumbers(order)
	b.groups = make([]group, len(b.doc.Placement))
	b.resources = make([]market.Resources, len(b.doc.Compute))
	b.prices = make([]nameIndex, len(b.doc.Placement))
	b.nextCases = []string{"error", "timeout"}
	b.reserve()
	for _, di := range order {
		dep := &b.doc.Deployment[di]
		si, _ := b.services.find(dep.Service)
		for _, p := range dep.sortedPlacements() {
			pi, _ := b.placement.find(p.Placement)
			ci, _ := b.compute.find(p.Profile)
			b.add(&b.doc.Services[si], pi, ci, p)
		}
	}
	used := 0
	for i := range b.groups {
		if b.groups[i].used {
			used++
		}
	}
	res.Groups, res.Manifest = make([]market.GroupSpec, 0, used), make(manifest.Manifest, 0, used)
	for _, i := range b.groupOrder() {
		res.Groups = append(res.Groups, b.groups[i].spec)
		res.Manifest = append(res.Manifest, b.groups[i].manifest)
	}
}

// reserve makes room for the services of each group, to allocate once.
func (b *builder) reserve() {
	counts := make([]int, len(b.groups))
	for i := range b.doc.Deployment {
		for j := range b.doc.Deployment[i].Placements {
			if pi, ok := b.placement.find(b.doc.Deployment[i].Placements[j].Placement); ok {
				counts[pi]++
			}
		}
	}
	for i, n := range counts {
		if n > 0 {
			b.groups[i].manifest.Services = make([]manifest.Service, 0, n)
			b.groups[i].spec.Units = make([]market.ResourceUnit, 0, min(n, max(len(b.doc.Compute), 1)))
		}
	}
}

func (b *builder) groupOrder() []int {
	order := make([]int, 0, len(b.groups))
	for i := range b.groups {
		if b.groups[i].used {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(b.groups[i].spec.Name, b.groups[j].spec.Name) })
	return order
}

// sequenceNumbers numbers the leased addresses. The reference sorts one name
// for each entry of to, an empty one for those that are not global, and gives
// each name the place of its last occurrence: numbers skip.
func (b *builder) sequenceNumbers(order []int) map[string]uint32 {
	uses := 0
	b.eachTarget(order, func(to *ExposeTo) {
		if to.IP != "" {
			uses++
		}
	})
	if uses == 0 {
		return nil
	}
	names := make([]string, 0, uses)
	b.eachTarget(order, func(to *ExposeTo) {
		if !to.Global || to.IP != "" {
			names = append(names, to.IP)
		}
	})
	slices.Sort(names)
	numbers := make(map[string]uint32, uses)
	for i, name := range names {
		numbers[name] = uint32(i + 1)
	}
	return numbers
}

func (b *builder) eachTarget(order []int, visit func(*ExposeTo)) {
	for _, i := range order {
		si, ok := b.services.find(b.doc.Deployment[i].Service)
		if !ok {
			continue
		}
		s := &b.doc.Services[si]
		for j := range s.Expose {
			for k := range s.Expose[j].To {
				visit(&s.Expose[j].To[k])
			}
		}
	}
}

// add puts a service into the group of a placement.
func (b *builder) add(s *Service, pi, ci int, p ServicePlacement) {
	pl, g := &b.doc.Placement[pi], &b.groups[pi]
	if !g.used {
		g.used = true
		b.prices[pi] = pl.priceIndex()
		g.spec.Name, g.manifest.Name = pl.Name, pl.Name
		g.spec.Requirements = market.Requirements{SignedBy: pl.SignedBy, Attributes: pl.Attributes}
	}
	if s.Params != nil && s.Params.TEE != "" && g.tee == "" {
		g.tee = s.Params.TEE
		g.spec.Requirements.Attributes = withAttribute(pl.Attributes, market.Attribute{Key: teeAttribute, Value: g.tee})
	}
	exposes := b.exposes(s)
	endpoints := make([]market.Endpoint, 0, endpointCount(exposes))
	for i := range exposes {
		endpoints = exposes[i].AppendEndpoints(endpoints)
	}
	res := *b.profile(ci)
	res.Endpoints = endpoints
	res.ID = g.unit(b.doc.Dialect(), ci, res, b.price(pi, p.Profile), p.Count)
	g.manifest.Services = append(g.manifest.Services, manifest.Service{
		Name: s.Name, Image: s.Image, Command: s.Command, Args: s.Args, Env: s.Env,
		Resources: res, Count: p.Count, Expose: exposes, Params: s.Params.manifest(),
		Credentials: s.Credentials.manifest(b.doc.Dialect()),
	})
}

func endpointCount(list []manifest.Expose) int {
	n := 0
	for i := range list {
		if list[i].Global {
			n++
			if list[i].IP != "" {
				n++
			}
		}
	}
	return n
}

// unit adds replicas to the group and returns the number of their unit.
func (g *group) unit(dialect Dialect, ci int, res market.Resources, price market.Price, count uint32) uint32 {
	if dialect == Dialect21 {
		if i, ok := g.unitOf[ci]; ok {
			u := &g.spec.Units[i]
			u.Count += count
			sorted := len(u.Endpoints)
			if !g.merged[i] {
				// Those of one service are not sorted, and the manifest has them too.
				g.merged[i], sorted = true, 0
				u.Endpoints = slices.Clone(u.Endpoints)
			}
			u.Endpoints = append(u.Endpoints, res.Endpoints...)
			sortEndpoints(u.Endpoints, sorted)
			return u.ID
		}
		if g.unitOf == nil {
			g.unitOf = make(map[int]int)
		}
		g.unitOf[ci] = len(g.spec.Units)
		g.merged = append(g.merged, false)
	}
	res.ID = uint32(len(g.spec.Units) + 1)
	res.Endpoints = slices.Clip(res.Endpoints)
	g.spec.Units = append(g.spec.Units, market.ResourceUnit{Resources: res, Count: count, Price: price})
	return res.ID
}

func (b *builder) price(pi int, profile string) market.Price {
	if i, ok := b.prices[pi].find(profile); ok {
		return b.doc.Placement[pi].Pricing[i].Price
	}
	return market.Price{}
}

// profile returns the resources of a compute profile without endpoints.
func (b *builder) profile(ci int) *market.Resources {
	r := &b.resources[ci]
	if r.Storage != nil {
		return r
	}
	p := &b.doc.Compute[ci]
	r.CPU = market.CPU{MilliCores: uint64(p.CPU.MilliCores), Attributes: p.CPU.Attributes}
	r.Memory.Bytes = p.Memory.Bytes
	if p.GPU != nil {
		r.GPU = market.GPU{Units: p.GPU.Units, Attributes: p.GPU.Attributes.market()}
	}
	volumes := p.Storage
	if len(volumes) > 1 {
		volumes = slices.Clone(volumes)
		sortVolumes(volumes)
	}
	r.Storage = make([]market.Volume, len(volumes))
	for i := range volumes {
		r.Storage[i] = market.Volume{Name: volumes[i].Name, Bytes: volumes[i].Bytes, Attributes: volumes[i].Attributes.market()}
	}
	return r
}

// market returns the attributes of a volume, sorted by key.
func (a *VolumeAttributes) market() market.Attributes {
	if a == nil {
		return nil
	}
	persistent := market.Attribute{Key: "persistent", Value: strconv.FormatBool(a.Persistent)}
	if a.Class == "" {
		return market.Attributes{persistent}
	}
	return market.Attributes{{Key: "class", Value: a.Class}, persistent}
}

// market returns one attribute for each model, sorted by key.
func (a *GPUAttributes) market() market.Attributes {
	if a == nil {
		return nil
	}
	if len(a.Nvidia) == 0 {
		return market.Attributes{{Key: "vendor/nvidia/model/*", Value: "true"}}
	}
	list := make(market.Attributes, len(a.Nvidia))
	for i := range a.Nvidia {
		list[i] = market.Attribute{Key: a.Nvidia[i].key(), Value: "true"}
	}
	slices.SortFunc(list, func(a, b market.Attribute) int { return strings.Compare(a.Key, b.Key) })
	return list
}

// key is the attribute that a provider with the model has.
func (m *GPUModel) key() string {
	key := "vendor/nvidia/model/" + m.Model
	if m.RAM != nil {
		key += "/ram/" + strconv.FormatUint(*m.RAM>>30, 10) + "Gi"
	}
	if m.Interface != "" {
		key += "/interface/" + m.Interface
	}
	return key
}

// exposes lists one port for each target.
func (b *builder) exposes(s *Service) []manifest.Expose {
	n := 0
	for i := range s.Expose {
		n += max(1, len(s.Expose[i].To))
	}
	list := make([]manifest.Expose, 0, n)
	for i := range s.Expose {
		e := &s.Expose[i]
		proto, _ := protocol(e.Proto)
		out := manifest.Expose{Port: e.Port, ExternalPort: e.As, Proto: proto, Hosts: e.Accept, HTTPOptions: e.HTTPOptions.manifest(b.nextCases)}
		if len(e.To) == 0 {
			list = append(list, out)
		}
		for j := range e.To {
			out.Service, out.Global, out.IP = e.To[j].Service, e.To[j].Global, e.To[j].IP
			out.EndpointSequenceNumber = 0
			if out.Global && out.IP != "" {
				out.EndpointSequenceNumber = b.sequence[out.IP]
			}
			list = append(list, out)
		}
	}
	sortExposes(list)
	return list
}

// manifest fills in the defaults; usual are the next cases.
func (o *HTTPOptions) manifest(usual []string) manifest.HTTPOptions {
	cases := o.NextCases
	if len(cases) == 0 {
		cases = usual
	}
	return manifest.HTTPOptions{
		MaxBodySize:     cmp.Or(o.MaxBodySize, DefaultBodySize),
		ReadTimeout:     cmp.Or(o.ReadTimeout, DefaultReadTimeout),
		SendTimeout:     cmp.Or(o.SendTimeout, DefaultSendTimeout),
		NextTries:       cmp.Or(o.NextTries, DefaultNextTries),
		NextTimeout:     o.NextTimeout,
		NextCases:       cases,
		ProxyBufferSize: o.ProxyBufferSize,
	}
}

func (p *Params) manifest() *manifest.Params {
	if p == nil {
		return nil
	}
	out := &manifest.Params{}
	if len(p.Storage) > 0 {
		out.Storage = make([]manifest.StorageParams, len(p.Storage))
		for i, m := range p.Storage {
			out.Storage[i] = manifest.StorageParams{Name: m.Volume, Mount: m.Path, ReadOnly: m.ReadOnly}
		}
		slices.SortFunc(out.Storage, func(a, b manifest.StorageParams) int { return strings.Compare(a.Name, b.Name) })
	}
	if p.Permissions != nil {
		out.Permissions = &manifest.Permissions{Read: p.Permissions.Read}
	}
	if p.TEE != "" {
		out.TEE = &manifest.TEE{Type: p.TEE, Attestation: true}
	}
	return out
}

// manifest copies the credentials. Version 2.0 drops the email address, 2.1
// trims white space.
func (c *Credentials) manifest(dialect Dialect) *manifest.Credentials {
	switch {
	case c == nil:
		return nil
	case dialect == Dialect20:
		return &manifest.Credentials{Host: c.Host, Username: c.Username, Password: c.Password}
	}
	return &manifest.Credentials{
		Host: strings.TrimSpace(c.Host), Email: strings.TrimSpace(c.Email),
		Username: strings.TrimSpace(c.Username), Password: strings.TrimSpace(c.Password),
	}
}
