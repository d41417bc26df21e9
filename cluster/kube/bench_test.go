package kube_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/kube"
	"github.com/moorage-dev/moorage/cluster/kube/internal/render"
	"github.com/moorage-dev/moorage/cluster/kube/internal/render/rendertest"
)

// live makes the object that a cluster would have.
func live(b *testing.B, o render.Object) metav1.Object {
	b.Helper()
	var v metav1.Object
	switch o.Kind.Kind {
	case "Namespace":
		v = &corev1.Namespace{}
	case "ServiceAccount":
		v = &corev1.ServiceAccount{}
	case "ResourceQuota":
		v = &corev1.ResourceQuota{}
	case "Service":
		v = &corev1.Service{}
	case "Deployment":
		v = &appsv1.Deployment{}
	case "StatefulSet":
		v = &appsv1.StatefulSet{}
	case "Role":
		v = &rbacv1.Role{}
	case "RoleBinding":
		v = &rbacv1.RoleBinding{}
	case "Ingress":
		v = &networkingv1.Ingress{}
	case "HTTPRoute":
		v = &unstructured.Unstructured{}
	default:
		return nil
	}
	require.NoError(b, json.Unmarshal(o.Body, v))
	switch v := v.(type) { // as the server does
	case *appsv1.Deployment:
		v.Spec.Template.Spec.DeprecatedServiceAccount = v.Spec.Template.Spec.ServiceAccountName
	case *appsv1.StatefulSet:
		v.Spec.Template.Spec.DeprecatedServiceAccount = v.Spec.Template.Spec.ServiceAccountName
	}
	return v
}

// BenchmarkDiff compares every object of a lease with what the cluster has.
func BenchmarkDiff(b *testing.B) {
	for _, name := range []string{"01-web.yaml", "20-everything.yaml"} {
		b.Run(name, func(b *testing.B) {
			file := filepath.Join("internal/render/testdata", name)
			in, err := rendertest.Input(file)
			require.NoError(b, err)
			objects, err := render.Render(rendertest.Options(file), in)
			require.NoError(b, err)
			type pair struct {
				want render.Object
				has  metav1.Object
			}
			var pairs []pair
			for _, o := range objects {
				if v := live(b, o); v != nil {
					pairs = append(pairs, pair{o, v})
				}
			}
			b.ReportAllocs()
			b.ReportMetric(float64(len(pairs)), "objects")
			for b.Loop() {
				for _, p := range pairs {
					if differs, err := kube.Differs(p.want, p.has); err != nil || differs {
						b.Fatal(p.want, differs, err)
					}
				}
			}
		})
	}
}

// BenchmarkAThousandLeases brings leases without replicas to a real server, and
// reads their statuses.
func BenchmarkAThousandLeases(b *testing.B) {
	const leases, abreast = 1000, 16
	r := realCluster(b)
	name := instance()
	r.sweep(b, name)
	c, cfg := &calls{}, r.config(name)
	cfg.REST = c.wrap(r.limited)
	cfg.REST.QPS, cfg.REST.Burst = 1000, 1000
	d := open(b, cfg)
	before, begin := heap(), time.Now()
	first := c.all()
	var wg sync.WaitGroup
	turn := make(chan struct{}, abreast)
	for n := range leases {
		turn <- struct{}{}
		wg.Go(func() {
			defer func() { <-turn }()
			s := r.service("web", fmt.Sprint("lease ", n))
			s.Count = 0
			s.Expose = s.Expose[:1]
			if err := d.Apply(b.Context(), workload(lease(name, n+1), 1, s)); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	took := time.Since(begin)
	calls := c.all() - first
	ids, err := d.List(b.Context())
	require.NoError(b, err)
	require.Len(b, ids, leases)
	for n := range leases {
		ready(b, d, lease(name, n+1), 1)
	}
	after := heap()
	b.ReportAllocs()
	for b.Loop() {
		for _, id := range ids {
			if s, err := d.Status(b.Context(), id); err != nil || s.State != driver.Ready {
				b.Fatal(s, err)
			}
		}
	}
	b.ReportMetric(float64(leases)/took.Minutes(), "leases/min")
	b.ReportMetric(float64(calls)/leases, "calls/lease")
	b.ReportMetric(float64(after-before)/leases, "heap-B/lease")
}

// heap is what is in use after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
