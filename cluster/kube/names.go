package kube

import (
	"github.com/moorage-dev/moorage/cluster/kube/internal/render"
	"github.com/moorage-dev/moorage/market"
)

// Labels and annotations of everything that this driver makes. They leave the
// process: do not rename.
const (
	// LabelManaged is "true" on every object.
	LabelManaged = render.LabelManaged
	// LabelLease is [Namespace] of the lease on every object.
	LabelLease = render.LabelLease
	// LabelInstance tells several providers on one cluster apart.
	LabelInstance = render.LabelInstance
	// LabelService is the name of the service, on its pods and objects.
	LabelService = render.LabelService
	// LabelPart is "kube" on what this driver made and may remove.
	LabelPart = render.LabelPart
	// AnnotationLease is the lease's text on every object.
	AnnotationLease = render.AnnotationLease
	// FieldManager owns the fields that are written.
	FieldManager = render.FieldManager
)

// Namespace returns the name of the namespace of a lease: a DNS label that no
// other lease has.
func Namespace(id market.LeaseID) string { return render.Namespace(id) }

// Selector returns the labels of the pods of a service.
func Selector(id market.LeaseID, service string) map[string]string {
	return map[string]string{LabelLease: Namespace(id), LabelService: service}
}
