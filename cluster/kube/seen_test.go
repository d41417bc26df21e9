package kube_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/kube"
	"github.com/moorage-dev/moorage/cluster/kube/internal/render"
	"github.com/moorage-dev/moorage/cluster/kube/internal/render/rendertest"
	"github.com/moorage-dev/moorage/netpolicy"
	"github.com/moorage-dev/moorage/netpolicy/kubepolicy"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// unseen is a configuration for drivers that ask no server.
func unseen() kube.Config {
	return kube.Config{
		REST: &rest.Config{Host: "127.0.0.1:1"}, Domain: "apps.example", Router: kube.Router{Ingress: "nginx", TLS: true, Issuer: "letsencrypt"},
		Policies: &kube.Policies{Routers: []kubepolicy.Peer{{Pods: map[string]string{"app": "router"}}}},
	}
}

// pageOf is a workload of one page, with names that the tenant asks for.
func pageOf(n int, hosts ...string) driver.Workload {
	return workload(lease("tenant", n), 1, manifest.Service{
		Name: "web", Image: "nginx", Count: 1,
		Expose: []manifest.Expose{{Port: 80, Proto: manifest.TCP, Global: true, Hosts: hosts}},
	})
}

// rendered finds an object among those of a workload.
func rendered(t *testing.T, objects []render.Object, name string) render.Object {
	t.Helper()
	for _, o := range objects {
		if o.String() == name {
			return o
		}
	}
	require.Fail(t, "not rendered", name)
	return render.Object{}
}

// as reads an object as the cluster would keep it.
func as[T any](t *testing.T, o render.Object) *T {
	t.Helper()
	v := new(T)
	require.NoError(t, json.Unmarshal(o.Body, v))
	return v
}

func TestWhatOpensTheNetworkOrANodeIsSeen(t *testing.T) {
	s, err := kube.See(unseen())
	require.NoError(t, err)
	objects, err := s.Render(pageOf(1))
	require.NoError(t, err)
	drift := func(o render.Object, live metav1.Object) []string {
		differs, extra, err := kube.Drift(o, live)
		require.NoError(t, err)
		if differs != "" {
			extra = append(extra, "not "+differs)
		}
		return extra
	}

	policy := rendered(t, objects, "NetworkPolicy moorage-lease")
	for what, spoil := range map[string]func(*networkingv1.NetworkPolicySpec){
		"/spec/ingress":                 func(p *networkingv1.NetworkPolicySpec) { p.Ingress = []networkingv1.NetworkPolicyIngressRule{{}} },
		"/spec/podSelector/matchLabels": func(p *networkingv1.NetworkPolicySpec) { p.PodSelector.MatchLabels = map[string]string{"a": "b"} },
		"/spec/egress/0/to/0/namespaceSelector": func(p *networkingv1.NetworkPolicySpec) {
			p.Egress[0].To[0].NamespaceSelector = &metav1.LabelSelector{}
		},
		"not /spec/egress": func(p *networkingv1.NetworkPolicySpec) {
			p.Egress = append(p.Egress, networkingv1.NetworkPolicyEgressRule{})
		},
	} {
		live := as[networkingv1.NetworkPolicy](t, policy)
		assert.Empty(t, drift(policy, live), "as it was rendered")
		spoil(&live.Spec)
		assert.Equal(t, []string{what}, drift(policy, live))
	}

	web := rendered(t, objects, "Deployment web")
	const pods = "/spec/template/spec"
	for what, spoil := range map[string]func(*corev1.PodSpec){
		pods + "/hostNetwork":                            func(p *corev1.PodSpec) { p.HostNetwork = true },
		pods + "/hostPID":                                func(p *corev1.PodSpec) { p.HostPID = true },
		pods + "/hostUsers":                              func(p *corev1.PodSpec) { p.HostUsers = new(true) },
		pods + "/nodeName":                               func(p *corev1.PodSpec) { p.NodeName = "n" },
		pods + "/initContainers":                         func(p *corev1.PodSpec) { p.InitContainers = []corev1.Container{{Name: "x"}} },
		pods + "/containers/1":                           func(p *corev1.PodSpec) { p.Containers = append(p.Containers, corev1.Container{Name: "x"}) },
		pods + "/volumes":                                func(p *corev1.PodSpec) { p.Volumes = []corev1.Volume{{Name: "x"}} },
		pods + "/tolerations":                            func(p *corev1.PodSpec) { p.Tolerations = []corev1.Toleration{{Operator: "Exists"}} },
		pods + "/dnsPolicy":                              func(p *corev1.PodSpec) { p.DNSPolicy = "Default" },
		pods + "/serviceAccountName":                     func(p *corev1.PodSpec) { p.ServiceAccountName = "x" },
		pods + "/containers/0/envFrom":                   func(p *corev1.PodSpec) { p.Containers[0].EnvFrom = []corev1.EnvFromSource{{Prefix: "x"}} },
		pods + "/containers/0/securityContext/runAsUser": func(p *corev1.PodSpec) { p.Containers[0].SecurityContext.RunAsUser = new(int64(0)) },
		"not " + pods + "/containers/0/securityContext/privileged": func(p *corev1.PodSpec) {
			p.Containers[0].SecurityContext.Privileged = new(true)
		},
	} {
		live := as[appsv1.Deployment](t, web)
		live.Spec.ProgressDeadlineSeconds = new(int32(600))
		p := &live.Spec.Template.Spec
		p.RestartPolicy, p.DNSPolicy, p.SchedulerName = corev1.RestartPolicyAlways, corev1.DNSClusterFirst, corev1.DefaultSchedulerName
		p.Containers[0].TerminationMessagePath, p.Containers[0].TerminationMessagePolicy = "/dev/termination-log", corev1.TerminationMessageReadFile
		p.Containers[0].ReadinessProbe.SuccessThreshold = 1
		assert.Empty(t, drift(web, live), "what the cluster fills in")
		spoil(p)
		assert.Equal(t, []string{what}, drift(web, live))
	}
	live := as[appsv1.Deployment](t, web)
	live.Spec.Paused = true
	assert.Equal(t, []string{"/spec/paused"}, drift(web, live))

	quota := rendered(t, objects, "ResourceQuota moorage-lease")
	q := as[corev1.ResourceQuota](t, quota)
	q.Spec.Scopes = []corev1.ResourceQuotaScope{corev1.ResourceQuotaScopeBestEffort}
	assert.Equal(t, []string{"/spec/scopes"}, drift(quota, q))
}

func TestARoleHasNoMoreRulesAndNoMoreSubjects(t *testing.T) {
	const file = "internal/render/testdata/15-permissions.yaml"
	in, err := rendertest.Input(file)
	require.NoError(t, err)
	objects, err := render.Render(rendertest.Options(file), in)
	require.NoError(t, err)
	seen := 0
	for _, o := range objects {
		switch o.Kind.Kind {
		case "Role":
			live := as[rbacv1.Role](t, o)
			live.Rules[0].Verbs = append(live.Rules[0].Verbs, "*")
			differs, _, err := kube.Drift(o, live)
			require.NoError(t, err)
			assert.Equal(t, "/rules/0/verbs", differs)
			live = as[rbacv1.Role](t, o)
			live.Rules[0].NonResourceURLs = []string{"*"}
			_, extra, err := kube.Drift(o, live)
			require.NoError(t, err)
			assert.Equal(t, []string{"/rules/0/nonResourceURLs"}, extra)
			seen++
		case "RoleBinding":
			live := as[rbacv1.RoleBinding](t, o)
			live.Subjects = append(live.Subjects, rbacv1.Subject{Kind: "Group", Name: "everybody"})
			_, extra, err := kube.Drift(o, live)
			require.NoError(t, err)
			assert.Equal(t, []string{"/subjects/1"}, extra)
			seen++
		}
	}
	assert.GreaterOrEqual(t, seen, 2)
}

func TestAMemoOfWhatTheWatchDoesNotHaveAges(t *testing.T) {
	at := func(version string) metav1.Object {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{ResourceVersion: version}}
	}
	assert.True(t, kube.Covers("d", nil, kube.MemoLife/2), "the watch is behind")
	assert.False(t, kube.Covers("d", nil, 2*kube.MemoLife), "it was deleted unseen")
	assert.True(t, kube.Covers("d", at("5"), time.Hour), "nothing has changed since")
	assert.True(t, kube.Covers("d", at("4"), 0), "the watch is behind")
	assert.False(t, kube.Covers("d", at("6"), 0), "it was changed")
	assert.False(t, kube.Covers("e", nil, 0), "something else is wanted")
}

// seenNode is a node that takes pods.
func seenNode(name string, addresses ...string) *corev1.Node {
	n := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name}},
		Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}},
	}
	for _, a := range addresses {
		n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeExternalIP, Address: a})
	}
	return n
}

func TestStorageOfANodeIsCountedThere(t *testing.T) {
	space := func(node string, free int64) *storagev1.CSIStorageCapacity {
		return &storagev1.CSIStorageCapacity{
			ObjectMeta: metav1.ObjectMeta{Namespace: "csi", Name: "z" + node}, StorageClassName: "beta2", Capacity: resource.NewQuantity(free, resource.BinarySI),
			NodeTopology: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelHostname: node}},
		}
	}
	claim := func(name, node string, bytes int64) *corev1.PersistentVolumeClaim {
		c := &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Namespace: "moorage-x", Name: name},
			Spec:       corev1.PersistentVolumeClaimSpec{StorageClassName: new("beta2")}, Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound},
		}
		c.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: *resource.NewQuantity(bytes, resource.BinarySI)}
		if node != "" {
			c.Annotations = map[string]string{"volume.kubernetes.io/selected-node": node}
		}
		return c
	}
	s, err := kube.See(unseen(), seenNode("a"), seenNode("b"), seenNode("c"), &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "beta2"}},
		space("c", 1000), space("a", 100), space("b", 10), claim("x", "b", 7), claim("y", "b", 20), claim("z", "c", 5), claim("anywhere", "", 3))
	require.NoError(t, err)
	for range 20 {
		got := make(map[string]uint64)
		for _, n := range s.Nodes() {
			got[n.Name] = n.Allocatable.PersistentBytes["beta2"]
		}
		require.Equal(t, map[string]uint64{"a": 103, "b": 37, "c": 1005}, got)
	}
}

func TestRoutesOfOthersAreConflictsAndAnswersToAnAuthorityAreNot(t *testing.T) {
	route := func(namespace, host string, labels map[string]string) *networkingv1.Ingress {
		return &networkingv1.Ingress{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "r", Labels: labels},
			Spec:       networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{{Host: host}}},
		}
	}
	solver := map[string]string{"acme.cert-manager.io/http01-solver": "true"}
	mine := kube.Namespace(lease("tenant", 1))
	s, err := kube.See(unseen(), route("intranet", "*.corp.example", nil), route(mine, "shop.example", solver), route("other", "blog.example", solver))
	require.NoError(t, err)
	for name, conflict := range map[string]bool{
		"admin.corp.example": true, "a.b.corp.example": true, "corp.example": false, "corp.example.org": false,
		"shop.example": false, "blog.example": true,
	} {
		err := s.Hostnames(pageOf(1, name))
		if conflict {
			assert.ErrorIs(t, err, driver.ErrConflict, name)
		} else {
			assert.NoError(t, err, name)
		}
	}
	assert.ErrorIs(t, s.Hostnames(pageOf(2, "shop.example")), driver.ErrConflict, "another lease's answer is not mine")
}

func TestNodesAndTheServerAreClosedToLeasesAndFollowed(t *testing.T) {
	cfg := unseen()
	own := netip.MustParsePrefix("203.0.113.0/24")
	cfg.Policies.Surroundings = netpolicy.Surroundings{Own: []netip.Prefix{own}}
	servers := func(address string) *discoveryv1.EndpointSlice {
		return &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "kubernetes"}, Ports: []discoveryv1.EndpointPort{{Port: new(int32(6443))}},
			Endpoints: []discoveryv1.Endpoint{{Addresses: []string{address}}},
		}
	}
	s, err := kube.See(cfg, seenNode("a", "198.51.100.7", "a.example"), seenNode("b", "2001:db8::7", "203.0.113.9"), servers("192.0.2.1"))
	require.NoError(t, err)
	prefixes := func(texts ...string) (out []netip.Prefix) {
		for _, text := range texts {
			out = append(out, netip.MustParsePrefix(text))
		}
		return out
	}
	got := s.Around()
	assert.Equal(t, prefixes("192.0.2.1/32", "198.51.100.7/32", "203.0.113.0/24", "2001:db8::7/128"), got.Own)
	assert.Equal(t, []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:6443")}, got.ControlPlane)
	assert.Equal(t, []netip.Prefix{own}, cfg.Policies.Surroundings.Own, "the caller's configuration is the caller's")

	require.NoError(t, s.Add(servers("192.0.2.2")))
	got = s.Around()
	assert.Equal(t, prefixes("192.0.2.2/32", "198.51.100.7/32", "203.0.113.0/24", "2001:db8::7/128"), got.Own)
	assert.Equal(t, []netip.AddrPort{netip.MustParseAddrPort("192.0.2.2:6443")}, got.ControlPlane)
}

func TestTheRouterReachesAnswersToAnAuthority(t *testing.T) {
	s, err := kube.See(unseen())
	require.NoError(t, err)
	objects, err := s.Render(pageOf(1))
	require.NoError(t, err)
	np := as[networkingv1.NetworkPolicy](t, rendered(t, objects, "NetworkPolicy moorage-help-acme"))
	assert.Equal(t, map[string]string{"acme.cert-manager.io/http01-solver": "true"}, np.Spec.PodSelector.MatchLabels)
	assert.Equal(t, 8089, np.Spec.Ingress[0].Ports[0].Port.IntValue())

	cfg := unseen()
	cfg.Router.Issuer = ""
	s, err = kube.See(cfg)
	require.NoError(t, err)
	objects, err = s.Render(pageOf(1))
	require.NoError(t, err)
	for _, o := range objects {
		assert.NotEqual(t, "moorage-help-acme", o.Name)
	}
}

// TestGoldenPolicies renders network policies of a lease as one golden file, with
// all that the driver adds to what a policy says.
func TestGoldenPolicies(t *testing.T) {
	cfg := unseen()
	cfg.Policies.Nodes = []netip.Prefix{netip.MustParsePrefix("198.51.100.7/32")}
	s, err := kube.See(cfg, seenNode("a", "198.51.100.7"))
	require.NoError(t, err)
	in, err := rendertest.Input(filepath.Join("internal/render/testdata", "04-two-services.yaml"))
	require.NoError(t, err)
	objects, err := s.Render(in.Workload)
	require.NoError(t, err)
	golden(t, "testdata/policies.out.yaml", objects, "NetworkPolicy")
}

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares the objects of a kind with a file.
func golden(t *testing.T, file string, objects []render.Object, kind string) {
	t.Helper()
	var out bytes.Buffer
	for _, o := range objects {
		if o.Kind.Kind != kind {
			continue
		}
		text, err := yaml.JSONToYAML(o.Body)
		require.NoError(t, err)
		out.WriteString("---\n")
		out.Write(text)
	}
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o750))
		require.NoError(t, os.WriteFile(file, out.Bytes(), 0o600))
	}
	want, err := os.ReadFile(filepath.Clean(file))
	require.NoError(t, err)
	assert.Equal(t, string(want), out.String(), "run with -update if this is meant")
}
