package kube

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/internal/hub"
	"github.com/moorage-dev/moorage/cluster/kube/internal/render"
	"github.com/moorage-dev/moorage/market"
)

// Apply implements [driver.Driver]. When it returns, the cluster keeps the
// workload, and whatever happens it is brought about by [Driver.Run]. ErrConflict
// is a host name or a namespace that somebody else has, ErrExhausted no room,
// ErrInvalid what this cluster can never run.
func (d *Driver) Apply(ctx context.Context, w driver.Workload) error {
	if err := d.check(ctx); err != nil {
		return err
	}
	if err := w.Validate(); err != nil {
		return err
	}
	w = w.Clone()
	slices.SortFunc(w.Group.Services, func(a, b serviceOf) int { return strings.Compare(a.Name, b.Name) })
	rec, old, err := d.accept(w)
	if rec == nil || err != nil {
		return err
	}
	rec.write.Lock()
	defer rec.write.Unlock()
	fresh, err := d.keep(ctx, rec)
	if err != nil {
		d.retract(rec, old)
		return err
	}
	d.mu.Lock()
	rec.durable = true
	d.mu.Unlock()
	d.hub.Publish(w.Lease)
	d.log.InfoContext(ctx, "workload accepted", slog.Any("lease", w.Lease), slog.Uint64("revision", w.Revision))
	if err := d.bring(ctx, rec, fresh); err != nil {
		d.queue.AddRateLimited(w.Lease) // it is kept, so it goes on without the caller
	}
	return nil
}

// before is what a record had before an Apply.
type before struct {
	state   *state
	durable bool
	trouble string
	final   bool
}

// accept checks a workload against everything that is known and makes it the
// desired one. The record is nil when there is nothing to do.
func (d *Driver) accept(w driver.Workload) (*record, before, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	rec := d.records[w.Lease]
	switch {
	case rec != nil && rec.leaving:
		return nil, before{}, &driver.TransientError{Err: fmt.Errorf("kube: lease %s is still being deleted", w.Lease)}
	case rec != nil && rec.durable && rec.state != nil && w.Revision <= rec.state.Workload.Revision:
		return nil, before{}, nil
	}
	if err := d.checkHostnames(w); err != nil {
		return nil, before{}, err
	}
	res, err := d.resolve(w)
	if err != nil {
		return nil, before{}, err
	}
	st, err := newState(w, res)
	if err != nil {
		return nil, before{}, err
	}
	if _, err := render.Render(d.opts, render.Input{Workload: w, Resolution: res, State: st.encoded}); err != nil {
		return nil, before{}, err
	}
	d.refreshNodes()
	if _, reasons := d.ledger.Reserve(w.Lease.String(), w.Spec()); len(reasons) > 0 {
		return nil, before{}, driver.Refusal(reasons)
	}
	if rec == nil {
		rec = &record{memo: make(map[string]memo)}
		d.records[w.Lease] = rec
		d.byNS[Namespace(w.Lease)] = w.Lease
	}
	old := before{rec.state, rec.durable, rec.trouble, rec.final}
	rec.state, rec.durable, rec.trouble, rec.final = st, false, "", false
	return rec, old, nil
}

// retract undoes accept.
func (d *Driver) retract(rec *record, old before) {
	d.mu.Lock()
	defer d.mu.Unlock()
	id := rec.state.Workload.Lease
	rec.state, rec.durable, rec.trouble, rec.final = old.state, old.durable, old.trouble, old.final
	if old.state == nil {
		delete(d.records, id)
		d.ledger.Release(id.String())
		return
	}
	d.ledger.Reserve(id.String(), old.state.Workload.Spec()) // it fitted before
}

// keep writes namespace and state. It reports whether the namespace was made by
// this call.
func (d *Driver) keep(ctx context.Context, rec *record) (fresh bool, err error) {
	objects, err := d.render(rec)
	if err != nil {
		return false, err
	}
	for _, o := range objects {
		switch {
		case o.Kind.Kind == render.Namespaces().Kind:
			fresh, err = d.ensureNamespace(ctx, rec, o)
		case o.Kind.Kind == render.Secrets().Kind && o.Name == render.StateName:
			err = d.ensure(ctx, rec, o, fresh)
		}
		if err != nil {
			return fresh, err
		}
	}
	return fresh, nil
}

// Delete implements [driver.Driver]. It waits until the namespace is gone; when
// the context ends first, the cluster goes on with it.
func (d *Driver) Delete(ctx context.Context, id market.LeaseID) error {
	if err := d.check(ctx); err != nil {
		return err
	}
	watch := d.hub.Watch()
	defer watch.Leave()
	rec := d.leave(id)
	rec.write.Lock()
	defer rec.write.Unlock()
	if err := d.remove(ctx, id); err != nil {
		d.stay(rec)
		return err
	}
	const look = 500 * time.Millisecond
	for {
		gone, err := d.gone(ctx, id)
		if err != nil {
			return err
		}
		if gone {
			d.forget(id)
			return nil
		}
		wait, cancel := context.WithTimeout(ctx, look)
		watch.Wait(wait)
		cancel()
		if err := cmp.Or(d.check(ctx)); err != nil {
			return err
		}
	}
}

// leave marks a lease as being deleted, so that nothing of it is made anew. A
// lease without a record gets one, for an orphan's namespace.
func (d *Driver) leave(id market.LeaseID) *record {
	d.mu.Lock()
	defer d.mu.Unlock()
	rec := d.records[id]
	if rec == nil {
		return &record{leaving: true}
	}
	rec.leaving = true
	d.hub.Publish(id)
	return rec
}

// stay undoes leave: the cluster did not hear of it.
func (d *Driver) stay(rec *record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	rec.leaving = false
}

// remove asks the cluster to delete the namespace, if it is the lease's.
func (d *Driver) remove(ctx context.Context, id market.LeaseID) error {
	ns, err := d.client.CoreV1().Namespaces().Get(ctx, Namespace(id), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return explain("look for namespace", err)
	}
	if !d.owns(ns) {
		return fmt.Errorf("%w: namespace %s is not of this instance", driver.ErrConflict, ns.Name)
	}
	if ns.DeletionTimestamp != nil {
		return nil
	}
	err = d.client.CoreV1().Namespaces().Delete(ctx, ns.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &ns.UID},
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return explain("delete namespace", err)
	}
	d.stopWork(ctx, id)
	return nil
}

// stopWork deletes what makes pods in a namespace that is being deleted. The
// cluster does so too, but only after some seconds, and then it looks again after
// half of the time that a pod may take to end. What fails is left to it.
func (d *Driver) stopWork(ctx context.Context, id market.LeaseID) {
	for _, k := range []render.Kind{render.Deployments(), render.StatefulSets()} {
		for _, m := range of[metav1.Object](d.store.kinds[k.Kind], Namespace(id)) {
			if !d.made(m) || m.GetDeletionTimestamp() != nil {
				continue
			}
			uid, background := m.GetUID(), metav1.DeletePropagationBackground
			err := d.dyn.Resource(k.GroupVersionResource).Namespace(m.GetNamespace()).Delete(ctx, m.GetName(), metav1.DeleteOptions{
				Preconditions: &metav1.Preconditions{UID: &uid}, PropagationPolicy: &background,
			})
			if err != nil {
				d.log.DebugContext(ctx, "left to the cluster", slog.String("kind", k.Kind), slog.String("name", m.GetName()), slog.Any("err", err))
			}
		}
	}
}

// owns reports whether an object is of a lease of this instance.
func (d *Driver) owns(m metav1.Object) bool {
	l := m.GetLabels()
	_, ok := leaseOf(m)
	return ok && l[LabelManaged] == render.Managed && l[LabelInstance] == d.cfg.Instance
}

// gone reports whether the server and the watches have nothing of a lease.
func (d *Driver) gone(ctx context.Context, id market.LeaseID) (bool, error) {
	ns, err := d.client.CoreV1().Namespaces().Get(ctx, Namespace(id), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		return false, explain("look whether the namespace is gone", err)
	default:
		return !d.owns(ns), nil
	}
	for name, informer := range d.store.kinds {
		if name == render.Namespaces().Kind && len(of[*corev1.Namespace](informer, Namespace(id))) > 0 {
			return false, nil
		}
	}
	return true, nil
}

// forget drops the record of a lease that is gone.
func (d *Driver) forget(id market.LeaseID) {
	d.mu.Lock()
	delete(d.records, id)
	delete(d.byNS, Namespace(id))
	d.ledger.Release(id.String())
	d.mu.Unlock()
	d.hub.Publish(id)
	d.log.Info("workload gone", slog.Any("lease", id))
}

// List implements [driver.Driver]. A namespace that was made for a lease is in
// it even if nothing is known of what should be there.
func (d *Driver) List(ctx context.Context) ([]market.LeaseID, error) {
	if err := d.check(ctx); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	seen := make(map[market.LeaseID]bool)
	for id, rec := range d.records {
		seen[id] = rec.state != nil
	}
	for _, ns := range every[*corev1.Namespace](d.store.kinds[render.Namespaces().Kind]) {
		if id, ok := leaseOf(ns); ok {
			seen[id] = true
		}
	}
	ids := make([]market.LeaseID, 0, len(seen))
	for id, there := range seen {
		if there {
			ids = append(ids, id)
		}
	}
	hub.Sort(ids)
	return ids, nil
}
