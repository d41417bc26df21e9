package kube

import (
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/cluster/kube/internal/render"
	"github.com/moorage-dev/moorage/netpolicy"
)

// ParseProduct is parseProduct, for tests.
var ParseProduct = parseProduct

// Differs compares an object with what was rendered.
func Differs(o render.Object, live metav1.Object) (bool, error) {
	got, err := compare(o, live)
	return !got.Clean(), err
}

// Drift compares an object with what was rendered: what differs and what is too
// much.
func Drift(o render.Object, live metav1.Object) (differs string, extra []string, err error) {
	got, err := compare(o, live)
	return got.Differs, got.Extra, err
}

// MemoLife and Covers tell whether a memo stands for an object.
const MemoLife = memoLife

// Covers is memo.covers of an object of digest "d" written at version 5.
func Covers(digest string, live metav1.Object, age time.Duration) bool {
	now := time.Unix(1e9, 0)
	return memo{digest: "d", version: 5, at: now.Add(-age)}.covers(digest, live, now)
}

// Seen is a driver that has seen a cluster with objects, and asks no server.
type Seen struct{ d *Driver }

// See makes one. The objects are as an API server would send them.
func See(cfg Config, objects ...runtime.Object) (*Seen, error) {
	d, err := New(cfg)
	if err != nil {
		return nil, err
	}
	if d.store, err = newStore(fake.NewClientset(), dynamicfake.NewSimpleDynamicClient(runtime.NewScheme()), &d.cfg, false); err != nil {
		return nil, err
	}
	s := &Seen{d}
	for _, o := range objects {
		err = errors.Join(err, s.Add(o))
	}
	return s, err
}

// Add has the driver see one more object, or an object as it is now.
func (s *Seen) Add(o runtime.Object) error {
	st := s.d.store
	switch o.(type) {
	case *corev1.Node:
		return st.nodes.GetStore().Add(o)
	case *corev1.Pod:
		return st.pods.GetStore().Add(o)
	case *corev1.PersistentVolumeClaim:
		return st.claims.GetStore().Add(o)
	case *storagev1.StorageClass:
		return st.classes.GetStore().Add(o)
	case *storagev1.CSIStorageCapacity:
		return st.space.GetStore().Add(o)
	case *discoveryv1.EndpointSlice:
		return st.servers.GetStore().Add(o)
	case *networkingv1.Ingress:
		return st.kinds[render.Ingresses().Kind].GetStore().Add(o)
	}
	return errors.New("no place for it")
}

// Nodes is the inventory.
func (s *Seen) Nodes() []inventory.Node { return s.d.nodes() }

// Hostnames is checkHostnames.
func (s *Seen) Hostnames(w driver.Workload) error { return s.d.checkHostnames(w) }

// Around looks at the surroundings anew and returns them.
func (s *Seen) Around() netpolicy.Surroundings {
	s.d.look()
	return s.d.around()
}

// Render renders a workload.
func (s *Seen) Render(w driver.Workload) ([]render.Object, error) {
	return render.Render(s.d.opts, render.Input{Workload: w})
}
