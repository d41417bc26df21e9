// Package render turns a workload into Kubernetes objects. It is pure: the same
// input gives the same bytes.
package render

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"

	"k8s.io/apimachinery/pkg/runtime/schema"
	metav1 "k8s.io/client-go/applyconfigurations/meta/v1"
)

// Kind is a kind of object and its resource.
type Kind struct {
	schema.GroupVersionResource
	Kind string
	// Cluster says that it is in no namespace.
	Cluster bool
}

// APIVersion is group and version as objects have them.
func (k Kind) APIVersion() string { return k.GroupVersion().String() }

// Kinds that are rendered, in the order in which they are applied.
func Kinds() []Kind {
	return []Kind{
		Namespaces(), Secrets(), ServiceAccounts(), Roles(), RoleBindings(), Quotas(), Policies(), Services(),
		ClaimTemplates(), Deployments(), StatefulSets(), Ingresses(), Routes(),
	}
}

func kind(group, resource, name string) Kind {
	return Kind{GroupVersionResource: schema.GroupVersionResource{Group: group, Version: "v1", Resource: resource}, Kind: name}
}

// Namespaces and the others below name the kinds.
func Namespaces() Kind {
	k := kind("", "namespaces", "Namespace")
	k.Cluster = true
	return k
}

// Secrets hold the workload and pull credentials.
func Secrets() Kind { return kind("", "secrets", "Secret") }

// ServiceAccounts are for services with permissions.
func ServiceAccounts() Kind { return kind("", "serviceaccounts", "ServiceAccount") }

// Roles are the permissions.
func Roles() Kind { return kind("rbac.authorization.k8s.io", "roles", "Role") }

// RoleBindings give them.
func RoleBindings() Kind {
	return kind("rbac.authorization.k8s.io", "rolebindings", "RoleBinding")
}

// Quotas bound a lease.
func Quotas() Kind { return kind("", "resourcequotas", "ResourceQuota") }

// Policies are network policies.
func Policies() Kind { return kind("networking.k8s.io", "networkpolicies", "NetworkPolicy") }

// Services are names and forwarded ports.
func Services() Kind { return kind("", "services", "Service") }

// ClaimTemplates ask for devices.
func ClaimTemplates() Kind {
	return kind("resource.k8s.io", "resourceclaimtemplates", "ResourceClaimTemplate")
}

// Deployments run services without persistent volumes.
func Deployments() Kind { return kind("apps", "deployments", "Deployment") }

// StatefulSets run the others.
func StatefulSets() Kind { return kind("apps", "statefulsets", "StatefulSet") }

// Ingresses route HTTP.
func Ingresses() Kind { return kind("networking.k8s.io", "ingresses", "Ingress") }

// Routes route HTTP by the Gateway API.
func Routes() Kind { return kind("gateway.networking.k8s.io", "httproutes", "HTTPRoute") }

// Object is one rendered object.
type Object struct {
	Kind      Kind
	Namespace string
	Name      string
	Service   string
	// Body is what server-side apply takes, in JSON.
	Body []byte
	// Digest is that of Body; the object carries it as an annotation.
	Digest string
	// Template is the digest of the pods, "" for objects that make none.
	Template string
}

// String names the object.
func (o Object) String() string { return o.Kind.Kind + " " + o.Name }

// blank stands where the digest will be.
const blank = "00000000000000000000000000000000"

// digestOf is 16 bytes of SHA-256 in hex.
func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:len(blank)/2])
}

// Seal gives an object its digest: v is an apply configuration whose metadata
// were made by [Frame.Meta].
func (f Frame) Seal(k Kind, name, service string, v any) (Object, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return Object{}, fmt.Errorf("kube: render %s %s: %w", k.Kind, name, err)
	}
	o := Object{Kind: k, Namespace: f.Namespace, Name: name, Service: service, Digest: digestOf(body)}
	if k.Cluster {
		o.Namespace = ""
	}
	o.Body = bytes.Replace(body, []byte(blank), []byte(o.Digest), 1)
	return o, nil
}

// Frame is what all objects of a lease have in common.
type Frame struct {
	Namespace, Instance, Lease string
}

// labels are those of all objects; service "" is none.
func (f Frame) labels(service string) map[string]string {
	m := map[string]string{LabelManaged: Managed, LabelLease: f.Namespace, LabelInstance: f.Instance, LabelPart: Part}
	if service != "" {
		m[LabelService] = service
	}
	return m
}

// selector selects the pods of a service.
func (f Frame) selector(service string) map[string]string {
	return map[string]string{LabelLease: f.Namespace, LabelService: service}
}

// Meta makes the metadata of an object.
func (f Frame) Meta(k Kind, name, service string, annotations map[string]string) *metav1.ObjectMetaApplyConfiguration {
	m := &metav1.ObjectMetaApplyConfiguration{
		Name: &name, Labels: f.labels(service),
		Annotations: map[string]string{AnnotationLease: f.Lease, AnnotationDigest: blank},
	}
	maps.Copy(m.Annotations, annotations)
	if !k.Cluster {
		m.Namespace = &f.Namespace
	}
	return m
}

// Type makes the type of an object.
func Type(k Kind) metav1.TypeMetaApplyConfiguration {
	return metav1.TypeMetaApplyConfiguration{Kind: new(k.Kind), APIVersion: new(k.APIVersion())}
}
