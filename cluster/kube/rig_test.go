package kube_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/moorage-dev/moorage/cluster/clustertest/guest"
	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/kube"
	"github.com/moorage-dev/moorage/internal/kubetest"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/netpolicy"
	"github.com/moorage-dev/moorage/netpolicy/kubepolicy"
)

var shared = kubetest.Shared{Options: kubetest.Options{Router: true, Policies: true}}

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m, &shared)) }

// node is the address of the first node, where ports are forwarded and the HTTP
// router listens.
const node = "192.168.77.11"

// rig is a cluster with what the tests need in it.
type rig struct {
	*kubetest.Cluster
	// guest is the image of the guest, and userGuest one that runs as user 1000.
	guest, userGuest string
	// limited has the rights of the ClusterRole and no others. All drivers of the
	// tests use it.
	limited *rest.Config
}

var theRig struct {
	once sync.Once
	rig  *rig
	err  error
}

// realCluster returns the shared cluster with the guest's image.
func realCluster(tb testing.TB) *rig {
	tb.Helper()
	c := shared.Get(tb)
	theRig.once.Do(func() { theRig.rig, theRig.err = furnish(c) })
	require.NoError(tb, theRig.err)
	return theRig.rig
}

// furnish puts into a cluster what the tests need.
func furnish(c *kubetest.Cluster) (*rig, error) {
	r := &rig{Cluster: c}
	var err error
	if r.guest, r.userGuest, err = pushGuests(c); err == nil {
		r.limited, err = limit(context.Background(), c)
	}
	return r, err
}

// ours reports whether the cluster was made for the tests, so that policies are
// enforced on it.
func (r *rig) ours() bool { return r.Folder() != "" }

// policies say what surrounds leases on a cluster of our own.
func (r *rig) policies() *kube.Policies {
	if !r.ours() {
		return nil
	}
	var own []netip.Prefix
	for _, text := range []string{"10.244.0.0/16", "fd00:10:244::/48", "10.96.0.0/16", "fd00:10:96::/112", "192.168.77.0/24", "fd77::/64"} {
		own = append(own, netip.MustParsePrefix(text))
	}
	var nodes []netip.Prefix
	for _, text := range []string{"192.168.77.11/32", "192.168.77.12/32", "fd77::11/128", "fd77::12/128"} {
		nodes = append(nodes, netip.MustParsePrefix(text))
	}
	return &kube.Policies{
		Surroundings: netpolicy.Surroundings{Own: own}, Nodes: nodes,
		Routers: []kubepolicy.Peer{{Namespace: map[string]string{corev1.LabelMetadataName: "router"}, Pods: map[string]string{"app": "router"}}},
	}
}

// limit makes an account with the rights of the ClusterRole.
func limit(ctx context.Context, c *kubetest.Cluster) (*rest.Config, error) {
	objects := append(kube.ClusterRole(), []byte(`
---
apiVersion: v1
kind: Namespace
metadata: {name: moorage-system}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: provider, namespace: moorage-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: moorage-kube}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: moorage-kube}
subjects: [{kind: ServiceAccount, name: provider, namespace: moorage-system}]
`)...)
	if err := c.Apply(ctx, objects); err != nil {
		return nil, err
	}
	token, err := c.Client().CoreV1().ServiceAccounts("moorage-system").CreateToken(ctx, "provider", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	cfg := rest.AnonymousClientConfig(c.Config())
	cfg.BearerToken = token.Status.Token
	return cfg, nil
}

func pushGuests(c *kubetest.Cluster) (plain, user string, err error) {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "moorage-kube-test-")
	if err != nil {
		return "", "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path, err := kubetest.Build(ctx, dir, "github.com/moorage-dev/moorage/cluster/clustertest/guestd")
	if err != nil {
		return "", "", err
	}
	image, err := kubetest.ImageOf(path)
	if err != nil {
		return "", "", err
	}
	if plain, err = c.Push(ctx, "guest:1", image); err != nil {
		return "", "", err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return "", "", err
	}
	cfg := file.Config
	cfg.User = "1000:1000"
	if image, err = mutate.Config(image, cfg); err == nil {
		user, err = c.Push(ctx, "guest:user", image)
	}
	return plain, user, err
}

// config is for quick tests on the shared cluster.
func (r *rig) config(instance string) kube.Config {
	return kube.Config{
		REST: r.limited, Instance: instance, PublicHost: node, Domain: instance + ".test",
		Router: kube.Router{Ingress: kubetest.RouterClass}, PullPolicy: "IfNotPresent",
		StorageBytes: map[string]uint64{"default": 10 << 30, "beta2": 10 << 30},
		DrainSeconds: 1, GraceSeconds: 5, SplitLogs: true,
		Policies: r.policies(), Logger: testLogger(),
	}
}

func testLogger() *slog.Logger {
	if os.Getenv("MOORAGE_TEST_LOG") == "" {
		return nil
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// open makes a driver and runs it until the test ends or it is closed.
func open(tb testing.TB, cfg kube.Config) *kube.Driver {
	tb.Helper()
	d, err := openDriver(tb.Context(), cfg, tb.Cleanup)
	require.NoError(tb, err)
	return d
}

func openDriver(ctx context.Context, cfg kube.Config, cleanup func(func())) (*kube.Driver, error) {
	d, err := kube.New(cfg)
	if err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- d.Run(context.WithoutCancel(ctx)) }()
	cleanup(func() {
		_ = d.Close()
		<-ended //nolint:errcheck // what matters of it was seen
	})
	select {
	case <-d.Ready():
		return d, nil
	case err := <-ended:
		ended <- err
		return nil, errors.Join(errors.New("run ended"), err)
	case <-time.After(time.Minute):
		return nil, errors.New("the driver is not ready after a minute")
	}
}

var instances atomic.Int64

// instance names a provider that no other test is.
func instance() string { return fmt.Sprintf("t%d", instances.Add(1)) }

// sweep deletes all leases of an instance after a test, without waiting for it.
func (r *rig) sweep(tb testing.TB, instance string) {
	tb.Helper()
	tb.Cleanup(func() {
		assert.NoError(tb, r.deleteNamespaces(context.Background(), instance))
	})
}

// get fetches a URL as somebody outside: names lead to the router.
func (r *rig) get(ctx context.Context, at string) (string, error) {
	return r.getTrusting(ctx, at, nil)
}

// ask sends a datagram as somebody outside.
func (r *rig) ask(ctx context.Context, address string) (string, error) {
	lan, err := r.Lan()
	if err != nil {
		return "", err
	}
	c, err := lan.Dial(ctx, "udp", address)
	if err != nil {
		return "", err
	}
	return guest.Ask(ctx, c)
}

// getTrusting is get, with HTTPS by the certificates of a pool.
func (r *rig) getTrusting(ctx context.Context, at string, trusted *x509.CertPool) (string, error) {
	lan, err := r.Lan()
	if err != nil {
		return "", err
	}
	u, err := url.Parse(at)
	if err != nil {
		return "", err
	}
	to := node + ":80"
	if u.Scheme == "https" {
		to = node + ":443"
	}
	if net.ParseIP(u.Hostname()) != nil {
		to = ""
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, http.NoBody)
	if err != nil {
		return "", err
	}
	client := lan.HTTP(to)
	if transport, ok := client.Transport.(*http.Transport); ok {
		transport.TLSClientConfig = &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return string(body), err
}

// renamed is a driver whose leases have another owner inside, so that tests that
// use the same leases do not meet on one cluster.
type renamed struct {
	*kube.Driver
	owner string
}

func (d *renamed) in(id market.LeaseID) market.LeaseID {
	id.Owner = market.Address(d.owner)
	return id
}

func (d *renamed) out(id market.LeaseID) market.LeaseID {
	id.Owner = "tenant"
	return id
}

func (d *renamed) Apply(ctx context.Context, w driver.Workload) error {
	w.Lease = d.in(w.Lease)
	return d.Driver.Apply(ctx, w)
}

func (d *renamed) Delete(ctx context.Context, id market.LeaseID) error {
	return d.Driver.Delete(ctx, d.in(id))
}

func (d *renamed) Status(ctx context.Context, id market.LeaseID) (driver.Status, error) {
	s, err := d.Driver.Status(ctx, d.in(id))
	if err == nil {
		s.Lease = d.out(s.Lease)
	}
	return s, err
}

func (d *renamed) List(ctx context.Context) ([]market.LeaseID, error) {
	ids, err := d.Driver.List(ctx)
	for i := range ids {
		ids[i] = d.out(ids[i])
	}
	return ids, err
}

func (d *renamed) Watch(ctx context.Context) iter.Seq2[market.LeaseID, error] {
	return func(yield func(market.LeaseID, error) bool) {
		for id, err := range d.Driver.Watch(ctx) {
			if !yield(d.out(id), err) {
				return
			}
		}
	}
}

func (d *renamed) Logs(ctx context.Context, id market.LeaseID, o driver.LogOptions) iter.Seq2[driver.LogLine, error] {
	return d.Driver.Logs(ctx, d.in(id), o)
}

func (d *renamed) Exec(ctx context.Context, id market.LeaseID, x driver.Exec) (int, error) {
	return d.Driver.Exec(ctx, d.in(id), x)
}

func (d *renamed) HostnameOwner(ctx context.Context, name string) (market.LeaseID, error) {
	id, err := d.Driver.HostnameOwner(ctx, name)
	return d.out(id), err
}

var (
	_ driver.Watcher            = (*renamed)(nil)
	_ driver.LogStreamer        = (*renamed)(nil)
	_ driver.Execer             = (*renamed)(nil)
	_ driver.ExclusiveHostnames = (*renamed)(nil)
)

// calls counts requests to an API server by method; reads of streams count once.
type calls struct {
	mu sync.Mutex
	by map[string]int
	// fault, if set, is asked before every request.
	fault func(*http.Request) error
}

func (c *calls) wrap(cfg *rest.Config) *rest.Config {
	cfg = rest.CopyConfig(cfg)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			c.mu.Lock()
			if c.by == nil {
				c.by = make(map[string]int)
			}
			c.by[req.Method]++
			if strings.Contains(req.URL.RawQuery, "watch=true") {
				c.by["WATCH"]++
				c.by[req.Method]--
			}
			if req.URL.Path == "/readyz" {
				c.by[req.Method]--
			}
			fault := c.fault
			c.mu.Unlock()
			if fault != nil {
				if err := fault(req); err != nil {
					return nil, err
				}
			}
			return next.RoundTrip(req)
		})
	})
	return cfg
}

func (c *calls) setFault(f func(*http.Request) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fault = f
}

// writes is how many requests changed something.
func (c *calls) writes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.by[http.MethodPatch] + c.by[http.MethodPost] + c.by[http.MethodPut] + c.by[http.MethodDelete]
}

// all is how many requests there were, watches aside.
func (c *calls) all() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.by[http.MethodGet] + c.by[http.MethodPatch] + c.by[http.MethodPost] + c.by[http.MethodPut] + c.by[http.MethodDelete]
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
