package metallb

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/iplease/driver"
)

// fieldManager owns what the announcer writes.
const fieldManager = "moorage-metallb"

func applyOptions() metav1.ApplyOptions {
	return metav1.ApplyOptions{FieldManager: fieldManager, Force: true}
}

// Apply implements [driver.Announcer].
func (a *Announcer) Apply(ctx context.Context, n driver.Announcement) error {
	if err := a.begin(ctx); err != nil {
		return err
	}
	if err := n.Validate(); err != nil {
		return err
	}
	record, err := encode(n)
	if err != nil {
		return err
	}
	held, err := a.accept(ctx, n, record)
	if err != nil || held.Revision >= n.Revision {
		return err
	}
	a.hub.Publish(n.Claim.String())
	if held.Revision == 0 {
		return nil
	}
	return a.await(ctx, "the change to be in force", func(ctx context.Context) (bool, error) { return a.inForce(ctx, n) })
}

// accept makes an announcement the desired state and writes its objects, unless
// it is refused or not newer than what is held, which it returns.
func (a *Announcer) accept(ctx context.Context, n driver.Announcement, record string) (held driver.Announcement, err error) {
	a.applying.Lock()
	defer a.applying.Unlock()
	anchors, err := a.cfg.Client.CoreV1().Services(a.cfg.Namespace).List(ctx, selecting(map[string]string{labelPart: partAnchor}))
	if err != nil {
		return held, fault(ctx, "list anchors", err)
	}
	for _, s := range anchors.Items {
		other, err := decode(s.Annotations[annotationRecord])
		if err != nil {
			a.cfg.Log.Error("the record of an anchor cannot be read", "service", s.Name, "err", err)
			continue
		}
		if other.Claim == n.Claim && s.Name == a.cfg.anchorName(n.Claim) {
			held = other
		} else if i := slices.IndexFunc(n.Addresses, func(at netip.Addr) bool { return slices.Contains(other.Addresses, at) }); i >= 0 {
			return held, fmt.Errorf("%w: %s by %s", driver.ErrConflict, n.Addresses[i], other.Claim)
		}
	}
	if held.Revision >= n.Revision {
		return held, nil
	}
	return held, fault(ctx, "claim "+n.Claim.String(), a.write(ctx, n, record))
}

// write makes the objects of a claim as they are wanted. It needs applying.
func (a *Announcer) write(ctx context.Context, n driver.Announcement, record string) error {
	if err := a.writeAnchor(ctx, a.cfg.anchor(n, record)); err != nil {
		return err
	}
	live, err := a.live(ctx, n.Claim)
	if err != nil {
		return err
	}
	wanted := a.cfg.services(n)
	// MetalLB refuses a port that another Service of the address has: what is given
	// up goes first.
	for _, s := range live {
		if s.Labels[labelPart] != partPorts {
			continue
		}
		if err := a.shrink(ctx, s, wanted); err != nil {
			return err
		}
	}
	for _, s := range wanted {
		if err := a.put(ctx, s); err != nil && !absent(err) {
			return err
		} // what has no namespace yet is written by Run when it has
	}
	return nil
}

// absent reports whether an error says that a namespace is not there, or going.
func absent(err error) bool {
	return apierrors.IsNotFound(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
}

func (a *Announcer) writeAnchor(ctx context.Context, s service) error {
	err := a.put(ctx, s)
	if apierrors.IsNotFound(err) {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.namespace}}
		_, err = a.cfg.Client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{FieldManager: fieldManager})
		if err == nil || apierrors.IsAlreadyExists(err) {
			err = a.put(ctx, s)
		}
	}
	if err != nil {
		return err
	}
	for _, e := range a.cfg.endpoints(s) {
		if _, err := a.cfg.Client.DiscoveryV1().EndpointSlices(s.namespace).Apply(ctx, e, applyOptions()); err != nil {
			return err
		}
	}
	return nil
}

// put applies a Service; one whose first family differs is made anew, because
// that cannot be changed.
func (a *Announcer) put(ctx context.Context, s service) error {
	services := a.cfg.Client.CoreV1().Services(s.namespace)
	_, err := services.Apply(ctx, a.cfg.object(s), applyOptions())
	if !apierrors.IsInvalid(err) {
		return err
	}
	old, get := services.Get(ctx, s.name, metav1.GetOptions{})
	if get != nil || slices.Equal(old.Spec.IPFamilies, families(s.addresses)) {
		return err
	}
	if err := services.Delete(ctx, s.name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	_, err = services.Apply(ctx, a.cfg.object(s), applyOptions())
	return err
}

// shrink takes from a Service the ports that it is not to have any more.
func (a *Announcer) shrink(ctx context.Context, live corev1.Service, wanted []service) error {
	i := slices.IndexFunc(wanted, func(w service) bool { return w.namespace == live.Namespace && w.name == live.Name })
	var kept []port
	if i >= 0 {
		for _, p := range wanted[i].ports {
			if slices.ContainsFunc(live.Spec.Ports, func(l corev1.ServicePort) bool {
				return l.Protocol == p.protocol && l.Port == int32(p.external)
			}) {
				kept = append(kept, p)
			}
		}
	}
	switch len(kept) {
	case len(live.Spec.Ports):
		return nil
	case 0:
		err := a.cfg.Client.CoreV1().Services(live.Namespace).Delete(ctx, live.Name, metav1.DeleteOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	}
	smaller := wanted[i]
	smaller.ports = kept
	return a.put(ctx, smaller)
}

// live are the Services that a claim has, the anchor among them.
func (a *Announcer) live(ctx context.Context, id iplease.ClaimID) ([]corev1.Service, error) {
	set := map[string]string{labelInstance: a.cfg.Instance, labelClaim: hash(a.cfg.Instance, id.String())}
	list, err := a.cfg.Client.CoreV1().Services(metav1.NamespaceAll).List(ctx, selecting(set))
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

func selecting(set map[string]string) metav1.ListOptions {
	return metav1.ListOptions{LabelSelector: labels.SelectorFromSet(set).String()}
}

// Withdraw implements [driver.Announcer].
func (a *Announcer) Withdraw(ctx context.Context, id iplease.ClaimID) error {
	if err := a.begin(ctx); err != nil {
		return err
	}
	names := []string{a.cfg.anchorName(id)}
	removed, err := a.remove(ctx, id)
	if err != nil {
		return fault(ctx, "withdraw "+id.String(), err)
	}
	for _, s := range removed {
		names = append(names, s.Name)
	}
	told, err := a.announcing(ctx, names)
	if err != nil {
		return fault(ctx, "withdraw "+id.String(), err)
	}
	if len(removed) == 0 && len(told) == 0 {
		return nil
	}
	a.hub.Publish(id.String())
	return a.await(ctx, "nobody to answer", func(ctx context.Context) (bool, error) {
		told, err := a.announcing(ctx, names)
		return len(told) == 0, err
	})
}

// remove deletes a claim's objects, the anchor last: it is how the rest is found.
func (a *Announcer) remove(ctx context.Context, id iplease.ClaimID) ([]corev1.Service, error) {
	a.applying.Lock()
	defer a.applying.Unlock()
	live, err := a.live(ctx, id)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(live, func(x, y corev1.Service) int { return len(y.Labels[labelPart]) - len(x.Labels[labelPart]) })
	for _, s := range live {
		err := a.cfg.Client.CoreV1().Services(s.Namespace).Delete(ctx, s.Name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, err
		}
	}
	for _, e := range a.cfg.endpoints(a.cfg.anchor(driver.Announcement{Claim: id, Addresses: bothFamilies()}, "")) {
		err := a.cfg.Client.DiscoveryV1().EndpointSlices(a.cfg.Namespace).Delete(ctx, *e.Name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, err
		}
	}
	return live, nil
}

func bothFamilies() []netip.Addr {
	return []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
}

// await waits for a condition, then gives the nodes' proxies their time.
func (a *Announcer) await(ctx context.Context, what string, done func(context.Context) (bool, error)) error {
	const pause = 100 * time.Millisecond
	deadline := time.NewTimer(a.cfg.Patience)
	defer deadline.Stop()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		ok, err := done(ctx)
		if err != nil {
			return fault(ctx, "wait for "+what, err)
		}
		if ok {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			return &driver.TransientError{Err: fmt.Errorf("metallb: waited %s for %s", a.cfg.Patience, what)}
		}
	}
	settle := time.NewTimer(a.cfg.Settle)
	defer settle.Stop()
	select {
	case <-settle.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
