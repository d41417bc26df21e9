package kube

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/moorage-dev/moorage/cluster/kube/internal/render"
)

// Names of indexes.
const (
	byLease = "lease"
	byHost  = "host"
)

// store is what is known of the cluster, kept up to date by watches. What is
// not needed is dropped on arrival.
type store struct {
	kinds   map[string]cache.SharedIndexInformer // what is rendered, by kind
	pods    cache.SharedIndexInformer            // all of the cluster
	nodes   cache.SharedIndexInformer
	classes cache.SharedIndexInformer // storage classes
	claims  cache.SharedIndexInformer // of leases
	space   cache.SharedIndexInformer // CSI storage capacities
	devices cache.SharedIndexInformer // device classes; nil without that API
	slices  cache.SharedIndexInformer // resource slices; nil without that API
	given   cache.SharedIndexInformer // claims of devices; nil without that API
	servers cache.SharedIndexInformer // where the API server is; nil without policies
	refused cache.SharedIndexInformer // events of pods that a StatefulSet could not make

	start []interface {
		Start(stop <-chan struct{})
		Shutdown()
	}
}

// newStore makes the informers; nothing is started.
func newStore(client kubernetes.Interface, dyn dynamic.Interface, cfg *Config, dra bool) (*store, error) {
	selector := labels.Set{LabelManaged: render.Managed, LabelInstance: cfg.Instance}.String()
	ours := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(strip),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = selector }))
	all := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(strip))
	s := &store{
		kinds: map[string]cache.SharedIndexInformer{
			render.Namespaces().Kind:      ours.Core().V1().Namespaces().Informer(),
			render.Secrets().Kind:         ours.Core().V1().Secrets().Informer(),
			render.ServiceAccounts().Kind: ours.Core().V1().ServiceAccounts().Informer(),
			render.Roles().Kind:           ours.Rbac().V1().Roles().Informer(),
			render.RoleBindings().Kind:    ours.Rbac().V1().RoleBindings().Informer(),
			render.Quotas().Kind:          ours.Core().V1().ResourceQuotas().Informer(),
			render.Policies().Kind:        ours.Networking().V1().NetworkPolicies().Informer(),
			render.Services().Kind:        ours.Core().V1().Services().Informer(),
			render.Deployments().Kind:     ours.Apps().V1().Deployments().Informer(),
			render.StatefulSets().Kind:    ours.Apps().V1().StatefulSets().Informer(),
		},
		claims:  ours.Core().V1().PersistentVolumeClaims().Informer(),
		pods:    all.Core().V1().Pods().Informer(),
		nodes:   all.Core().V1().Nodes().Informer(),
		classes: all.Storage().V1().StorageClasses().Informer(),
		space:   all.Storage().V1().CSIStorageCapacities().Informer(),
	}
	if cfg.Router.Ingress != "" {
		s.kinds[render.Ingresses().Kind] = all.Networking().V1().Ingresses().Informer()
	}
	if dra {
		s.kinds[render.ClaimTemplates().Kind] = ours.Resource().V1().ResourceClaimTemplates().Informer()
		s.devices, s.slices = all.Resource().V1().DeviceClasses().Informer(), all.Resource().V1().ResourceSlices().Informer()
		s.given = all.Resource().V1().ResourceClaims().Informer()
	}
	refused := some(client, metav1.NamespaceAll, func(o *metav1.ListOptions) {
		o.FieldSelector = fields.Set{"reason": reasonRefused, "involvedObject.kind": render.StatefulSets().Kind}.String()
	})
	s.refused = refused.Core().V1().Events().Informer()
	s.start = append(s.start, ours, all, refused)
	if cfg.Policies != nil {
		servers := some(client, metav1.NamespaceDefault, func(o *metav1.ListOptions) {
			o.LabelSelector = discoveryv1.LabelServiceName + "=kubernetes"
		})
		s.servers = servers.Discovery().V1().EndpointSlices().Informer()
		s.start = append(s.start, servers)
	}
	if cfg.Router.Gateway != nil {
		routes := dynamicinformer.NewFilteredDynamicSharedInformerFactory(dyn, 0, metav1.NamespaceAll, nil)
		informer := routes.ForResource(render.Routes().GroupVersionResource).Informer()
		if err := informer.SetTransform(strip); err != nil {
			return nil, err
		}
		s.kinds[render.Routes().Kind] = informer
		s.start = append(s.start, routes)
	}
	return s, s.index()
}

// some makes watches of part of the objects.
func some(client kubernetes.Interface, namespace string, tweak func(*metav1.ListOptions)) informers.SharedInformerFactory {
	return informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(strip),
		informers.WithNamespace(namespace), informers.WithTweakListOptions(tweak))
}

// index makes objects findable by lease, and routes by host name.
func (s *store) index() error {
	for name, informer := range s.kinds {
		indexers := cache.Indexers{byLease: leaseIndex}
		if name == render.Ingresses().Kind || name == render.Routes().Kind {
			indexers[byHost] = hostIndex
		}
		if err := informer.AddIndexers(indexers); err != nil {
			return fmt.Errorf("kube: %w", err)
		}
	}
	for _, informer := range []cache.SharedIndexInformer{s.pods, s.claims} {
		if err := informer.AddIndexers(cache.Indexers{byLease: leaseIndex}); err != nil {
			return fmt.Errorf("kube: %w", err)
		}
	}
	if err := s.refused.AddIndexers(cache.Indexers{byLease: cache.MetaNamespaceIndexFunc}); err != nil {
		return fmt.Errorf("kube: %w", err)
	}
	return nil
}

// all lists every informer.
func (s *store) all() []cache.SharedIndexInformer {
	out := slices.Collect(maps.Values(s.kinds))
	out = append(out, s.pods, s.nodes, s.classes, s.claims, s.space, s.refused)
	if s.devices != nil {
		out = append(out, s.devices, s.slices, s.given)
	}
	if s.servers != nil {
		out = append(out, s.servers)
	}
	return out
}

// run starts the watches, tells when all have seen the cluster once, and stops
// them when the context ends.
func (s *store) run(ctx context.Context, synced func()) {
	for _, f := range s.start {
		f.Start(ctx.Done())
	}
	var has []cache.InformerSynced
	for _, informer := range s.all() {
		has = append(has, informer.HasSynced)
	}
	if cache.WaitForCacheSync(ctx.Done(), has...) {
		synced()
	}
	<-ctx.Done()
	for _, f := range s.start {
		f.Shutdown()
	}
}

func leaseIndex(obj any) ([]string, error) {
	m, ok := obj.(metav1.Object)
	if !ok || m.GetLabels()[LabelLease] == "" {
		return nil, nil
	}
	return []string{m.GetLabels()[LabelLease]}, nil
}

func hostIndex(obj any) ([]string, error) {
	switch o := obj.(type) {
	case *networkingv1.Ingress:
		var out []string
		for _, r := range o.Spec.Rules {
			out = append(out, r.Host)
		}
		return out, nil
	case *unstructured.Unstructured:
		out, _, err := unstructured.NestedStringSlice(o.Object, "spec", "hostnames")
		return out, err
	}
	return nil, nil
}

// dataAnnotation holds the digest of a Secret's data, which is not kept.
const dataAnnotation = "moorage.dev/data"

// strip drops what nobody reads, so that a lease costs little memory.
func strip(obj any) (any, error) {
	m, ok := obj.(metav1.Object)
	if !ok {
		return obj, nil
	}
	m.SetManagedFields(nil)
	switch o := obj.(type) {
	case *corev1.Pod:
		stripPod(o)
	case *corev1.Secret:
		if o.Data == nil && o.Annotations[dataAnnotation] != "" {
			return obj, nil // an informer may hand over what it has kept already
		}
		o.SetAnnotations(maps.Clone(o.GetAnnotations()))
		metav1.SetMetaDataAnnotation(&o.ObjectMeta, dataAnnotation, dataDigest(o.Data))
		o.Data = nil
	case *corev1.Node:
		o.Status.Images, o.Annotations = nil, nil
	}
	return obj, nil
}

// dataDigest is the same for equal data.
func dataDigest(data map[string][]byte) string {
	h := sha256.New()
	for _, k := range slices.Sorted(maps.Keys(data)) {
		fmt.Fprintf(h, "%d:%s%d:", len(k), k, len(data[k]))
		h.Write(data[k])
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// stripPod keeps what the status and the inventory need.
func stripPod(p *corev1.Pod) {
	spec := corev1.PodSpec{NodeName: p.Spec.NodeName, Overhead: p.Spec.Overhead, Resources: p.Spec.Resources}
	slim := func(in []corev1.Container) (out []corev1.Container) {
		for _, c := range in {
			out = append(out, corev1.Container{Name: c.Name, Resources: c.Resources, RestartPolicy: c.RestartPolicy})
		}
		return out
	}
	spec.Containers, spec.InitContainers = slim(p.Spec.Containers), slim(p.Spec.InitContainers)
	p.Spec = spec
	if p.Labels[LabelManaged] == "" {
		p.Labels, p.Annotations, p.OwnerReferences = nil, nil, nil
		p.Status = corev1.PodStatus{Phase: p.Status.Phase}
	}
}

// find returns the object that was rendered as o, nil when the cluster is not
// known to have it.
func (s *store) find(o render.Object) metav1.Object {
	informer, ok := s.kinds[o.Kind.Kind]
	if !ok {
		return nil
	}
	key := o.Name
	if o.Namespace != "" {
		key = o.Namespace + "/" + o.Name
	}
	obj, exists, err := informer.GetStore().GetByKey(key)
	if err != nil || !exists {
		return nil
	}
	m, _ := obj.(metav1.Object)
	return m
}

// of returns what an informer has of a lease.
func of[T any](informer cache.SharedIndexInformer, namespace string) []T {
	objs, err := informer.GetIndexer().ByIndex(byLease, namespace)
	if err != nil {
		return nil
	}
	out := make([]T, 0, len(objs))
	for _, obj := range objs {
		if v, ok := obj.(T); ok {
			out = append(out, v)
		}
	}
	return out
}

// every returns all that an informer has.
func every[T any](informer cache.SharedIndexInformer) []T {
	if informer == nil {
		return nil
	}
	objs := informer.GetStore().List()
	out := make([]T, 0, len(objs))
	for _, obj := range objs {
		if v, ok := obj.(T); ok {
			out = append(out, v)
		}
	}
	return out
}
