package kubetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// ErrNotOurs says that a cluster which was there before the test cannot do what
// was asked of it, such as losing its API server.
var ErrNotOurs = errors.New("kubetest: this cluster is not ours")

// Options say what a cluster has. The zero value is one node with cluster DNS.
type Options struct {
	// Nodes is 1 or 2; 0 means 1.
	Nodes int
	// NoDNS leaves CoreDNS out; the cluster is ready some seconds earlier.
	NoDNS bool
	// Gateway installs the Gateway API's definitions (standard channel).
	Gateway bool
	// Router runs an HTTP router for Ingress and HTTPRoute on ports 80 and 443 of
	// the first node: class and Gateway class [RouterClass], Gateway "moorage" in
	// the namespace "router". It implies Gateway.
	Router bool
	// Policies enforces NetworkPolicy objects on every node (see policyagent).
	Policies bool
	// MetalLB runs MetalLB's controller and speakers, with the pool "leased":
	// 192.168.77.200-219 and fd77::200-213, none given without being asked for.
	MetalLB bool
	// Args are more arguments of components by name, such as
	// "kube-apiserver" or "node-1/kubelet".
	Args map[string][]string
}

// RouterClass is the name of the IngressClass and the GatewayClass of
// [Options.Router].
const RouterClass = "moorage-test"

// Cluster is a running Kubernetes cluster. Methods may be called concurrently.
type Cluster struct {
	config     *rest.Config
	kubeconfig string
	client     kubernetes.Interface
	// registry takes the images for a cluster that was there before: host and path.
	registry string
	// m is nil for a cluster that was there before the test.
	m *machine
}

// patience bounds each wait of a start; a loaded machine takes a tenth of it.
const patience = 2 * time.Minute

// New starts a cluster and waits until it takes pods. Close it.
func New(ctx context.Context, options Options) (*Cluster, error) {
	if options.Nodes == 0 {
		options.Nodes = 1
	}
	options.Gateway = options.Gateway || options.Router
	if options.Nodes < 1 || options.Nodes > 2 {
		return nil, fmt.Errorf("kubetest: %d nodes: one or two", options.Nodes)
	}
	m, err := startMachine(ctx, options)
	if err != nil {
		return nil, err
	}
	c, err := connect(m.pki.path("admin.kubeconfig"))
	if err == nil {
		c.m = m
		err = c.settle(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w\n%s", err, m.tails()), m.close(context.WithoutCancel(ctx)))
	}
	return c, nil
}

// Connect uses a cluster that is there already; registry, which may be "", takes
// the images of [Cluster.Push].
func Connect(kubeconfig, registry string) (*Cluster, error) {
	c, err := connect(kubeconfig)
	if err != nil {
		return nil, err
	}
	c.registry = registry
	return c, nil
}

// connect makes a cluster of a kubeconfig file.
func connect(kubeconfig string) (*Cluster, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("kubetest: %w", err)
	}
	config.QPS, config.Burst = -1, -1 // tests are not to wait for themselves
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("kubetest: %w", err)
	}
	return &Cluster{config: config, kubeconfig: kubeconfig, client: client}, nil
}

// settle waits until the cluster takes pods, and installs what it needs for it.
func (c *Cluster) settle(ctx context.Context) error {
	if err := c.WaitAPI(ctx); err != nil {
		return err
	}
	if err := c.startAgents(); err != nil {
		return err
	}
	if err := c.install(ctx); err != nil {
		return err
	}
	err := c.await(ctx, "nodes to be ready", func(ctx context.Context) (bool, error) {
		nodes, err := c.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		return err == nil && len(nodes.Items) == c.m.options.Nodes && allReady(nodes.Items), nil
	})
	if err != nil {
		return err
	}
	err = c.await(ctx, "the default service account", func(ctx context.Context) (bool, error) {
		_, err := c.client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, nil
	})
	if err != nil {
		return err
	}
	return c.finish(ctx)
}

func allReady(nodes []corev1.Node) bool {
	for _, n := range nodes {
		ready := false
		for _, condition := range n.Status.Conditions {
			ready = ready || condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue
		}
		if !ready || len(n.Spec.Taints) > 0 {
			return false
		}
	}
	return true
}

// WaitAPI waits until the API server says that it is ready.
func (c *Cluster) WaitAPI(ctx context.Context) error {
	return c.await(ctx, "the API server", func(ctx context.Context) (bool, error) {
		_, err := c.client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err == nil, nil
	})
}

func (c *Cluster) await(ctx context.Context, what string, f wait.ConditionWithContextFunc) error {
	const interval = 100 * time.Millisecond
	if err := wait.PollUntilContextTimeout(ctx, interval, patience, true, f); err != nil {
		return fmt.Errorf("kubetest: wait for %s: %w", what, err)
	}
	return nil
}

// Config returns the way in with all permissions; the caller may change it.
func (c *Cluster) Config() *rest.Config { return rest.CopyConfig(c.config) }

// Client returns a client with all permissions.
func (c *Cluster) Client() kubernetes.Interface { return c.client }

// Kubeconfig returns the path of a file with the same.
func (c *Cluster) Kubeconfig() string { return c.kubeconfig }

// Folder returns where everything of the cluster lies; "" when it is not ours.
func (c *Cluster) Folder() string {
	if c.m == nil {
		return ""
	}
	return c.m.dir
}

// Close ends every process of the cluster and removes all it left on this
// machine. A cluster that was there before stays.
func (c *Cluster) Close(ctx context.Context) error {
	if c.m == nil {
		return nil
	}
	return c.m.close(ctx)
}

// Component returns a program of the cluster by name: "etcd", "kube-apiserver",
// "kube-controller-manager", "kube-scheduler", and with "node-1/" in front
// "containerd", "kubelet", "kube-proxy".
func (c *Cluster) Component(name string) (*Component, error) {
	if c.m == nil {
		return nil, ErrNotOurs
	}
	for _, p := range c.m.components {
		if p.Name == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("kubetest: no component %q", name)
}

// Processes returns the numbers of everything that runs for the cluster, pods
// included; nil when it is not ours.
func (c *Cluster) Processes() []int {
	if c.m == nil {
		return nil
	}
	return c.m.processes()
}

// KillNode ends a node as a power cut would: its programs and pods are gone and
// its link is down, all at once. It does not come back; node 1 has the control
// plane and cannot be killed.
func (c *Cluster) KillNode(n int) error {
	if c.m == nil {
		return ErrNotOurs
	}
	if n < 2 || n > len(c.m.nodes) {
		return fmt.Errorf("kubetest: node %d cannot be killed", n)
	}
	return c.m.killNode(n)
}

// Push puts an image into a registry that the nodes see and returns the reference
// that they pull; tag is like "guest:1".
func (c *Cluster) Push(ctx context.Context, tag string, image v1.Image) (ref string, err error) {
	switch {
	case c.m != nil:
		ref, err = c.m.push(ctx, tag, image)
	case c.registry != "":
		ref = c.registry + "/" + tag
		err = pushTo(ctx, ref, image, remote.WithAuthFromKeychain(authn.DefaultKeychain))
	default:
		err = fmt.Errorf("no registry: name one with -kube.registry: %w", ErrNotOurs)
	}
	if err != nil {
		return "", fmt.Errorf("kubetest: push %s: %w", tag, err)
	}
	return ref, nil
}

func pushTo(ctx context.Context, ref string, image v1.Image, options ...remote.Option) error {
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return err
	}
	return remote.Write(parsed, image, append(options, remote.WithContext(ctx))...)
}
