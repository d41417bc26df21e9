package sdl

import "github.com/moorage-dev/moorage/sdl/manifest"

// The keys of each mapping of the grammar, parted by spaces. The decoder, the
// suggestions and the JSON Schema all use these.
const (
	rootKeys        = "version include services profiles deployment endpoints reclamation"
	serviceKeys     = "image command args env expose dependencies params credentials"
	exposeKeys      = "port as proto accept to http_options"
	exposeToKeys    = "service global ip http_options"
	httpOptionKeys  = "max_body_size read_timeout send_timeout next_tries next_timeout next_cases proxy_buffer_size"
	dependencyKeys  = "service"
	paramsKeys      = "storage permissions tee"
	mountKeys       = "mount readOnly"
	permissionKeys  = "read"
	credentialKeys  = "host email username password"
	profilesKeys    = "compute placement"
	computeKeys     = "resources"
	resourcesKeys   = "cpu memory gpu storage"
	cpuKeys         = "units attributes"
	cpuAttributes   = "arch"
	memoryKeys      = "size"
	gpuKeys         = "units attributes"
	gpuAttributes   = "vendor"
	gpuVendors      = "nvidia"
	gpuModelKeys    = "model ram interface"
	volumeKeys      = "name size attributes"
	volumeAttrKeys  = "persistent class"
	placementKeys   = "attributes signedBy pricing"
	signedByKeys    = "allOf anyOf"
	priceKeys       = "denom amount"
	deploymentKeys  = "profile count"
	endpointKeys    = "kind"
	reclamationKeys = "min_window"
)

// The values of enumerations, parted by spaces.
const (
	protocolNames   = "tcp udp"
	nextCaseNames   = manifest.NextCases
	teeNames        = "cpu cpu-gpu"
	permissionNames = "deployment logs events"
	gpuInterfaces   = "pcie sxm"
	storageClasses  = "default beta1 beta2 beta3 ram"
	booleanWords    = "true false on off yes no"
	endpointKinds   = "ip"
	versionNames    = "2.0 2.1"
)

func (d *decoder) services(n int32, doc *Document) {
	it, ok := d.fields(n, "", "a mapping of service names")
	if !ok {
		return
	}
	doc.Services = growTo(doc.Services, int(d.t.at(it.node).count))
	for it.next() {
		s := Service{Name: it.key, Pos: d.pos(it.keyNode)}
		d.service(it.value, &s)
		doc.Services = append(doc.Services, s)
	}
}

func growTo[T any](list []T, n int) []T {
	if list == nil && n > 0 {
		return make([]T, 0, n)
	}
	return list
}

func (d *decoder) service(n int32, s *Service) {
	it, ok := d.fields(n, serviceKeys, "a mapping with image, expose and so on")
	if !ok {
		return
	}
	s.node = it.node
	for it.next() {
		switch it.key {
		case "image":
			d.text(it.value, &s.Image)
		case "command":
			d.texts(it.value, &s.Command)
		case "args":
			d.texts(it.value, &s.Args)
		case "env":
			d.texts(it.value, &s.Env)
		case "expose":
			d.exposes(it.value, &s.Expose)
		case "dependencies":
			d.dependencies(it.value, &s.Dependencies)
		case "params":
			s.Params = d.params(it.value)
		case "credentials":
			s.Credentials = d.credentials(it.value)
		}
	}
}

func (d *decoder) exposes(n int32, dst *[]Expose) {
	it, ok := d.items(n, "a list of ports")
	if !ok {
		return
	}
	*dst = make([]Expose, 0, it.count)
	for it.next() {
		e := Expose{Pos: d.pos(it.value)}
		d.expose(it.value, &e)
		*dst = append(*dst, e)
	}
}

func (d *decoder) expose(n int32, e *Expose) {
	it, ok := d.fields(n, exposeKeys, "a mapping with port, as, to and so on")
	if !ok {
		e.Port = 1
		return
	}
	e.node = it.node
	for it.next() {
		switch it.key {
		case "port":
			d.uint32(it.value, &e.Port)
		case "as":
			d.uint32(it.value, &e.As)
		case "proto":
			d.text(it.value, &e.Proto)
		case "accept":
			d.texts(it.value, &e.Accept)
		case "to":
			d.exposeTos(it.value, &e.To)
		case "http_options":
			d.httpOptions(it.value, &e.HTTPOptions)
		}
	}
}

func (d *decoder) exposeTos(n int32, dst *[]ExposeTo) {
	it, ok := d.items(n, "a list of targets")
	if !ok {
		return
	}
	*dst = make([]ExposeTo, 0, it.count)
	for it.next() {
		to := ExposeTo{Pos: d.pos(it.value)}
		d.exposeTo(it.value, &to)
		*dst = append(*dst, to)
	}
}

func (d *decoder) exposeTo(n int32, to *ExposeTo) {
	it, ok := d.fields(n, exposeToKeys, "a mapping with service, global or ip")
	if !ok {
		return
	}
	to.node = it.node
	for it.next() {
		switch it.key {
		case "service":
			d.text(it.value, &to.Service)
		case "global":
			d.boolean(it.value, &to.Global)
		case "ip":
			d.text(it.value, &to.IP)
		case "http_options":
			var ignored HTTPOptions
			d.httpOptions(it.value, &ignored)
			d.add(problem{
				rule: ruleHTTPOptionsIgnored, pos: d.pos(it.keyNode), path: d.pathString(), lax: true,
				msg: "http_options under to is ignored", suggestion: "http_options beside port",
			})
		}
	}
}

func (d *decoder) httpOptions(n int32, o *HTTPOptions) {
	it, ok := d.fields(n, httpOptionKeys, "a mapping with max_body_size and so on")
	if !ok {
		return
	}
	for it.next() {
		switch it.key {
		case "max_body_size":
			d.uint32(it.value, &o.MaxBodySize)
		case "read_timeout":
			d.uint32(it.value, &o.ReadTimeout)
		case "send_timeout":
			d.uint32(it.value, &o.SendTimeout)
		case "next_tries":
			d.uint32(it.value, &o.NextTries)
		case "next_timeout":
			d.uint32(it.value, &o.NextTimeout)
		case "next_cases":
			d.texts(it.value, &o.NextCases)
		case "proxy_buffer_size":
			d.uint32(it.value, &o.ProxyBufferSize)
		}
	}
}

func (d *decoder) dependencies(n int32, dst *[]string) {
	it, ok := d.items(n, "a list of mappings with service")
	if !ok {
		return
	}
	*dst = make([]string, 0, it.count)
	for it.next() {
		var name string
		if f, ok := d.fields(it.value, dependencyKeys, "a mapping with service"); ok {
			for f.next() {
				d.text(f.value, &name)
			}
		}
		*dst = append(*dst, name)
	}
}

func (d *decoder) params(n int32) *Params {
	it, ok := d.fields(n, paramsKeys, "a mapping with storage, permissions or tee")
	if !ok {
		return nil
	}
	p := &Params{node: it.node}
	for it.next() {
		switch it.key {
		case "storage":
			d.mounts(it.value, &p.Storage)
		case "permissions":
			p.Permissions = d.permissions(it.value)
		case "tee":
			d.text(it.value, &p.TEE)
		}
	}
	return p
}

func (d *decoder) mounts(n int32, dst *[]Mount) {
	it, ok := d.fields(n, "", "a mapping of volume names")
	if !ok {
		return
	}
	*dst = make([]Mount, 0, d.t.at(it.node).count)
	for it.next() {
		m := Mount{Volume: it.key, Pos: d.pos(it.keyNode)}
		if f, ok := d.fields(it.value, mountKeys, "a mapping with mount"); ok {
			m.node = f.node
			for f.next() {
				switch f.key {
				case "mount":
					d.text(f.value, &m.Path)
				case "readOnly":
					d.boolean(f.value, &m.ReadOnly)
				}
			}
		}
		*dst = append(*dst, m)
	}
}

func (d *decoder) permissions(n int32) *Permissions {
	it, ok := d.fields(n, permissionKeys, "a mapping with read")
	if !ok {
		return nil
	}
	p := &Permissions{node: it.node}
	for it.next() {
		d.texts(it.value, &p.Read)
	}
	return p
}

func (d *decoder) credentials(n int32) *Credentials {
	it, ok := d.fields(n, credentialKeys, "a mapping with host, username and password")
	if !ok {
		return nil
	}
	c := &Credentials{node: it.node}
	for it.next() {
		switch it.key {
		case "host":
			d.text(it.value, &c.Host)
		case "email":
			d.text(it.value, &c.Email)
		case "username":
			d.text(it.value, &c.Username)
		case "password":
			d.text(it.value, &c.Password)
		}
	}
	return c
}
