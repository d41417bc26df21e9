package stack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/cluster/kube"
	"github.com/moorage-dev/moorage/netpolicy/kubepolicy"
)

// KubeFlags say which cluster a program runs leases on.
type KubeFlags struct {
	cluster, kubeconfig, instance, ingress, gateway, issuer string
	runtimeClass, pullSecret                                string
	tls, policies, nonRoot, balancer                        bool
	classes, storage, balancerAnnotations                   map[string]string
	own, nodes, routers, resolvers                          []string
}

// Bind adds the flags.
func (k *KubeFlags) Bind(f *pflag.FlagSet) {
	f.StringVar(&k.cluster, "cluster", "host", "where containers run: host (this machine) or kube (Kubernetes)")
	f.StringVar(&k.kubeconfig, "kubeconfig", "", "with --cluster kube: file that says how to reach it; empty is $KUBECONFIG, the usual file, or the pod's own account")
	f.StringVar(&k.instance, "kube-instance", "", "with --cluster kube: tells several providers on one cluster apart")
	f.StringVar(&k.ingress, "kube-ingress", "", "with --cluster kube: class of Ingress objects for web pages")
	f.StringVar(&k.gateway, "kube-gateway", "", "with --cluster kube: Gateway for web pages instead, as namespace/name or namespace/name/listener")
	f.BoolVar(&k.tls, "kube-tls", false, "with --cluster kube: web pages have HTTPS")
	f.StringVar(&k.issuer, "kube-issuer", "", "with --kube-tls and --kube-ingress: cert-manager's ClusterIssuer")
	f.StringVar(&k.runtimeClass, "kube-runtime-class", "", "with --cluster kube: RuntimeClass of all pods, such as gvisor")
	f.BoolVar(&k.nonRoot, "kube-non-root", false, "with --cluster kube: no image may run as root; leases are held to the restricted standard of pod security")
	f.StringVar(&k.pullSecret, "kube-pull-secret", "", "with --cluster kube: Secret for images without credentials of their own, which you put into every lease's namespace")
	f.BoolVar(&k.balancer, "kube-load-balancer", false, "with --cluster kube: forwarded ports are at the cluster's load balancer, under the numbers that tenants write, instead of at nodes")
	f.StringToStringVar(&k.balancerAnnotations, "kube-load-balancer-annotation", nil, "with --kube-load-balancer: annotations of the Services, as metallb.io/address-pool=leased")
	f.StringToStringVar(&k.storage, "kube-storage", nil, "with --cluster kube: how much a storage class of the market has, where its driver does not report it, as beta2=100GiB")
	f.StringToStringVar(&k.classes, "kube-storage-class", nil, "with --cluster kube: storage classes of the market and of the cluster, as beta2=fast-ssd")
	f.BoolVar(&k.policies, "kube-policies", false, "with --cluster kube: enclose leases with network policies; the cluster's network must enforce them")
	f.StringSliceVar(&k.routers, "kube-router", nil, "with --kube-policies: pods that bring web pages in, as namespace/label=value")
	f.StringSliceVar(&k.own, "kube-own", nil, "with --kube-policies: the provider's own ranges that are public (private ones are closed to leases anyway)")
	f.StringSliceVar(&k.nodes, "kube-nodes", nil, "with --kube-policies: ranges of the nodes' addresses, where load balancers hide the client's or the router is in the host network")
	f.StringSliceVar(&k.resolvers, "kube-resolver", nil, "with --kube-policies: addresses of name servers that are not the pods of kube-dns, such as NodeLocal DNS at 169.254.20.10")
}

// policyConfig makes the configuration of network policies; nil for none.
func (k *KubeFlags) policyConfig() (*kube.Policies, error) {
	if !k.policies {
		if len(k.own)+len(k.nodes)+len(k.routers)+len(k.resolvers) > 0 {
			return nil, errors.New("--kube-router, --kube-resolver, --kube-own and --kube-nodes go with --kube-policies")
		}
		return nil, nil //nolint:nilnil // none is no fault
	}
	p := &kube.Policies{}
	var err error
	if p.Surroundings.Own, err = prefixes("--kube-own", k.own); err != nil {
		return nil, err
	}
	if p.Nodes, err = prefixes("--kube-nodes", k.nodes); err != nil {
		return nil, err
	}
	for _, text := range k.resolvers {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("--kube-resolver: %w", err)
		}
		p.Surroundings.Resolvers = append(p.Surroundings.Resolvers, a)
	}
	for _, text := range k.routers {
		namespace, label, _ := strings.Cut(text, "/")
		i := strings.LastIndex(label, "=")
		if namespace == "" || i <= 0 {
			return nil, fmt.Errorf("--kube-router %q: want namespace/label=value", text)
		}
		p.Routers = append(p.Routers, kubepolicy.Peer{
			Namespace: map[string]string{corev1.LabelMetadataName: namespace}, Pods: map[string]string{label[:i]: label[i+1:]},
		})
	}
	return p, nil
}

// sizes reads amounts of bytes as Kubernetes writes them; "100GiB" is "100Gi".
func sizes(flag string, texts map[string]string) (map[string]uint64, error) {
	out := make(map[string]uint64, len(texts))
	for class, text := range texts {
		q, err := resource.ParseQuantity(strings.TrimSuffix(text, "B"))
		if err != nil || q.Sign() <= 0 {
			return nil, fmt.Errorf("%s %s=%s: want a size such as 100GiB", flag, class, text)
		}
		out[class] = uint64(q.Value())
	}
	return out, nil
}

func prefixes(flag string, texts []string) ([]netip.Prefix, error) {
	out := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", flag, err)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// Config makes the configuration of the driver; nil for this machine. httpAddress
// is where pages are reached from outside, host:port.
func (k *KubeFlags) Config(publicHost, domain, httpAddress string) (*kube.Config, error) {
	switch k.cluster {
	case "host":
		return nil, nil //nolint:nilnil // no cluster is no fault
	case "kube":
	default:
		return nil, fmt.Errorf("--cluster %q: want host or kube", k.cluster)
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = k.kubeconfig
	rest, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("--kubeconfig: %w", err)
	}
	policies, err := k.policyConfig()
	if err != nil {
		return nil, err
	}
	bytes, err := sizes("--kube-storage", k.storage)
	if err != nil {
		return nil, err
	}
	if len(k.balancerAnnotations) > 0 && !k.balancer {
		return nil, errors.New("--kube-load-balancer-annotation goes with --kube-load-balancer")
	}
	cfg := &kube.Config{
		Policies: policies, RuntimeClass: k.runtimeClass, PullSecret: k.pullSecret,
		LoadBalancer: k.balancer, LoadBalancerAnnotations: k.balancerAnnotations, StorageBytes: bytes,
		REST: rest, Instance: k.instance, PublicHost: publicHost, Domain: domain, StorageClasses: k.classes,
		Router: kube.Router{Ingress: k.ingress, TLS: k.tls, Issuer: k.issuer},
	}
	if k.nonRoot {
		cfg.NonRoot = func(string) bool { return true }
	}
	if k.gateway != "" {
		parts := strings.SplitN(k.gateway+"//", "/", 4)
		cfg.Router.Gateway = &kube.Gateway{Namespace: parts[0], Name: parts[1], Section: parts[2]}
	}
	if _, port, err := net.SplitHostPort(httpAddress); err == nil {
		if n, err := strconv.ParseUint(port, 10, 16); err == nil && n != 80 && n != 443 {
			cfg.Router.Port = uint16(n)
		}
	}
	return cfg, nil
}

// kubeRun is a driver that is running.
type kubeRun struct {
	driver *kube.Driver
	ended  chan error
}

// readyTimeout is how long a cluster may take to be seen.
const readyTimeout = time.Minute

// openKube makes a driver and waits until it has seen the cluster. It runs from
// now on, until it is closed.
func openKube(ctx context.Context, cfg kube.Config, over inventory.Overcommit, log *slog.Logger) (*kubeRun, error) {
	cfg.Overcommit, cfg.Logger = over, log
	d, err := kube.New(cfg)
	if err != nil {
		return nil, err
	}
	k := &kubeRun{driver: d, ended: make(chan error, 1)}
	go func() { k.ended <- d.Run(context.WithoutCancel(ctx)) }()
	late := time.NewTimer(readyTimeout)
	defer late.Stop()
	select {
	case <-d.Ready():
		return k, nil
	case err = <-k.ended:
		return nil, errors.Join(err, d.Close())
	case <-late.C:
		err = fmt.Errorf("the Kubernetes cluster at %s cannot be reached: is it up, and may this account do what the ClusterRole says?", cfg.REST.Host)
	case <-ctx.Done():
		err = ctx.Err()
	}
	return nil, errors.Join(err, d.Close(), <-k.ended)
}

// run waits until the driver ends or the context does.
func (k *kubeRun) run(ctx context.Context) error {
	select {
	case err := <-k.ended:
		k.ended <- err // Close asks again
		return err
	case <-ctx.Done():
		return nil
	}
}

// purge deletes every lease on the cluster.
func (k *kubeRun) purge() error {
	ctx, cancel := context.WithTimeout(context.Background(), purgeTimeout)
	defer cancel()
	ids, err := k.driver.List(ctx)
	for _, id := range ids {
		err = errors.Join(err, k.driver.Delete(ctx, id))
	}
	return err
}
