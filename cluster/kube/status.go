package kube

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/kube/internal/render"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// Status implements [driver.Driver]. It is made of what the watches have seen
// and asks the server nothing.
func (d *Driver) Status(ctx context.Context, id market.LeaseID) (driver.Status, error) {
	if err := d.check(ctx); err != nil {
		return driver.Status{}, err
	}
	v, ok := d.view(id)
	if !ok {
		return driver.Status{}, driver.ErrNotFound
	}
	s := driver.Status{Lease: id, State: driver.Ready}
	if v.state == nil {
		s.State = driver.Pending // a namespace of which nothing else is known
	} else {
		w := v.state.Workload
		s.Revision, s.Hash = w.Revision, w.Hash
		for _, spec := range w.Group.Services {
			service := d.serviceStatus(v, spec)
			s.State = worse(s.State, service.State)
			s.Services = append(s.Services, service)
		}
	}
	if v.leaving {
		s.State = driver.Leaving
	}
	return s, nil
}

// view is what is known of a lease at one moment.
type view struct {
	state          *state
	leaving, final bool
	trouble        string
	templates      map[string]string
	pods           []*corev1.Pod
}

func (d *Driver) view(id market.LeaseID) (view, bool) {
	d.mu.Lock()
	rec := d.records[id]
	var v view
	if rec != nil {
		v = view{state: rec.state, leaving: rec.leaving, final: rec.final, trouble: rec.trouble, templates: rec.templates}
	}
	d.mu.Unlock()
	var ns *corev1.Namespace
	if found := of[*corev1.Namespace](d.store.kinds[render.Namespaces().Kind], Namespace(id)); len(found) > 0 {
		ns = found[0]
	}
	if v.state == nil && (ns == nil || !d.owns(ns)) {
		return v, false
	}
	v.leaving = v.leaving || v.state == nil && ns.DeletionTimestamp != nil
	v.pods = of[*corev1.Pod](d.store.pods, Namespace(id))
	return v, true
}

// worse returns the worse of two states: failing, then pending, then ready.
func worse(a, b driver.State) driver.State {
	switch {
	case a == driver.Failing || b == driver.Failing:
		return driver.Failing
	case a == driver.Pending || b == driver.Pending:
		return driver.Pending
	}
	return driver.Ready
}

func (d *Driver) serviceStatus(v view, s manifest.Service) driver.ServiceStatus {
	out := driver.ServiceStatus{Name: s.Name, Wanted: s.Count, State: driver.Ready}
	newest, old := podsOf(v, s)
	for _, p := range newest {
		rs := d.replicaStatus(p.pod)
		rs.Index = p.index
		if rs.State == driver.Ready {
			out.Ready++
		}
		if running(p.pod) {
			out.Running++
		}
		if state := worse(out.State, rs.State); state != out.State {
			out.State, out.Reason = state, rs.Reason
		}
		if uint32(len(out.Replicas)) < s.Count {
			out.Replicas = append(out.Replicas, rs)
		}
	}
	wait := func(reason string) {
		if out.State == driver.Ready {
			out.State, out.Reason = driver.Pending, reason
		}
	}
	switch {
	case v.trouble != "" && v.final:
		out.State, out.Reason = driver.Failing, v.trouble
	case v.trouble != "":
		wait(v.trouble)
	}
	if reason := d.refused(v, s); reason != "" && uint32(len(newest)) < s.Count {
		wait(reason)
	}
	switch {
	case uint32(len(newest)) < s.Count:
		wait("starting")
	case uint32(len(newest)) > s.Count:
		wait("more replicas than wanted are ending")
	case old > 0:
		wait("replicas of the revision before are ending")
	}
	d.addressStatus(v.state.Workload, s, &out)
	return out
}

// replica is a pod with its number.
type replica struct {
	index uint32
	pod   *corev1.Pod
}

// podsOf returns the pods of the newest revision of a service, sorted by number,
// and how many of others there are. Pods that are ending are neither. Pods of a
// Deployment are numbered by age, then name.
func podsOf(v view, s manifest.Service) (newest []replica, old int) {
	for _, p := range v.pods {
		if p.Labels[LabelService] != s.Name || p.DeletionTimestamp != nil || finished(p) {
			continue
		}
		if t, ok := v.templates[s.Name]; ok && p.Annotations[render.AnnotationTemplate] != t {
			old++
			continue
		}
		newest = append(newest, replica{pod: p})
	}
	slices.SortFunc(newest, func(a, b replica) int {
		return cmp.Or(a.pod.CreationTimestamp.Compare(b.pod.CreationTimestamp.Time), strings.Compare(a.pod.Name, b.pod.Name))
	})
	for i := range newest {
		newest[i].index = uint32(i)
	}
	if render.IsStateful(s) {
		for i := range newest {
			newest[i].index = ordinal(newest[i].pod.Name)
		}
		slices.SortFunc(newest, func(a, b replica) int { return cmp.Compare(a.index, b.index) })
	}
	return newest, old
}

// finished reports whether a pod has ended and is only kept for its log, for
// example because its node ran out of disk.
func finished(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded
}

// ordinal is the number at the end of the name of a StatefulSet's pod.
func ordinal(name string) uint32 {
	n, err := strconv.ParseUint(name[strings.LastIndexByte(name, '-')+1:], 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

// container is the status of the workload's container, nil before there is one.
func container(p *corev1.Pod) *corev1.ContainerStatus {
	for i := range p.Status.ContainerStatuses {
		if p.Status.ContainerStatuses[i].Name == render.Container {
			return &p.Status.ContainerStatuses[i]
		}
	}
	return nil
}

func running(p *corev1.Pod) bool {
	c := container(p)
	return c != nil && c.State.Running != nil
}

// condition returns the status of a condition, "" when it is not there.
func condition(p *corev1.Pod, kind corev1.PodConditionType) (corev1.ConditionStatus, *corev1.PodCondition) {
	for i := range p.Status.Conditions {
		if p.Status.Conditions[i].Type == kind {
			return p.Status.Conditions[i].Status, &p.Status.Conditions[i]
		}
	}
	return "", nil
}

// unschedulable says why a pod has no node, "" when that is not so.
func unschedulable(p *corev1.Pod) string {
	if status, c := condition(p, corev1.PodScheduled); status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
		return c.Message
	}
	return ""
}

// replicaStatus describes one pod.
func (d *Driver) replicaStatus(p *corev1.Pod) driver.ReplicaStatus {
	out := driver.ReplicaStatus{Node: p.Spec.NodeName, State: driver.Pending, Reason: "starting"}
	if a, err := netip.ParseAddr(p.Status.PodIP); err == nil {
		out.Address = a
	}
	c := container(p)
	if c != nil {
		out.Restarts = uint32(max(c.RestartCount, 0))
		if c.State.Running != nil {
			out.StartedAt = c.State.Running.StartedAt.Time
		}
	}
	ready, _ := condition(p, corev1.PodReady)
	switch {
	case d.nodeLost(p.Spec.NodeName):
		// What cannot be seen is not known to be ill.
		out.Reason = fmt.Sprintf("node %s cannot be reached", p.Spec.NodeName)
	case ready == corev1.ConditionTrue:
		out.State, out.Reason = driver.Ready, ""
	case unschedulable(p) != "":
		out.Reason = "no node takes it: " + unschedulable(p)
	case c != nil:
		out.State, out.Reason = containerState(c)
	}
	return out
}

// nodeLost reports whether the cluster has lost sight of a node.
func (d *Driver) nodeLost(name string) bool {
	if name == "" {
		return false
	}
	obj, ok, err := d.store.nodes.GetStore().GetByKey(name)
	if err != nil || !ok {
		return false
	}
	n, _ := obj.(*corev1.Node)
	return nodeCondition(n) == corev1.ConditionUnknown
}

// nodeCondition is whether a node says that it is ready.
func nodeCondition(n *corev1.Node) corev1.ConditionStatus {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status
		}
	}
	return ""
}

// containerState says how a container that is not ready does.
func containerState(c *corev1.ContainerStatus) (driver.State, string) {
	if w := c.State.Waiting; w != nil {
		if starting(w.Reason) {
			return driver.Pending, "starting"
		}
		return driver.Failing, waitingReason(w, c.LastTerminationState.Terminated)
	}
	if t := c.State.Terminated; t != nil {
		return driver.Failing, endedReason(t)
	}
	if c.State.Running != nil {
		if t := c.LastTerminationState.Terminated; t != nil {
			return driver.Failing, "started again after it " + endedReason(t)
		}
		return driver.Pending, "running, but no exposed port answers yet"
	}
	return driver.Pending, "starting"
}

// starting reports whether a container waits for a usual reason.
func starting(reason string) bool {
	return reason == "" || reason == "ContainerCreating" || reason == "PodInitializing"
}

// waitingReason says for a person why a container waits.
func waitingReason(w *corev1.ContainerStateWaiting, last *corev1.ContainerStateTerminated) string {
	switch w.Reason {
	case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable":
		return "image not available: " + w.Message
	case "CrashLoopBackOff":
		if last != nil {
			return endedReason(last) + "; it is started again after a pause"
		}
	}
	if w.Message == "" {
		return w.Reason
	}
	return w.Reason + ": " + w.Message
}

// endedReason says for a person how a container ended.
func endedReason(t *corev1.ContainerStateTerminated) string {
	text := fmt.Sprintf("ended with code %d", t.ExitCode)
	if t.Reason != "" && t.Reason != "Error" && t.Reason != "Completed" {
		text += " (" + t.Reason + ")"
	}
	if t.Message != "" {
		text += ": " + t.Message
	}
	return text
}

// refused says why the cluster makes no pods for a service, "" when it does.
func (d *Driver) refused(v view, s manifest.Service) string {
	namespace := Namespace(v.state.Workload.Lease)
	for _, dep := range of[*appsv1.Deployment](d.store.kinds[render.Deployments().Kind], namespace) {
		if dep.Labels[LabelService] != s.Name {
			continue
		}
		for _, c := range dep.Status.Conditions {
			if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
				return refusesPods + c.Message
			}
		}
	}
	return d.refusedSet(namespace, s)
}

// reasonRefused is the reason of events of pods that could not be made.
const reasonRefused = "FailedCreate"

const refusesPods = "the cluster refuses pods: "

// refusedSet is refused for a StatefulSet, which says so by events alone: the
// newest one that is younger than the set.
func (d *Driver) refusedSet(namespace string, s manifest.Service) string {
	if !render.IsStateful(s) {
		return ""
	}
	name := render.WorkloadName(s.Name, true)
	set, _ := d.store.find(render.Object{Kind: render.StatefulSets(), Namespace: namespace, Name: name}).(*appsv1.StatefulSet)
	var newest *corev1.Event
	for _, e := range of[*corev1.Event](d.store.refused, namespace) {
		mine := set != nil && e.InvolvedObject.Name == name && e.InvolvedObject.UID == set.UID
		if mine && (newest == nil || eventTime(e).After(eventTime(newest))) {
			newest = e
		}
	}
	if newest == nil {
		return ""
	}
	return refusesPods + newest.Message
}

// tight lists the services of which a new pod finds no room while old ones hold
// it.
func (d *Driver) tight(rec *record) map[string]bool {
	d.mu.Lock()
	id := rec.state.Workload.Lease
	d.mu.Unlock()
	out := make(map[string]bool)
	waiting, there := make(map[string]bool), make(map[string]bool)
	for _, p := range of[*corev1.Pod](d.store.pods, Namespace(id)) {
		service := p.Labels[LabelService]
		switch {
		case finished(p):
		case p.DeletionTimestamp == nil && unschedulable(p) != "":
			waiting[service] = true
		case p.Spec.NodeName != "":
			there[service] = true
		}
	}
	for service := range waiting {
		out[service] = there[service]
	}
	d.mu.Lock()
	rec.tight = out
	d.mu.Unlock()
	return out
}

// isTight reports whether a lease has a service that is short of room.
func (d *Driver) isTight(id market.LeaseID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	rec := d.records[id]
	return rec != nil && len(rec.tight) > 0
}

// Watch implements [driver.Watcher].
func (d *Driver) Watch(ctx context.Context) iter.Seq2[market.LeaseID, error] {
	return func(yield func(market.LeaseID, error) bool) {
		watch := d.hub.Watch()
		defer watch.Leave()
		ids, err := d.List(ctx)
		if err != nil {
			if ctx.Err() == nil {
				yield(market.LeaseID{}, err)
			}
			return
		}
		for ok := true; ok; ids, ok = watch.Wait(ctx) {
			for _, id := range ids {
				if !yield(id, nil) {
					return
				}
			}
		}
		if ctx.Err() == nil {
			yield(market.LeaseID{}, driver.ErrClosed)
		}
	}
}
