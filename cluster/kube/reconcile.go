package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/dynamic"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/kube/internal/diff"
	"github.com/moorage-dev/moorage/cluster/kube/internal/render"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

type serviceOf = manifest.Service

// work brings leases in order until the queue ends.
func (d *Driver) work(ctx context.Context) {
	for {
		id, end := d.queue.Get()
		if end {
			return
		}
		err := d.visit(ctx, id)
		if err != nil && ctx.Err() == nil {
			d.log.InfoContext(ctx, "lease is not in order; trying again", slog.Any("lease", id), slog.Any("err", err))
			d.queue.AddRateLimited(id)
		} else {
			d.queue.Forget(id)
		}
		d.queue.Done(id)
	}
}

// visit brings one lease in order.
func (d *Driver) visit(ctx context.Context, id market.LeaseID) error {
	d.mu.Lock()
	rec := d.records[id]
	d.mu.Unlock()
	if rec == nil {
		return nil
	}
	rec.write.Lock()
	defer rec.write.Unlock()
	d.mu.Lock()
	wanted := d.records[id] == rec && rec.durable && !rec.leaving
	d.mu.Unlock()
	if !wanted {
		return nil
	}
	return d.bring(ctx, rec, false)
}

// bring makes the cluster have what is wanted of a lease: everything that
// differs is written, everything that is no longer wanted is removed. The caller
// holds write.
func (d *Driver) bring(ctx context.Context, rec *record, fresh bool) error {
	err := d.bringAll(ctx, rec, fresh)
	d.mu.Lock()
	id := rec.state.Workload.Lease
	changed := false
	if err == nil {
		changed = rec.trouble != ""
		rec.trouble, rec.final = "", false
	} else if ctx.Err() == nil {
		var passing *driver.TransientError
		text := strings.TrimPrefix(err.Error(), "kube: ")
		changed = rec.trouble != text
		rec.trouble, rec.final = text, !errors.As(err, &passing)
	}
	d.mu.Unlock()
	if changed {
		d.hub.Publish(id)
	}
	return err
}

func (d *Driver) bringAll(ctx context.Context, rec *record, fresh bool) error {
	objects, err := d.render(rec)
	if err != nil {
		return err
	}
	before := d.ports(rec)
	var late []error
	for i := 0; i < len(objects); i++ {
		o := objects[i]
		if o.Kind.Kind == render.Namespaces().Kind {
			made, err := d.ensureNamespace(ctx, rec, o)
			if err != nil {
				return err
			}
			fresh = fresh || made
			continue
		}
		if err := d.ensure(ctx, rec, o, fresh); err != nil {
			late = append(late, err) // the others are brought in order all the same
		}
		// Numbers of node ports are facts of the environment, so pods are rendered
		// when they are known.
		if last := i+1 == len(objects) || objects[i+1].Kind.Kind != render.Services().Kind; last && o.Kind.Kind == render.Services().Kind {
			if now := d.ports(rec); !maps.Equal(now, before) {
				if objects, err = d.render(rec); err != nil {
					return err
				}
			}
		}
	}
	if err := errors.Join(late...); err != nil {
		return err
	}
	return d.prune(ctx, rec, objects)
}

// render renders a record with what is known now.
func (d *Driver) render(rec *record) ([]render.Object, error) {
	ports := d.ports(rec)
	tight := d.tight(rec)
	d.mu.Lock()
	st := rec.state
	d.mu.Unlock()
	objects, err := render.Render(d.opts, render.Input{
		Workload: st.Workload, Resolution: st.Resolution, Ports: ports, Tight: tight, State: st.encoded,
	})
	if err != nil {
		return nil, err
	}
	templates := make(map[string]string)
	for _, o := range objects {
		if o.Template != "" {
			templates[o.Service] = o.Template
		}
	}
	d.mu.Lock()
	rec.templates = templates
	d.mu.Unlock()
	return objects, nil
}

// memoKey names an object among those of its lease.
func memoKey(kind, name string) string { return kind + "/" + name }

// known returns the memo of an object.
func (d *Driver) known(rec *record, o render.Object) (memo, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	m, ok := rec.memo[memoKey(o.Kind.Kind, o.Name)]
	return m, ok
}

// remember notes that an object is right as of a version; answer is the server's
// if it was written now.
func (d *Driver) remember(rec *record, o render.Object, version string, answer *unstructured.Unstructured) {
	m := memo{digest: o.Digest, version: versionNumber(version), at: time.Now()}
	if answer != nil && o.Kind.Kind == render.Services().Kind {
		var svc corev1.Service
		if runtime.DefaultUnstructuredConverter.FromUnstructured(answer.Object, &svc) == nil {
			m.answer = &svc
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	rec.memo[memoKey(o.Kind.Kind, o.Name)] = m
	if answer != nil {
		d.queue.AddAfter(rec.state.Workload.Lease, memoLife) // the watch must have it by then
	}
}

// versionNumber reads a resource version. They grow (KEP 5504); one that is no
// number counts as old.
func versionNumber(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// ensureNamespace makes the namespace if it is not there.
func (d *Driver) ensureNamespace(ctx context.Context, rec *record, o render.Object) (fresh bool, err error) {
	if live := d.store.find(o); live != nil {
		if live.GetDeletionTimestamp() != nil {
			return false, &driver.TransientError{Err: fmt.Errorf("kube: namespace %s is being deleted", o.Name)}
		}
		return false, d.ensure(ctx, rec, o, false)
	}
	if m, known := d.known(rec, o); known && m.covers(m.digest, nil, time.Now()) {
		return false, nil // made a moment ago
	}
	var ns corev1.Namespace
	if err := json.Unmarshal(o.Body, &ns); err != nil {
		return false, fmt.Errorf("kube: %w", err)
	}
	made, err := d.client.CoreV1().Namespaces().Create(ctx, &ns, metav1.CreateOptions{FieldManager: FieldManager, FieldValidation: metav1.FieldValidationStrict})
	if apierrors.IsAlreadyExists(err) {
		made, err = d.client.CoreV1().Namespaces().Get(ctx, o.Name, metav1.GetOptions{})
		switch {
		case err != nil:
			return false, explain("look at namespace", err)
		case !d.owns(made):
			return false, fmt.Errorf("%w: namespace %s exists and is not of this instance", driver.ErrConflict, o.Name)
		case made.DeletionTimestamp != nil:
			return false, &driver.TransientError{Err: fmt.Errorf("kube: namespace %s is being deleted", o.Name)}
		}
		return false, nil
	}
	if err != nil {
		return false, explain("make namespace", err)
	}
	d.remember(rec, o, made.ResourceVersion, nil)
	return true, nil
}

// ensure makes one object as wanted, and writes only if it differs. fresh says
// that the namespace is so new that nobody else can have put anything there.
func (d *Driver) ensure(ctx context.Context, rec *record, o render.Object, fresh bool) error {
	m, known := d.known(rec, o)
	live := d.store.find(o)
	if known && m.covers(o.Digest, live, time.Now()) {
		return nil
	}
	known = known && (live != nil || time.Since(m.at) < memoLife)
	if live != nil && (!known || versionNumber(live.GetResourceVersion()) >= m.version) {
		got, err := compare(o, live)
		if err != nil {
			return err
		}
		if got.Clean() {
			d.remember(rec, o, live.GetResourceVersion(), nil)
			return nil
		}
		d.log.DebugContext(ctx, "object differs", slog.String("object", o.String()), slog.String("at", got.Differs), slog.Any("extra", got.Extra))
	}
	if live == nil && !known && !fresh {
		if err := d.mayWrite(ctx, o); err != nil {
			return err
		}
	}
	return d.write(ctx, rec, o, live)
}

// compare compares an object with what was rendered.
func compare(o render.Object, live metav1.Object) (diff.Result, error) {
	want, err := wanted(o)
	if err != nil {
		return diff.Result{}, err
	}
	if u, ok := live.(*unstructured.Unstructured); ok {
		return diff.Compare(want, u.Object, shapeOf(o.Kind)), nil
	}
	have, err := runtime.DefaultUnstructuredConverter.ToUnstructured(live)
	if err != nil {
		return diff.Result{}, fmt.Errorf("kube: %w", err)
	}
	return diff.Compare(want, have, shapeOf(o.Kind)), nil
}

// wanted is the rendered object as the cache has it: objects of the cache do not
// say their type, Secrets have a digest for their data, and the account of a pod
// stands under its former name too.
func wanted(o render.Object) (map[string]any, error) {
	var want map[string]any
	if err := json.Unmarshal(o.Body, &want); err != nil {
		return nil, fmt.Errorf("kube: %w", err)
	}
	delete(want, "kind")
	delete(want, "apiVersion")
	if o.Kind.Kind == render.Secrets().Kind {
		var s corev1.Secret
		if err := json.Unmarshal(o.Body, &s); err != nil {
			return nil, fmt.Errorf("kube: %w", err)
		}
		delete(want, "data")
		if err := unstructured.SetNestedField(want, dataDigest(s.Data), "metadata", "annotations", dataAnnotation); err != nil {
			return nil, fmt.Errorf("kube: %w", err)
		}
	}
	if account, ok, _ := unstructured.NestedString(want, "spec", "template", "spec", "serviceAccountName"); ok {
		if err := unstructured.SetNestedField(want, account, "spec", "template", "spec", "serviceAccount"); err != nil {
			return nil, fmt.Errorf("kube: %w", err)
		}
	}
	return want, nil
}

// mayWrite refuses to take over an object of somebody else.
func (d *Driver) mayWrite(ctx context.Context, o render.Object) error {
	live, err := d.resource(o).Get(ctx, o.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return explain("look for "+o.String(), err)
	}
	if id, ok := leaseOf(live); ok && Namespace(id) == o.Namespace {
		return nil
	}
	return fmt.Errorf("%w: %s in namespace %s was made by somebody else", driver.ErrConflict, o, o.Namespace)
}

// resource is where an object is read and written.
func (d *Driver) resource(o render.Object) dynamic.ResourceInterface {
	r := d.dyn.Resource(o.Kind.GroupVersionResource)
	if o.Namespace == "" {
		return r
	}
	return r.Namespace(o.Namespace)
}

// write applies an object, and takes out what others have put in. What cannot be
// changed is made anew.
func (d *Driver) write(ctx context.Context, rec *record, o render.Object, live metav1.Object) error {
	if err := d.prepare(ctx, rec, o, live); err != nil {
		return err
	}
	got, err := d.patch(ctx, o)
	if immutable(err) {
		if err := d.replace(ctx, o, metav1.DeletePropagationBackground); err != nil {
			return err
		}
		got, err = d.patch(ctx, o)
	}
	if err != nil {
		return explain("write "+o.String(), err)
	}
	want, err := wanted(o)
	if err != nil {
		return err
	}
	if extra := diff.Compare(want, got.Object, shapeOf(o.Kind)).Extra; len(extra) > 0 {
		if got, err = d.takeOut(ctx, o, got.GetResourceVersion(), extra); err != nil {
			return explain("mend "+o.String(), err)
		}
	}
	d.remember(rec, o, got.GetResourceVersion(), got)
	return nil
}

func (d *Driver) patch(ctx context.Context, o render.Object) (*unstructured.Unstructured, error) {
	return d.resource(o).Patch(ctx, o.Name, types.ApplyPatchType, o.Body, metav1.PatchOptions{
		FieldManager: FieldManager, Force: new(true), FieldValidation: metav1.FieldValidationStrict,
	})
}

// takeOut removes items and fields, if the object is still as it was seen.
func (d *Driver) takeOut(ctx context.Context, o render.Object, version string, extra []string) (*unstructured.Unstructured, error) {
	type operation struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value string `json:"value,omitempty"`
	}
	ops := []operation{{"test", "/metadata/resourceVersion", version}}
	for _, path := range extra {
		ops = append(ops, operation{Op: "remove", Path: path})
	}
	body, err := json.Marshal(ops)
	if err != nil {
		return nil, err
	}
	return d.resource(o).Patch(ctx, o.Name, types.JSONPatchType, body, metav1.PatchOptions{FieldManager: FieldManager})
}

// immutable reports whether the server says that a field cannot be changed.
func immutable(err error) bool {
	if !apierrors.IsInvalid(err) {
		return false
	}
	text := err.Error()
	for _, said := range []string{"immutable", "updates to statefulset spec", "cannot change roleRef", "may not change once set"} {
		if strings.Contains(text, said) {
			return true
		}
	}
	return false
}

// prune removes what this driver made for the lease and no longer wants, and the
// volumes of services that are no more.
func (d *Driver) prune(ctx context.Context, rec *record, objects []render.Object) error {
	var errs []error
	for _, k := range render.Kinds() {
		informer, ok := d.store.kinds[k.Kind]
		if !ok || k.Cluster {
			continue
		}
		for _, m := range of[metav1.Object](informer, objects[0].Name) {
			wanted := slices.ContainsFunc(objects, func(o render.Object) bool { return o.Kind.Kind == k.Kind && o.Name == m.GetName() })
			if wanted || m.GetDeletionTimestamp() != nil || !d.made(m) || m.GetNamespace() != objects[0].Name {
				continue
			}
			errs = append(errs, d.discard(ctx, rec, k, m))
		}
	}
	errs = append(errs, d.pruneClaims(ctx, rec, objects[0].Name))
	return errors.Join(errs...)
}

// pruneClaims removes the volumes of services that the manifest no longer has:
// nobody pays for them, and under new names they would pile up. Volumes of
// replicas that are no longer wanted stay.
func (d *Driver) pruneClaims(ctx context.Context, rec *record, namespace string) error {
	d.mu.Lock()
	services := rec.state.Workload.Group.Services
	d.mu.Unlock()
	var errs []error
	for _, c := range of[*corev1.PersistentVolumeClaim](d.store.claims, namespace) {
		name := c.Labels[LabelService]
		wanted := slices.ContainsFunc(services, func(s serviceOf) bool { return s.Name == name })
		if wanted || name == "" || c.Labels[LabelPart] != render.Part || c.Namespace != namespace || c.DeletionTimestamp != nil {
			continue
		}
		err := d.client.CoreV1().PersistentVolumeClaims(namespace).Delete(ctx, c.Name, metav1.DeleteOptions{
			Preconditions: &metav1.Preconditions{UID: &c.UID},
		})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			errs = append(errs, explain("remove volume "+c.Name, err))
			continue
		}
		d.log.InfoContext(ctx, "removed a volume: its service is no more", slog.String("namespace", namespace), slog.String("claim", c.Name))
	}
	return errors.Join(errs...)
}

// made reports whether this driver made an object of a lease.
func (d *Driver) made(m metav1.Object) bool {
	return d.owns(m) && m.GetLabels()[LabelPart] == render.Part
}

func (d *Driver) discard(ctx context.Context, rec *record, k render.Kind, m metav1.Object) error {
	uid, background := m.GetUID(), metav1.DeletePropagationBackground
	err := d.dyn.Resource(k.GroupVersionResource).Namespace(m.GetNamespace()).Delete(ctx, m.GetName(), metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &uid}, PropagationPolicy: &background,
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return explain("remove "+k.Kind+" "+m.GetName(), err)
	}
	d.mu.Lock()
	delete(rec.memo, memoKey(k.Kind, m.GetName()))
	d.mu.Unlock()
	d.log.InfoContext(ctx, "removed", slog.String("kind", k.Kind), slog.String("name", m.GetName()))
	return nil
}

// changed is told of every change of an object of this driver.
func (d *Driver) changed(kind string, m metav1.Object, gone bool) {
	id, ok := leaseOf(m)
	if !ok {
		return
	}
	if gone {
		d.mu.Lock()
		if rec := d.records[id]; rec != nil {
			if kind == render.Namespaces().Kind {
				clear(rec.memo) // all went with it
			} else if key := memoKey(kind, m.GetName()); rec.memo[key].version <= versionNumber(m.GetResourceVersion()) {
				delete(rec.memo, key)
			}
		}
		d.mu.Unlock()
	}
	d.queue.Add(id)
	d.hub.Publish(id)
}

// publish tells watchers of the lease that a namespace is of.
func (d *Driver) publish(namespace string) {
	d.mu.Lock()
	id, ok := d.byNS[namespace]
	d.mu.Unlock()
	if ok {
		d.hub.Publish(id)
	}
}

// podChanged is told of every change of a pod of the cluster.
func (d *Driver) podChanged(m metav1.Object, _ bool) {
	id, ok := leaseOf(m)
	if !ok || !d.owns(m) {
		d.nodesChanged()
		return
	}
	d.hub.Publish(id)
	if p, ok := m.(*corev1.Pod); ok && (unschedulable(p) != "" || d.isTight(id)) {
		d.queue.Add(id)
	}
}

// enqueueAll has every lease looked at.
func (d *Driver) enqueueAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id := range d.records {
		d.queue.Add(id)
	}
}
