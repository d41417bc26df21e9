package kube

import (
	"cmp"
	"context"
	"iter"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/cluster/kube/internal/render"
	"github.com/moorage-dev/moorage/market"
)

// Nodes implements [driver.Driver]: what nodes have allocatable, less what the
// pods of others than leases of this instance request. Nodes that take no new
// pods have only what leases use on them already.
func (d *Driver) Nodes(ctx context.Context) ([]inventory.Node, error) {
	if err := d.check(ctx); err != nil {
		return nil, err
	}
	return d.nodes(), nil
}

// WatchNodes implements [driver.NodeWatcher].
func (d *Driver) WatchNodes(ctx context.Context) iter.Seq2[[]inventory.Node, error] {
	return func(yield func([]inventory.Node, error) bool) {
		watch := d.nodeHub.Watch()
		defer watch.Leave()
		for ok := true; ok; _, ok = watch.Wait(ctx) {
			nodes, err := d.Nodes(ctx)
			if ctx.Err() != nil || !yield(nodes, err) || err != nil {
				return
			}
		}
		if ctx.Err() == nil {
			yield(nil, driver.ErrClosed)
		}
	}
}

// nodesChanged notes that the inventory may differ.
func (d *Driver) nodesChanged() {
	d.nodesOld.Store(true)
	d.nodeHub.Publish(market.LeaseID{})
}

// refreshNodes brings the ledger's nodes up to date. The caller holds mu.
func (d *Driver) refreshNodes() {
	if !d.nodesOld.Swap(false) {
		return
	}
	if err := d.ledger.SetNodes(d.nodes()); err != nil {
		d.log.Error("nodes cannot be taken into account", slog.Any("err", err))
	}
}

// usage is what the pods of a node request.
type usage struct{ ours, others corev1.ResourceList }

// nodes makes the inventory of what the watches have seen.
func (d *Driver) nodes() []inventory.Node {
	used := d.usages()
	var out []inventory.Node
	for _, n := range every[*corev1.Node](d.store.nodes) {
		u := used[n.Name]
		allocatable := n.Status.Allocatable
		if !takesPods(n) {
			if len(u.ours) == 0 {
				continue
			}
			allocatable, u.others = u.ours, nil
		}
		node := inventory.Node{
			Name: n.Name, Architecture: cmp.Or(n.Status.NodeInfo.Architecture, n.Labels[corev1.LabelArchStable]), Attributes: attributesOf(n.Labels),
			Allocatable: inventory.Quantities{
				MilliCores:     left(allocatable, u.others, corev1.ResourceCPU, (*resource.Quantity).MilliValue),
				MemoryBytes:    left(allocatable, u.others, corev1.ResourceMemory, (*resource.Quantity).Value),
				EphemeralBytes: left(allocatable, u.others, corev1.ResourceEphemeralStorage, (*resource.Quantity).Value),
				GPUs:           d.cards(n, allocatable, u.others),
			},
		}
		out = append(out, node)
	}
	slices.SortFunc(out, func(a, b inventory.Node) int { return strings.Compare(a.Name, b.Name) })
	d.addStorage(out)
	return out
}

// takesPods reports whether new pods of leases can come to a node.
func takesPods(n *corev1.Node) bool {
	if n.Spec.Unschedulable || nodeCondition(n) != corev1.ConditionTrue {
		return false
	}
	return !slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool {
		return t.Effect == corev1.TaintEffectNoSchedule || t.Effect == corev1.TaintEffectNoExecute
	})
}

// usages adds up what pods request, by node.
func (d *Driver) usages() map[string]usage {
	out := make(map[string]usage)
	for _, p := range every[*corev1.Pod](d.store.pods) {
		if p.Spec.NodeName == "" || finished(p) {
			continue
		}
		u := out[p.Spec.NodeName]
		if d.owns(p) {
			u.ours = plus(u.ours, podRequests(p))
		} else {
			u.others = plus(u.others, podRequests(p))
		}
		out[p.Spec.NodeName] = u
	}
	return out
}

func plus(sum, more corev1.ResourceList) corev1.ResourceList {
	if sum == nil {
		sum = make(corev1.ResourceList)
	}
	for name, q := range more {
		total := sum[name]
		total.Add(q)
		sum[name] = total
	}
	return sum
}

// podRequests is what the scheduler counts for a pod: its containers together,
// or the largest of those that run before them, and what the pod itself says.
func podRequests(p *corev1.Pod) corev1.ResourceList {
	var sum, before, side corev1.ResourceList
	for _, c := range p.Spec.Containers {
		sum = plus(sum, c.Resources.Requests)
	}
	for _, c := range p.Spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			sum, side = plus(sum, c.Resources.Requests), plus(side, c.Resources.Requests)
			before = largest(before, side)
		} else {
			before = largest(before, plus(maps.Clone(side), c.Resources.Requests))
		}
	}
	sum = largest(sum, before)
	if r := p.Spec.Resources; r != nil {
		if sum == nil {
			sum = make(corev1.ResourceList)
		}
		maps.Copy(sum, r.Requests)
	}
	return plus(sum, p.Spec.Overhead)
}

// largest returns the larger of each resource.
func largest(a, b corev1.ResourceList) corev1.ResourceList {
	out := maps.Clone(a)
	for name, q := range b {
		if out == nil {
			out = make(corev1.ResourceList)
		}
		if have := out[name]; q.Cmp(have) > 0 {
			out[name] = q
		}
	}
	return out
}

// left is what remains of a resource, never below 0.
func left(of, used corev1.ResourceList, name corev1.ResourceName, value func(*resource.Quantity) int64) uint64 {
	has, gone := of[name], used[name]
	return uint64(max(value(&has)-value(&gone), 0))
}

// attributesOf are the labels that an operator gave a node to be leased by.
func attributesOf(from map[string]string) market.Attributes {
	var out market.Attributes
	for k, v := range from {
		if name, ok := strings.CutPrefix(k, render.NodeAttributePrefix); ok {
			out = append(out, market.Attribute{Key: name, Value: v})
		}
	}
	return out.Sorted()
}

// addStorage spreads the room of storage classes over the nodes that reach it.
func (d *Driver) addStorage(nodes []inventory.Node) {
	exists := make(map[string]bool)
	for _, c := range every[*storagev1.StorageClass](d.store.classes) {
		exists[c.Name] = true
		if c.Annotations["storageclass.kubernetes.io/is-default-class"] == "true" {
			exists[""] = true
		}
	}
	classes := make(map[string]bool)
	for class := range d.cfg.StorageBytes {
		classes[class] = true
	}
	for class := range d.cfg.StorageClasses {
		classes[class] = true
	}
	for _, c := range every[*storagev1.CSIStorageCapacity](d.store.space) {
		if !slices.Contains(slices.Collect(maps.Values(d.cfg.StorageClasses)), c.StorageClassName) {
			classes[c.StorageClassName] = true
		}
	}
	for class := range classes {
		target := d.opts.StorageClass(class)
		if !exists[target] || len(nodes) == 0 {
			continue
		}
		if bytes, said := d.cfg.StorageBytes[class]; said {
			share(nodes, class, bytes, func(string) bool { return true })
			continue
		}
		d.addReported(nodes, class, target)
	}
}

// addReported enters what the storage's own driver says is free, and what leases
// have of it already.
func (d *Driver) addReported(nodes []inventory.Node, class, target string) {
	var parts []*storagev1.CSIStorageCapacity
	for _, c := range every[*storagev1.CSIStorageCapacity](d.store.space) {
		if c.StorageClassName == target && c.Capacity != nil {
			parts = append(parts, c)
		}
	}
	slices.SortFunc(parts, func(a, b *storagev1.CSIStorageCapacity) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	claimed := d.claimed(target)
	for _, c := range parts {
		bytes, reaches := uint64(max(c.Capacity.Value(), 0)), d.reaches(c.NodeTopology)
		for node, n := range claimed { // each is in the first part that its node reaches
			if node == "" || reaches(node) {
				bytes += n
				delete(claimed, node)
			}
		}
		share(nodes, class, bytes, reaches)
	}
}

// annotationNode is where a claim has the node of the pod that it was made for.
const annotationNode = "volume.kubernetes.io/selected-node"

// claimed is what leases have of a storage class in bytes, by the node that it
// was made for; "" is where it does not matter.
func (d *Driver) claimed(class string) map[string]uint64 {
	out := make(map[string]uint64)
	for _, c := range every[*corev1.PersistentVolumeClaim](d.store.claims) {
		if name := c.Spec.StorageClassName; name != nil && *name == class && c.Status.Phase == corev1.ClaimBound {
			out[c.Annotations[annotationNode]] += uint64(max(c.Spec.Resources.Requests.Storage().Value(), 0))
		}
	}
	return out
}

// reaches makes a function that tells which nodes a topology selects.
func (d *Driver) reaches(topology *metav1.LabelSelector) func(node string) bool {
	if topology == nil {
		return func(string) bool { return true }
	}
	selector, err := metav1.LabelSelectorAsSelector(topology)
	if err != nil {
		return func(string) bool { return false }
	}
	return func(name string) bool {
		obj, ok, err := d.store.nodes.GetStore().GetByKey(name)
		n, isNode := obj.(*corev1.Node)
		return err == nil && ok && isNode && selector.Matches(labels.Set(n.Labels))
	}
}

// share gives every node that reaches a storage an equal part of it, so that
// together they promise no more than there is.
func share(nodes []inventory.Node, class string, bytes uint64, reaches func(node string) bool) {
	var who []int
	for i := range nodes {
		if reaches(nodes[i].Name) {
			who = append(who, i)
		}
	}
	for _, i := range who {
		q := &nodes[i].Allocatable
		if q.PersistentBytes == nil {
			q.PersistentBytes = make(map[string]uint64)
		}
		q.PersistentBytes[class] = min(q.PersistentBytes[class]+bytes/uint64(len(who)), math.MaxInt64)
	}
}
