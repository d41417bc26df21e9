package metallb_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/moorage-dev/moorage/iplease/metallb"
)

func TestAPoolSaysWhichOfItsAddressesOthersHave(t *testing.T) {
	service := func(name, instance, at string) *corev1.Service {
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "somewhere"}}
		if instance != "" {
			s.Labels = map[string]string{"moorage.dev/instance": instance}
		}
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: at}}
		return s
	}
	pool := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
		"metadata": map[string]any{"name": "public", "namespace": "metallb-system"},
		"spec":     map[string]any{"addresses": []any{"203.0.113.0/28"}},
	}}
	kinds := map[schema.GroupVersionResource]string{{Group: "metallb.io", Version: "v1beta1", Resource: "ipaddresspools"}: "IPAddressPoolList"}
	cfg := config()
	cfg.Client = fake.NewClientset(service("web", "", "203.0.113.3"), service("ours", "default", "203.0.113.4"),
		service("theirs", "other", "203.0.113.2"), service("elsewhere", "", "198.51.100.1"))
	cfg.Dynamic = dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), kinds, pool)
	a, err := metallb.New(cfg)
	require.NoError(t, err)
	pools, err := a.Pools(t.Context())
	require.NoError(t, err)
	require.Len(t, pools, 1)
	assert.Equal(t, []netip.Addr{netip.MustParseAddr("203.0.113.2"), netip.MustParseAddr("203.0.113.3")}, pools[0].InUse)
}
