package kubetest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/moorage-dev/moorage/internal/kubetest"
)

// guestImage pushes the conformance suite's guest program.
func guestImage(t *testing.T, c *kubetest.Cluster) string {
	t.Helper()
	program, err := kubetest.Build(t.Context(), t.TempDir(), kubetest.GuestProgram)
	require.NoError(t, err)
	image, err := kubetest.ImageOf(program)
	require.NoError(t, err)
	ref, err := c.Push(t.Context(), "guest:1", image)
	require.NoError(t, err)
	return ref
}

// web is a deployment of the guest behind a Service of both families that every
// node opens at a port.
const web = `
apiVersion: v1
kind: Namespace
metadata: {name: %[1]s}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: %[1]s}
spec:
  replicas: %[3]d
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}}
      containers:
      - name: web
        image: %[2]s
        env: [{name: GREETING, value: ahoy}]
        readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: %[1]s}
spec:
  type: NodePort
  ipFamilyPolicy: RequireDualStack
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080, nodePort: %[4]d}]
`

// deploy runs the web in a namespace that goes when the test ends.
func deploy(t *testing.T, c *kubetest.Cluster, image string, replicas, port int) {
	t.Helper()
	namespace := strings.ToLower(t.Name())
	require.NoError(t, c.Apply(t.Context(), fmt.Appendf(nil, web, namespace, image, replicas, port)))
	t.Cleanup(func() {
		require.NoError(t, c.Client().CoreV1().Namespaces().Delete(context.Background(), namespace, metav1.DeleteOptions{}))
	})
	require.NoError(t, c.WaitDeployment(t.Context(), namespace, "web"))
}

// get asks for a URL from a place; every host name leads to address.
func get(ctx context.Context, from *kubetest.Net, address, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	res, err := from.HTTP(address).Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", res.StatusCode, body)
	}
	return string(body), err
}

// eventually gets a URL until it answers: rules of a new Service take a moment.
func eventually(t *testing.T, from *kubetest.Net, address, url string) string {
	t.Helper()
	var body string
	require.Eventually(t, func() (ok bool) {
		var err error
		body, err = get(t.Context(), from, address, url)
		return err == nil
	}, time.Minute, 100*time.Millisecond)
	return body
}

func TestAWorkloadAnswersByNameAndFromOutside(t *testing.T) {
	c := shared.Get(t)
	c.Own(t)
	lan, err := c.Lan()
	require.NoError(t, err)
	const port = 30080
	deploy(t, c, guestImage(t, c), 2, port)

	v4, v6 := kubetest.NodeAddress(1)
	for _, address := range []netip.Addr{v4, v6} {
		at := netip.AddrPortFrom(address, port).String()
		require.Equal(t, "ahoy", eventually(t, lan, at, "http://web/"))
		inner := url.QueryEscape("http://web." + strings.ToLower(t.Name()) + ".svc.cluster.local/")
		require.Equal(t, "ahoy", eventually(t, lan, at, "http://web/get?url="+inner), "from pod to pod by name")
	}
}

func TestKilledProgramsComeBack(t *testing.T) {
	c := shared.Get(t)
	c.Own(t)
	for _, name := range []string{"kube-apiserver", "node-1/kubelet", "kube-controller-manager", "etcd"} {
		p, err := c.Component(name)
		require.NoError(t, err)
		require.NoError(t, p.Kill())
		require.False(t, p.Running())
		if name == "kube-apiserver" || name == "etcd" {
			_, err := c.Client().CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
			require.Error(t, err, "without %s", name)
		}
		require.NoError(t, p.Start())
		require.Error(t, p.Start(), "it runs already")
	}
	require.NoError(t, c.WaitAPI(t.Context()))
	deploy(t, c, guestImage(t, c), 1, 30081)
}

func TestAFrozenServerAnswersNothingAndThenGoesOn(t *testing.T) {
	c := shared.Get(t)
	c.Own(t)
	p, err := c.Component("kube-apiserver")
	require.NoError(t, err)
	require.NoError(t, p.Freeze())
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = c.Client().CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, p.Thaw())
	require.NoError(t, c.WaitAPI(t.Context()))
}

func TestPodsOfTwoNodesReachOneAnother(t *testing.T) {
	c := kubetest.Start(t, kubetest.Options{Nodes: 2})
	lan, err := c.Lan()
	require.NoError(t, err)
	const port = 30082
	deploy(t, c, guestImage(t, c), 2, port)
	pods, err := c.Client().CoreV1().Pods(strings.ToLower(t.Name())).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	nodes := map[string]bool{}
	for _, p := range pods.Items {
		nodes[p.Spec.NodeName] = true
	}
	require.Equal(t, map[string]bool{"node-1": true, "node-2": true}, nodes)

	for n := 1; n <= 2; n++ {
		v4, v6 := kubetest.NodeAddress(n)
		for _, address := range []netip.Addr{v4, v6} {
			at := netip.AddrPortFrom(address, port).String()
			seen := map[string]bool{}
			require.Eventually(t, func() bool { // each node leads to both
				name, err := get(t.Context(), lan, at, "http://web/hostname")
				if err == nil {
					seen[name] = true
				}
				return len(seen) == 2
			}, time.Minute, 10*time.Millisecond)
		}
		require.Equal(t, "ahoy", eventually(t, lan, netip.AddrPortFrom(v4, port).String(),
			"http://web/get?url="+url.QueryEscape("http://web/")), "DNS from both nodes")
	}

	kubelet, err := c.Component("node-2/kubelet")
	require.NoError(t, err)
	require.NoError(t, kubelet.Kill())
	require.Eventually(t, func() bool { // the controllers give it up
		n, err := c.Client().CoreV1().Nodes().Get(t.Context(), "node-2", metav1.GetOptions{})
		return err == nil && ready(n) == corev1.ConditionUnknown
	}, 2*time.Minute, 200*time.Millisecond)
}

func ready(n *corev1.Node) corev1.ConditionStatus {
	for _, condition := range n.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status
		}
	}
	return ""
}

func TestVolumesAreMadeByClass(t *testing.T) {
	c := shared.Get(t)
	c.Own(t)
	image := guestImage(t, c)
	require.NoError(t, c.Apply(t.Context(), fmt.Appendf(nil, `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: kept, namespace: default}
spec: {storageClassName: beta2, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: writer, namespace: default, labels: {job: writer}}
spec:
  restartPolicy: Never
  containers:
  - {name: writer, image: %s, args: [write, /kept/file, word], volumeMounts: [{name: v, mountPath: /kept}]}
  volumes: [{name: v, persistentVolumeClaim: {claimName: kept}}]
`, image)))
	t.Cleanup(func() {
		require.NoError(t, c.Client().CoreV1().Pods("default").Delete(context.Background(), "writer", metav1.DeleteOptions{}))
		require.NoError(t, c.Client().CoreV1().PersistentVolumeClaims("default").Delete(context.Background(), "kept", metav1.DeleteOptions{}))
	})
	require.Eventually(t, func() bool {
		pods, err := c.Client().CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{LabelSelector: labels.Set{"job": "writer"}.String()})
		return err == nil && len(pods.Items) == 1 && pods.Items[0].Status.Phase == corev1.PodSucceeded
	}, time.Minute, 100*time.Millisecond)
}
