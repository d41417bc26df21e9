package driver

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// Bounds of a workload. They are above what a market lets anybody ask for and
// keep a driver from being flooded by whoever calls it.
const (
	MaxServices      = 64
	MaxReplicas      = 1000
	MaxExposes       = 128
	MaxHosts         = 64
	MaxVolumes       = 64
	MaxArguments     = 1024
	MaxEnv           = 1024
	MaxStringBytes   = 128 << 10
	MaxServiceBytes  = 1 << 20
	maxImageBytes    = 1024
	maxHostnameBytes = 253
	maxLabelBytes    = 63
	maxPathBytes     = 4096
)

// Clone copies the workload so deeply that the copies share nothing that can be
// changed.
func (w Workload) Clone() Workload {
	w.Group.Services = slices.Clone(w.Group.Services)
	for i := range w.Group.Services {
		w.Group.Services[i] = CloneService(w.Group.Services[i])
	}
	w.Addresses = cloneAddresses(w.Addresses)
	return w
}

// CloneService copies one service deeply. nil and empty lists stay what they are.
func CloneService(s manifest.Service) manifest.Service {
	s.Command, s.Args, s.Env = slices.Clone(s.Command), slices.Clone(s.Args), slices.Clone(s.Env)
	s.Resources = cloneResources(s.Resources)
	s.Expose = slices.Clone(s.Expose)
	for i := range s.Expose {
		s.Expose[i].Hosts = slices.Clone(s.Expose[i].Hosts)
		s.Expose[i].HTTPOptions.NextCases = slices.Clone(s.Expose[i].HTTPOptions.NextCases)
	}
	if s.Params != nil {
		p := *s.Params
		p.Storage = slices.Clone(p.Storage)
		if p.Permissions != nil {
			p.Permissions = &manifest.Permissions{Read: slices.Clone(p.Permissions.Read)}
		}
		if p.TEE != nil {
			t := *p.TEE
			p.TEE = &t
		}
		s.Params = &p
	}
	if s.Credentials != nil {
		c := *s.Credentials
		s.Credentials = &c
	}
	return s
}

func cloneResources(r market.Resources) market.Resources {
	r.CPU.Attributes = slices.Clone(r.CPU.Attributes)
	r.Memory.Attributes = slices.Clone(r.Memory.Attributes)
	r.GPU.Attributes = slices.Clone(r.GPU.Attributes)
	r.Storage = slices.Clone(r.Storage)
	for i := range r.Storage {
		r.Storage[i].Attributes = slices.Clone(r.Storage[i].Attributes)
	}
	r.Endpoints = slices.Clone(r.Endpoints)
	return r
}

// Spec returns what the workload needs in the form that package inventory
// places: one unit per service, in order, with IDs from 1.
func (w Workload) Spec() market.GroupSpec {
	spec := market.GroupSpec{Name: w.Group.Name}
	for i, s := range w.Group.Services {
		u := market.ResourceUnit{Resources: cloneResources(s.Resources), Count: s.Count}
		u.ID = uint32(i + 1)
		spec.Units = append(spec.Units, u)
	}
	return spec
}

// Validate checks form and bounds. The error wraps [ErrInvalid] and quotes no
// environment, arguments or credentials.
func (w Workload) Validate() error {
	if _, err := market.ParseLeaseID(w.Lease.String()); err != nil {
		return fmt.Errorf("%w: lease: %w", ErrInvalid, err)
	}
	if w.Revision == 0 {
		return fmt.Errorf("%w: revision 0, they begin at 1", ErrInvalid)
	}
	if n := len(w.Group.Services); n == 0 || n > MaxServices {
		return fmt.Errorf("%w: %d services, want 1 to %d", ErrInvalid, n, MaxServices)
	}
	seen := make(map[string]bool)
	for _, s := range w.Group.Services {
		if seen[s.Name] {
			return fmt.Errorf("%w: two services are called %.63q", ErrInvalid, s.Name)
		}
		seen[s.Name] = true
		if err := validateService(s); err != nil {
			return fmt.Errorf("%w: service %.63q: %w", ErrInvalid, s.Name, err)
		}
	}
	if err := w.validateAddresses(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// fault is a text that becomes part of an ErrInvalid.
type fault string

func (f fault) Error() string { return string(f) }

func faultf(format string, args ...any) error { return fault(fmt.Sprintf(format, args...)) }

func validateService(s manifest.Service) error {
	switch {
	case !ValidLabel(s.Name):
		return faultf("a name is 1 to %d of a-z, 0-9 and -, and begins and ends with a letter or digit", maxLabelBytes)
	case s.Image == "" || len(s.Image) > maxImageBytes || strings.ContainsFunc(s.Image, unprintable):
		return faultf("image reference missing, too long or unprintable")
	case s.Count > MaxReplicas:
		return faultf("%d replicas, at most %d", s.Count, MaxReplicas)
	case s.Resources.CPU.MilliCores == 0 || s.Resources.Memory.Bytes == 0:
		return faultf("processor time and memory must be more than 0")
	case len(s.Expose) > MaxExposes:
		return faultf("%d exposes, at most %d", len(s.Expose), MaxExposes)
	}
	if err := validateStrings(s); err != nil {
		return err
	}
	for _, e := range s.Expose {
		if err := validateExpose(e); err != nil {
			return err
		}
	}
	return validateVolumes(s)
}

func unprintable(r rune) bool { return r <= ' ' || r == 0x7f }

func validateStrings(s manifest.Service) error {
	if len(s.Command)+len(s.Args) > MaxArguments || len(s.Env) > MaxEnv {
		return faultf("too many arguments or environment entries")
	}
	sum := 0
	for _, text := range slices.Concat(s.Command, s.Args, s.Env) {
		if len(text) > MaxStringBytes || strings.IndexByte(text, 0) >= 0 {
			return faultf("an argument or environment entry is over %d bytes or has a zero byte", MaxStringBytes)
		}
		sum += len(text)
	}
	for _, e := range s.Env {
		if name, _, _ := strings.Cut(e, "="); name == "" {
			return faultf("an environment entry has no name")
		}
	}
	if sum > MaxServiceBytes {
		return faultf("arguments and environment are over %d bytes", MaxServiceBytes)
	}
	return nil
}

func validateExpose(e manifest.Expose) error {
	const maxPort = 65535
	switch {
	case e.Port == 0 || e.Port > maxPort || e.ExternalPort > maxPort:
		return faultf("port %d as %d: want 1 to %d", e.Port, e.External(), maxPort)
	case e.Proto != manifest.TCP && e.Proto != manifest.UDP:
		return faultf("port %d: protocol %.8q", e.Port, e.Proto)
	case len(e.Hosts) > MaxHosts:
		return faultf("port %d: %d host names, at most %d", e.Port, len(e.Hosts), MaxHosts)
	}
	for _, h := range e.Hosts {
		if !ValidHostname(strings.ToLower(h)) {
			return faultf("port %d: %.80q is no host name", e.Port, h)
		}
	}
	return nil
}

func validateVolumes(s manifest.Service) error {
	if len(s.Resources.Storage) > MaxVolumes {
		return faultf("%d volumes, at most %d", len(s.Resources.Storage), MaxVolumes)
	}
	if s.Params == nil {
		return nil
	}
	mounts, volumes := make(map[string]bool), make(map[string]bool)
	for _, v := range s.Resources.Storage {
		volumes[v.Name] = true
	}
	for _, p := range s.Params.Storage {
		switch {
		case !volumes[p.Name]:
			return faultf("there is no volume %.63q to mount", p.Name)
		case !path.IsAbs(p.Mount) || path.Clean(p.Mount) != strings.TrimRight(p.Mount, "/") || len(p.Mount) > maxPathBytes:
			return faultf("volume %.63q: %.80q is no plain absolute path", p.Name, p.Mount)
		case mounts[path.Clean(p.Mount)]:
			return faultf("two volumes are mounted at %.80q", p.Mount)
		}
		mounts[path.Clean(p.Mount)] = true
	}
	return nil
}

// ValidLabel reports whether s is a DNS label in lower case (RFC 1123).
func ValidLabel(s string) bool {
	if s == "" || len(s) > maxLabelBytes || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// ValidHostname reports whether s is a DNS name in lower case without a final
// dot.
func ValidHostname(s string) bool {
	if len(s) > maxHostnameBytes {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if !ValidLabel(label) {
			return false
		}
	}
	return true
}

// Hostnames returns the names that the HTTP exposes of the workload ask for,
// in lower case, sorted, each once.
func (w Workload) Hostnames() []string {
	names := make(map[string]bool)
	for _, s := range w.Group.Services {
		for _, e := range s.Expose {
			if e.HTTP() {
				for _, h := range e.Hosts {
					names[strings.ToLower(h)] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}
