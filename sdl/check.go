package sdl

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/moorage-dev/moorage/sdl/manifest"
)

// checker judges a whole document: what one place says against the rules and
// against other places. It works on a document built in Go as well.
type checker struct {
	*reporter
	doc *Document
	// services, compute, placement and endpoints find entries by name.
	services, compute, placement, endpoints nameIndex
	// order lists the deployments by name of the service.
	order []int
	// shapeErrors is how many errors the decoder found: rules about what is
	// absent stay silent then.
	shapeErrors int

	usedServices, usedCompute, usedEndpoints []bool
	// badCompute marks profiles in use whose amounts were reported.
	badCompute []bool
	// undefined is set when a deployed service does not exist.
	undefined bool
	totals    []groupTotals // by placement
	// prices finds the prices of each placement, made when first used.
	prices []nameIndex
	ports  map[portKey]portUse
	hosts  map[string]string
	denom  string
	global bool
}

func newChecker(r *reporter, doc *Document) *checker {
	return &checker{
		reporter: r, doc: doc, shapeErrors: r.errors,
		services:      indexNames(doc.Services, func(s *Service) string { return s.Name }),
		compute:       indexNames(doc.Compute, func(p *ComputeProfile) string { return p.Name }),
		placement:     indexNames(doc.Placement, func(p *PlacementProfile) string { return p.Name }),
		endpoints:     indexNames(doc.Endpoints, func(e *Endpoint) string { return e.Name }),
		order:         doc.deploymentOrder(),
		usedServices:  make([]bool, len(doc.Services)),
		usedCompute:   make([]bool, len(doc.Compute)),
		badCompute:    make([]bool, len(doc.Compute)),
		usedEndpoints: make([]bool, len(doc.Endpoints)),
		totals:        make([]groupTotals, len(doc.Placement)),
		prices:        make([]nameIndex, len(doc.Placement)),
	}
}

// nameIndex finds the position of a name in a list.
type nameIndex struct {
	names []string
	byKey map[string]int
}

// smallIndex is up to how many names are searched one by one.
const smallIndex = 8

func indexNames[T any](list []T, name func(*T) string) nameIndex {
	if len(list) == 0 {
		return nameIndex{}
	}
	x := nameIndex{}
	if len(list) > smallIndex {
		x.byKey = make(map[string]int, len(list))
		for i := range list {
			x.byKey[name(&list[i])] = i
		}
		return x
	}
	x.names = make([]string, len(list))
	for i := range list {
		x.names[i] = name(&list[i])
	}
	return x
}

// made reports whether the index was filled.
func (x *nameIndex) made() bool { return x.byKey != nil || x.names != nil }

func (x *nameIndex) find(name string) (int, bool) {
	if x.byKey != nil {
		i, ok := x.byKey[name]
		return i, ok
	}
	for i, n := range x.names {
		if n == name {
			return i, true
		}
	}
	return 0, false
}

// all lists the names, for suggestions.
func (x *nameIndex) all() []string {
	if x.byKey == nil {
		return x.names
	}
	names := make([]string, 0, len(x.byKey))
	for n := range x.byKey {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// deploymentOrder lists the deployments by name of the service.
func (d *Document) deploymentOrder() []int {
	order := make([]int, len(d.Deployment))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(d.Deployment[a].Service, d.Deployment[b].Service) })
	return order
}

// placementOrder lists the placements of a deployment by name.
func (d *Deployment) sortedPlacements() []ServicePlacement {
	byName := func(a, b ServicePlacement) int { return cmp.Compare(a.Placement, b.Placement) }
	if slices.IsSortedFunc(d.Placements, byName) {
		return d.Placements
	}
	list := slices.Clone(d.Placements)
	slices.SortFunc(list, byName)
	return list
}

func (c *checker) run() {
	if size := c.manifestSize(); size > manifest.MaxEncodedBytes {
		c.add(problem{
			rule: ruleLimitManifest, pos: c.rootPos("deployment"), path: "deployment",
			msg: fmt.Sprintf("the manifest would have about %d bytes; at most %d", size, manifest.MaxEncodedBytes),
		})
		return
	}
	if c.doc.fromGo {
		c.built()
	}
	for i := range c.doc.Compute {
		c.profile(&c.doc.Compute[i])
	}
	for i := range c.doc.Placement {
		c.placementProfile(&c.doc.Placement[i])
	}
	for i := range c.doc.Endpoints {
		c.endpoint(&c.doc.Endpoints[i])
	}
	c.endpointClashes()
	for i := range c.doc.Services {
		c.acceptSyntax(&c.doc.Services[i])
	}
	for _, i := range c.order {
		c.deployment(&c.doc.Deployment[i])
	}
	c.groups()
	c.absent()
}

// deployment checks one service and everywhere it runs.
func (c *checker) deployment(dep *Deployment) {
	if len(dep.Placements) == 0 {
		c.add(problem{
			rule: ruleEmptyDeployment, lax: true, pos: c.posOr(dep.node, dep.Pos), path: joinPath("deployment", dep.Service),
			msg: "the service is deployed nowhere: add a placement with profile and count",
		})
		return
	}
	si, ok := c.services.find(dep.Service)
	if !ok {
		c.undefined = true
		c.add(problem{
			rule: ruleServiceUndefined, pos: dep.Pos, path: joinPath("deployment", dep.Service),
			msg: "no service is named " + quote(dep.Service), suggestion: c.near(dep.Service, &c.services),
		})
	} else if !c.usedServices[si] {
		c.usedServices[si] = true
		c.service(&c.doc.Services[si])
	}
	for i := range dep.Placements {
		var svc *Service
		if ok {
			svc = &c.doc.Services[si]
		}
		c.pair(dep, svc, &dep.Placements[i])
	}
}

// pair checks a service in one placement. svc is nil when there is none.
func (c *checker) pair(dep *Deployment, svc *Service, p *ServicePlacement) {
	if svc != nil {
		c.hostnames(svc)
		c.leasedIPs(svc)
	}
	ci, okCompute := c.compute.find(p.Profile)
	if !okCompute {
		c.add(problem{
			rule: ruleProfileUndefined, pos: c.posOf(p.node, "profile", p.Pos), path: joinPath("deployment", dep.Service, p.Placement, "profile"),
			msg: "no compute profile is named " + quote(p.Profile), suggestion: c.near(p.Profile, &c.compute),
		})
	} else if !c.usedCompute[ci] {
		c.usedCompute[ci] = true
		before := c.errors
		c.usedProfile(&c.doc.Compute[ci])
		c.badCompute[ci] = c.errors > before
	}
	pi, okPlacement := c.placement.find(p.Placement)
	if !okPlacement {
		c.add(problem{
			rule: rulePlacementUndefined, pos: p.Pos, path: joinPath("deployment", dep.Service, p.Placement),
			msg: "no placement profile is named " + quote(p.Placement), suggestion: c.near(p.Placement, &c.placement),
		})
	}
	if okCompute && svc != nil {
		c.mounts(svc, &c.doc.Compute[ci])
	}
	if okPlacement {
		c.totals[pi].used = true
		c.totals[pi].incomplete = c.totals[pi].incomplete || !okCompute
	}
	if okCompute && okPlacement {
		c.totals[pi].incomplete = c.totals[pi].incomplete || c.badCompute[ci]
		c.accumulate(svc, p, pi, &c.doc.Compute[ci])
		c.usedPrice(pi, dep, p)
	}
	c.count(dep, p)
}

func (c *checker) count(dep *Deployment, p *ServicePlacement) {
	pos := func() Pos { return c.posOf(p.node, "count", p.Pos) }
	path := func() string { return joinPath("deployment", dep.Service, p.Placement, "count") }
	switch {
	case p.Count == 0:
		c.add(problem{rule: ruleCountZero, lax: true, pos: pos(), path: path(), msg: "no replica is asked for", allowed: rangeText(1, MaxReplicas)})
	case p.Count > MaxReplicas:
		c.add(problem{
			rule: ruleReplicasLimit, lax: true, pos: pos(), path: path(), allowed: rangeText(1, MaxReplicas),
			msg: fmt.Sprintf("%d replicas; the market names a limit that the reference does not enforce", p.Count),
		})
	}
}

// absent reports what should be there or is there for nothing.
func (c *checker) absent() {
	for i := range c.doc.Services {
		if s := &c.doc.Services[i]; !c.usedServices[i] {
			c.add(problem{
				rule: ruleServiceUnused, lax: true, pos: s.Pos, path: joinPath("services", s.Name),
				msg: "the service is not deployed", suggestion: c.nearDeployment(s.Name),
			})
		}
	}
	for i := range c.doc.Compute {
		if p := &c.doc.Compute[i]; !c.usedCompute[i] {
			c.add(problem{rule: ruleProfileUnused, lax: true, pos: p.Pos, path: joinPath("profiles", "compute", p.Name), msg: "no service uses the profile"})
		}
	}
	for i := range c.doc.Placement {
		if p := &c.doc.Placement[i]; !c.totals[i].used {
			c.add(problem{rule: ruleProfileUnused, lax: true, pos: p.Pos, path: joinPath("profiles", "placement", p.Name), msg: "no service runs in the placement"})
		}
	}
	if c.shapeErrors > 0 || c.undefined {
		return // what is missing may be in what could not be read
	}
	for i := range c.doc.Endpoints {
		if e := &c.doc.Endpoints[i]; !c.usedEndpoints[i] {
			c.add(problem{rule: ruleEndpointUnused, pos: e.Pos, path: joinPath("endpoints", e.Name), msg: "the endpoint is declared but no port uses it"})
		}
	}
	switch {
	case !c.anyPlacement():
		c.add(problem{rule: ruleNoDeployment, pos: c.rootPos("deployment"), path: "deployment", msg: "nothing is deployed"})
	case !c.global:
		c.add(problem{
			rule: ruleNoGlobalService, pos: c.rootPos("services"), path: "services",
			msg: "no service has a port that is open to the world: add global: true under to",
		})
	}
}

func (c *checker) anyPlacement() bool {
	return slices.ContainsFunc(c.doc.Deployment, func(d Deployment) bool { return len(d.Placements) > 0 })
}

func (c *checker) nearDeployment(name string) string {
	best := ""
	for i := range c.doc.Deployment {
		if i > maxSuggestNames || c.full {
			break
		}
		dep := c.doc.Deployment[i].Service
		if _, ok := c.services.find(dep); !ok && suggestWord(dep, name) != "" {
			best = "deployment." + dep + " to be " + name
		}
	}
	return best
}

// maxSuggestNames bounds the names compared for a suggestion.
const maxSuggestNames = 100

// near returns the name of the list that is nearest to s.
func (c *checker) near(s string, x *nameIndex) string {
	if len(x.byKey) > maxSuggestNames || c.full {
		return ""
	}
	best := ""
	for _, name := range x.all() {
		if w := suggestWord(s, name); w != "" && (best == "" || editDistance(s, w) < editDistance(s, best)) {
			best = w
		}
	}
	return best
}

// posOf returns where the value of a key of a mapping stands, else of.
func (c *checker) posOf(n int32, key string, or Pos) Pos {
	if c.doc.tree == nil || n == 0 || c.full {
		return or
	}
	if v := c.doc.tree.child(n, key); v != 0 {
		return c.doc.tree.pos(v)
	}
	return or
}

// posItem returns where the i-th item of a list under key stands.
func (c *checker) posItem(n int32, key string, i int, or Pos) Pos {
	if c.doc.tree == nil || n == 0 || c.full {
		return or
	}
	v := c.doc.tree.child(n, key)
	if v == 0 {
		return or
	}
	if it := c.doc.tree.item(v, i); it != 0 {
		return c.doc.tree.pos(it)
	}
	return or
}

func (c *checker) posOr(n int32, or Pos) Pos {
	if c.doc.tree == nil || n == 0 {
		return or
	}
	return c.doc.tree.pos(n)
}

func (c *checker) rootPos(key string) Pos {
	if c.doc.tree == nil {
		return Pos{}
	}
	t := c.doc.tree
	for v := t.at(t.root).first; v != 0; v = t.at(v).next {
		if t.at(t.at(v).key).value == key {
			return t.pos(t.at(v).key)
		}
	}
	return t.pos(t.root)
}

func rangeText(lo, hi uint64) string {
	return strconv.FormatUint(lo, 10) + ".." + strconv.FormatUint(hi, 10)
}
