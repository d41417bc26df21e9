package kube

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/kube/internal/render"
)

// prepare does what must be done before an object can be written. The claims
// that a StatefulSet makes cannot be changed in it, so it is made anew: the
// volumes stay, and if they are the same ones as before, the pods go on. Claims
// that grow are told.
func (d *Driver) prepare(ctx context.Context, rec *record, o render.Object, live metav1.Object) error {
	set, ok := live.(*appsv1.StatefulSet)
	if !ok {
		return nil
	}
	var want appsv1.StatefulSet
	if err := json.Unmarshal(o.Body, &want); err != nil {
		return fmt.Errorf("kube: %w", err)
	}
	if sameClaims(want.Spec.VolumeClaimTemplates, set.Spec.VolumeClaimTemplates) {
		return nil
	}
	if err := d.grow(ctx, rec, o, want.Spec.VolumeClaimTemplates); err != nil {
		return err
	}
	// A pod whose list of volumes differs is beyond what a StatefulSet can take
	// over: it would try to change it for ever. Then the pods go too.
	names := func(list []corev1.PersistentVolumeClaim) (out []string) {
		for _, c := range list {
			out = append(out, c.Name)
		}
		return out
	}
	if slices.Equal(names(want.Spec.VolumeClaimTemplates), names(set.Spec.VolumeClaimTemplates)) {
		return d.replace(ctx, o, metav1.DeletePropagationOrphan)
	}
	return d.replace(ctx, o, metav1.DeletePropagationBackground)
}

// sameClaims compares what can be told apart of two lists of claims.
func sameClaims(a, b []corev1.PersistentVolumeClaim) bool {
	return slices.EqualFunc(a, b, func(x, y corev1.PersistentVolumeClaim) bool {
		class := func(c corev1.PersistentVolumeClaim) string {
			if c.Spec.StorageClassName == nil {
				return ""
			}
			return *c.Spec.StorageClassName
		}
		return x.Name == y.Name && class(x) == class(y) && x.Spec.Resources.Requests.Storage().Cmp(*y.Spec.Resources.Requests.Storage()) == 0
	})
}

// grow asks for more room in the claims that exist. A claim never shrinks, and
// keeps the class it was made with.
func (d *Driver) grow(ctx context.Context, rec *record, o render.Object, want []corev1.PersistentVolumeClaim) error {
	d.mu.Lock()
	w := rec.state.Workload
	d.mu.Unlock()
	i := slices.IndexFunc(w.Group.Services, func(s serviceOf) bool { return s.Name == o.Service })
	if i < 0 {
		return nil
	}
	for _, c := range of[*corev1.PersistentVolumeClaim](d.store.claims, o.Namespace) {
		for _, t := range want {
			mine := slices.ContainsFunc(slices.Collect(replicas(int(w.Group.Services[i].Count))), func(n int) bool {
				return c.Name == fmt.Sprintf("%s-%s-%d", t.Name, o.Name, n)
			})
			if size := t.Spec.Resources.Requests.Storage(); mine && size.Cmp(*c.Spec.Resources.Requests.Storage()) > 0 {
				patch := fmt.Appendf(nil, `{"spec":{"resources":{"requests":{"storage":%q}}}}`, size.String())
				_, err := d.client.CoreV1().PersistentVolumeClaims(o.Namespace).Patch(ctx, c.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: FieldManager})
				if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) {
					// Its class cannot grow. Replicas that are made later have the new size.
					d.log.WarnContext(ctx, "a volume cannot grow", slog.String("claim", c.Name), slog.Any("err", err))
					continue
				}
				if err != nil {
					return explain("grow volume "+c.Name, err)
				}
			}
		}
	}
	return nil
}

func replicas(n int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

// replace deletes an object so that it can be made anew. Volumes stay whatever
// the propagation is.
func (d *Driver) replace(ctx context.Context, o render.Object, propagation metav1.DeletionPropagation) error {
	live, err := d.resource(o).Get(ctx, o.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return explain("look at "+o.String(), err)
	}
	if !d.made(live) {
		return fmt.Errorf("%w: %s in namespace %s was made by somebody else", driver.ErrConflict, o, o.Namespace)
	}
	uid := live.GetUID()
	d.log.InfoContext(ctx, "made anew, since it cannot be changed", slog.String("object", o.String()), slog.String("namespace", o.Namespace))
	err = d.resource(o).Delete(ctx, o.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &uid}, PropagationPolicy: &propagation,
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return explain("replace "+o.String(), err)
	}
	return d.awaitGone(ctx, o, uid)
}

// awaitGone waits until the object that had the UID is gone.
func (d *Driver) awaitGone(ctx context.Context, o render.Object, uid types.UID) error {
	const look, patience = 50 * time.Millisecond, 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		live, err := d.resource(o).Get(ctx, o.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err), err == nil && live.GetUID() != uid:
			return nil
		case err != nil:
			return explain("wait for "+o.String(), err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return &driver.TransientError{Err: fmt.Errorf("kube: %s is still being deleted", o)}
		}
	}
}
