package render

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// Labels and annotations of rendered objects. They leave the process: do not
// rename.
const (
	LabelManaged  = "moorage.dev/managed"
	LabelLease    = "moorage.dev/lease"
	LabelInstance = "moorage.dev/instance"
	LabelService  = "moorage.dev/service"
	LabelPart     = "moorage.dev/part"

	AnnotationLease = "moorage.dev/lease-id"
	// AnnotationDigest holds the digest of the whole object, AnnotationTemplate on
	// pods that of their template.
	AnnotationDigest   = "moorage.dev/digest"
	AnnotationTemplate = "moorage.dev/template"

	// Part is the value of LabelPart: what this driver made and may remove.
	Part = "kube"
	// Managed is the value of LabelManaged.
	Managed = "true"
	// FieldManager owns the fields that are written.
	FieldManager = "moorage"
	// Container is the name of the one container of a pod.
	Container = "workload"
	// StateName is the Secret that keeps the workload itself.
	StateName = "moorage-workload"
	// StateKey is the key in it, StateType its type.
	StateKey  = "workload"
	StateType = "moorage.dev/workload"
)

// Namespace returns the name of the namespace of a lease: a DNS label that no
// other lease has.
func Namespace(id market.LeaseID) string {
	sum := sha256.Sum224([]byte(id.String()))
	return "moorage-" + strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:]))
}

// derive makes a name out of parts that differs from every service name with
// all but certainty, and from every other derived name: part of the service's
// name for people, then a hash of everything.
func derive(kind, service string, more ...string) string {
	const keep, hash = 38, 8
	sum := sha256.Sum256([]byte(kind + "/" + service + "/" + strings.Join(more, "/")))
	return kind + "-" + strings.TrimRight(service[:min(len(service), keep)], "-") + "-" + hex.EncodeToString(sum[:])[:hash]
}

// WorkloadName is the name of the Deployment or StatefulSet of a service. The
// labels that a StatefulSet puts on its pods hold its name and a hash, so a long
// name is shortened.
func WorkloadName(service string, stateful bool) string {
	const most, keep, hash = 52, 39, 12
	if !stateful || len(service) <= most {
		return service
	}
	sum := sha256.Sum256([]byte(service))
	return strings.TrimRight(service[:keep], "-") + "-" + hex.EncodeToString(sum[:])[:hash]
}

// ForwardName is the name of the Service that opens the forwarded ports.
func ForwardName(service string) string { return derive("fwd", service) }

// volumeName is a volume's name in a pod, and that of its claims. Names of
// volumes that are no short DNS labels are replaced.
func volumeName(name string) string {
	const most = 20
	if len(name) <= most && manifest.ValidServiceName(name) {
		return "v-" + name
	}
	sum := sha256.Sum256([]byte(name))
	return "x-" + hex.EncodeToString(sum[:])[:most]
}

// ClaimName is the claim of a replica's persistent volume.
func ClaimName(service, volume string, replica int) string {
	return volumeName(volume) + "-" + WorkloadName(service, true) + "-" + strconv.Itoa(replica)
}

// Hostname is the name that every HTTP service gets under a domain: a DNS label
// that is injective in lease and service.
func Hostname(id market.LeaseID, service, domain string) string {
	const most, keep, hash = 50, 37, 12
	if len(service) > most {
		sum := sha256.Sum256([]byte(service))
		service = service[:keep] + "-" + hex.EncodeToString(sum[:])[:hash]
	}
	return service + "-" + strings.TrimPrefix(Namespace(id), "moorage-")[:hash] + "." + domain
}

// portName names a port of a Service or container; it is unique per number and
// protocol and has at most 15 bytes.
func portName(port uint32, proto manifest.Protocol) string {
	return strings.ToLower(string(proto)) + "-" + strconv.FormatUint(uint64(port), 10)
}
