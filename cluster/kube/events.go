package kube

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/kube/internal/render"
	"github.com/moorage-dev/moorage/market"
)

// Event is something that the cluster reports about an object of a lease.
type Event struct {
	Time time.Time
	// Kind and Name are of the object that it is about, for example "Pod".
	Kind, Name string
	// Warning tells troubles from ordinary news.
	Warning         bool
	Reason, Message string
	// Count is how often it happened.
	Count int32
}

// maxEvents bounds the events that are read: the cluster keeps them for an hour.
const maxEvents = 1000

// Events returns what the cluster reports about the objects of a lease, oldest
// first. ErrNotFound as in Status.
func (d *Driver) Events(ctx context.Context, id market.LeaseID) ([]Event, error) {
	if err := d.check(ctx); err != nil {
		return nil, err
	}
	if _, ok := d.view(id); !ok {
		return nil, driver.ErrNotFound
	}
	list, err := d.client.CoreV1().Events(Namespace(id)).List(ctx, metav1.ListOptions{Limit: maxEvents})
	if err != nil {
		return nil, explain("read events", err)
	}
	out := make([]Event, 0, len(list.Items))
	for i := range list.Items {
		e := &list.Items[i]
		if e.InvolvedObject.Kind == render.Secrets().Kind {
			continue
		}
		out = append(out, Event{
			Time: eventTime(e), Kind: e.InvolvedObject.Kind, Name: e.InvolvedObject.Name, Warning: e.Type == corev1.EventTypeWarning,
			Reason: e.Reason, Message: e.Message, Count: max(e.Count, 1),
		})
	}
	slices.SortStableFunc(out, func(a, b Event) int { return a.Time.Compare(b.Time) })
	return out, nil
}

// eventTime is when an event happened last.
func eventTime(e *corev1.Event) time.Time {
	if e.LastTimestamp.IsZero() {
		return e.EventTime.Time
	}
	return e.LastTimestamp.Time
}
