//go:build linux

package metallb_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/moorage-dev/moorage/internal/kubetest"
	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/iplease/driver"
	"github.com/moorage-dev/moorage/iplease/ipleasetest"
	"github.com/moorage-dev/moorage/iplease/metallb"
	"github.com/moorage-dev/moorage/market"
)

// claimAt is a claim with TCP and UDP on port 80 for a service of a lease.
func claimAt(t *testing.T, name string, addresses ...netip.Addr) driver.Announcement {
	t.Helper()
	a := driver.Announcement{Claim: iplease.ClaimID{Owner: "tenant", Name: name}, Revision: 1, Addresses: addresses}
	for _, p := range []iplease.Protocol{iplease.TCP, iplease.UDP} {
		a.Ports = append(a.Ports, iplease.Port{Protocol: p, External: 80, Lease: lease(t, "tenant/1/1/1/provider"), Service: "web", Port: 8080})
	}
	return a
}

// announced waits until all of a claim is announced, and returns its status.
func (r *rig) announced(id iplease.ClaimID) (s driver.Status) {
	r.t.Helper()
	require.Eventually(r.t, func() bool {
		var err error
		s, err = r.announcer.Status(r.t.Context(), id)
		return err == nil && s.State == driver.Announced
	}, time.Minute, 100*time.Millisecond, "last status: %+v", &s)
	return s
}

// TestFromAddressResolutionToAnswer asks for the address as a browser outside
// does: who has it, then a page.
func TestFromAddressResolutionToAnswer(t *testing.T) {
	c := shared.Get(t)
	lan, err := c.Lan()
	require.NoError(t, err)
	program, err := kubetest.Build(t.Context(), t.TempDir(), kubetest.GuestProgram)
	require.NoError(t, err)
	image, err := kubetest.ImageOf(program)
	require.NoError(t, err)
	ref, err := c.Push(t.Context(), "guest:1", image)
	require.NoError(t, err)
	r := newRig(t, c)
	id := lease(t, "tenant/1/1/1/provider")
	place := r.cfg.Place(id, "web")
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "page", Labels: place.Selector},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "page", Image: ref, Env: []corev1.EnvVar{{Name: "GREETING", Value: "ahoy"}},
		}}},
	}
	_, err = c.Client().CoreV1().Pods(place.Namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, c.Client().CoreV1().Pods(place.Namespace).Delete(context.Background(), "page", metav1.DeleteOptions{}))
	})

	n := r.network()
	a := claimAt(t, "page", n.V4[0], n.V6[0])
	require.NoError(t, r.announcer.Apply(t.Context(), a))
	s := r.announced(a.Claim)
	for i, at := range a.Addresses {
		hardware, err := lan.Neighbour(t.Context(), "lan0", at)
		require.NoError(t, err)
		require.NotEmpty(t, hardware)
		require.Contains(t, []string{"node-1", "node-2", "node-1,node-2"}, s.Addresses[i].Node)
		var body []byte
		require.Eventually(t, func() bool {
			res, err := get(t.Context(), lan.HTTP(""), "http://"+netip.AddrPortFrom(at, 80).String()+"/")
			if err != nil {
				return false
			}
			defer func() { _ = res.Body.Close() }()
			body, err = io.ReadAll(res.Body)
			return err == nil
		}, 30*time.Second, 100*time.Millisecond)
		require.Equal(t, "ahoy", string(body))
	}
}

func get(ctx context.Context, client *http.Client, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	return client.Do(req)
}

func TestPoolsAreWhatMetalLBCounts(t *testing.T) {
	r := newRig(t, shared.Get(t))
	var before []driver.Pool
	require.Eventually(t, func() (ok bool) { // addresses of other tests are returned in a moment
		var err error
		before, err = r.announcer.Pools(t.Context())
		return err == nil && len(before) == 1 && before[0].Assigned == 0
	}, 30*time.Second, 100*time.Millisecond)
	require.Equal(t, driver.Pool{
		Name: "leased", Available: 40,
		Ranges: []driver.Range{
			{First: netip.MustParseAddr("192.168.77.200"), Last: netip.MustParseAddr("192.168.77.219")},
			{First: netip.MustParseAddr("fd77::200"), Last: netip.MustParseAddr("fd77::213")},
		},
	}, before[0])
	n := r.network()
	require.NoError(t, r.announcer.Apply(t.Context(), claimAt(t, "counted", n.V4[0], n.V6[0])))
	require.Eventually(t, func() bool {
		after, err := r.announcer.Pools(t.Context())
		return err == nil && len(after) == 1 && after[0].Assigned == 2 && after[0].Available == 38
	}, 30*time.Second, 100*time.Millisecond)
}

func TestAnAddressOfNoPoolIsFailingWithMetalLBsReason(t *testing.T) {
	r := newRig(t, shared.Get(t))
	a := claimAt(t, "foreign", netip.MustParseAddr("192.168.77.99"))
	require.NoError(t, r.announcer.Apply(t.Context(), a))
	require.Eventually(t, func() bool {
		s, err := r.announcer.Status(t.Context(), a.Claim)
		return err == nil && s.State == driver.Failing && len(s.Addresses[0].Reason) > len("MetalLB: ")
	}, 30*time.Second, 100*time.Millisecond)
}

// TestWhatOthersChangeIsMended deletes and edits what the announcer has made, and
// makes the namespace of a lease appear late.
func TestWhatOthersChangeIsMended(t *testing.T) {
	c := shared.Get(t)
	r := newRig(t, c)
	inner := r.cfg.Place
	late := "late-" + r.cfg.Instance
	r.cfg.Place = func(id market.LeaseID, service string) metallb.Place {
		p := inner(id, service)
		if id.DSeq == 2 {
			p.Namespace = late
		}
		return p
	}
	require.NoError(t, r.shut())
	r.open()
	n := r.network()
	a := claimAt(t, "mended", n.V4[0])
	a.Ports = append(a.Ports, iplease.Port{Protocol: iplease.TCP, External: 81, Lease: lease(t, "tenant/2/1/1/provider"), Service: "web", Port: 8080})
	require.NoError(t, r.announcer.Apply(t.Context(), a))
	services := func() (out []corev1.Service) {
		list, err := c.Client().CoreV1().Services(metav1.NamespaceAll).List(t.Context(),
			metav1.ListOptions{LabelSelector: "moorage.dev/part=address-ports,moorage.dev/instance=" + r.cfg.Instance})
		require.NoError(t, err)
		return list.Items
	}
	require.Len(t, services(), 1, "the second lease has no namespace yet")
	s, err := r.announcer.Status(t.Context(), a.Claim)
	require.NoError(t, err)
	require.Equal(t, driver.Pending, s.Ports[2].State)
	require.Equal(t, "nothing of the lease is on the cluster yet", s.Ports[2].Reason)

	_, err = c.Client().CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: late}}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, c.Client().CoreV1().Namespaces().Delete(context.Background(), late, metav1.DeleteOptions{}))
	})
	require.Eventually(t, func() bool { return len(services()) == 2 }, 30*time.Second, 50*time.Millisecond, "it has one now")

	for _, s := range services() {
		if s.Namespace == late {
			require.NoError(t, c.Client().CoreV1().Services(s.Namespace).Delete(t.Context(), s.Name, metav1.DeleteOptions{}))
			continue
		}
		s.Spec.Ports = s.Spec.Ports[:1]
		s.Annotations["metallb.io/loadBalancerIPs"] = n.V4[1].String()
		_, err := c.Client().CoreV1().Services(s.Namespace).Update(t.Context(), &s, metav1.UpdateOptions{})
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool {
		now := services()
		ports := 0
		for _, s := range now {
			ports += len(s.Spec.Ports)
			if s.Annotations["metallb.io/loadBalancerIPs"] != n.V4[0].String() {
				return false
			}
		}
		return len(now) == 2 && ports == 3
	}, 30*time.Second, 50*time.Millisecond)
}

// TestAnAnnouncerNeedsNoMoreThanItsClusterRole does a whole life with the rights
// of the ClusterRole and nothing else.
func TestAnAnnouncerNeedsNoMoreThanItsClusterRole(t *testing.T) {
	c := shared.Get(t)
	r := newRig(t, c)
	name := "announcer-" + r.cfg.Instance
	require.NoError(t, c.Apply(t.Context(), metallb.ClusterRole()))
	_, err := c.Client().RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "moorage-metallb"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: name}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, c.Client().RbacV1().ClusterRoleBindings().Delete(context.Background(), name, metav1.DeleteOptions{}))
	})
	limited := c.Config()
	limited.Impersonate = rest.ImpersonationConfig{UserName: name}
	full := r.cfg
	require.NoError(t, r.shut())
	r.cfg.Client, err = kubernetes.NewForConfig(limited)
	require.NoError(t, err)
	r.cfg.Dynamic, err = dynamic.NewForConfig(limited)
	require.NoError(t, err)
	_, err = r.cfg.Client.CoreV1().Secrets(metav1.NamespaceDefault).List(t.Context(), metav1.ListOptions{})
	require.Error(t, err, "it is limited")
	r.open()
	t.Cleanup(func() { r.cfg = full })

	n := r.network()
	a := claimAt(t, "limited", n.V4[0], n.V6[0])
	backends, err := r.serve(t.Context(), "one")
	require.NoError(t, err)
	for i := range backends {
		backends[i].Lease, backends[i].Service = a.Ports[0].Lease, "web"
	}
	a.Backends = backends
	require.NoError(t, (labelling{r.announcer, r}).Apply(t.Context(), a))
	r.announced(a.Claim)
	a.Revision, a.Ports = 2, a.Ports[:1]
	require.NoError(t, r.announcer.Apply(t.Context(), a))
	_, err = r.announcer.Pools(t.Context())
	require.NoError(t, err)
	require.NoError(t, r.announcer.Withdraw(t.Context(), a.Claim))
}

// TestAnAddressMovesWhenItsNodeDies cuts the power of the node that announces.
func TestAnAddressMovesWhenItsNodeDies(t *testing.T) {
	c := kubetest.Start(t, kubetest.Options{Nodes: 2, MetalLB: true, NoDNS: true})
	r := newRig(t, c)
	n := r.network()
	var moved driver.Announcement
	for i, at := range n.V4 { // one of four is announced by the second node
		a := claimAt(t, "claim"+string(rune('0'+i)), at)
		require.NoError(t, r.announcer.Apply(t.Context(), a))
		var node string
		require.Eventually(t, func() bool {
			s, err := r.announcer.Status(t.Context(), a.Claim)
			if err == nil {
				node = s.Addresses[0].Node
			}
			return node != ""
		}, time.Minute, 100*time.Millisecond)
		if node == "node-2" {
			moved = a
		}
	}
	require.NotEmpty(t, moved.Addresses, "node-2 announces none of four addresses")
	before, err := r.lan.Neighbour(t.Context(), "lan0", moved.Addresses[0])
	require.NoError(t, err)
	require.NoError(t, c.KillNode(2))
	start := time.Now()
	require.Eventually(t, func() bool {
		after, err := r.lan.Neighbour(t.Context(), "lan0", moved.Addresses[0])
		return err == nil && len(after) > 0 && !bytes.Equal(before, after)
	}, 2*time.Minute, 100*time.Millisecond)
	t.Logf("another node answers after %s", time.Since(start).Round(100*time.Millisecond))
}

// TestAMoveBetweenDeploymentsLosesLittle asks again and again while an address
// moves to another deployment, and says how long nobody answered. It asserts only
// that the one that answers afterwards is the new one, and goes on being it.
func TestAMoveBetweenDeploymentsLosesLittle(t *testing.T) {
	r := newRig(t, shared.Get(t))
	n := r.network()
	one, err := n.Serve(t.Context(), "one")
	require.NoError(t, err)
	two, err := n.Serve(t.Context(), "two")
	require.NoError(t, err)
	a := claimAt(t, "moving", n.V4[0])
	for i := range one {
		one[i].Lease, one[i].Service = a.Ports[0].Lease, "web"
		two[i].Lease, two[i].Service = lease(t, "tenant/2/1/1/provider"), "web"
	}
	a.Backends = append(one, two...) // both run; the ports decide
	require.NoError(t, n.Announcer.Apply(t.Context(), a))
	r.announced(a.Claim)
	to := netip.AddrPortFrom(n.V4[0], 80)
	answer := func() string {
		got, _ := n.Ask(t.Context(), ipleasetest.Client{}, iplease.TCP, to)
		return got.Replica
	}
	require.Eventually(t, func() bool { return answer() == "one" }, 30*time.Second, 20*time.Millisecond)

	b := a.Clone()
	b.Revision++
	for i := range b.Ports {
		b.Ports[i].Lease = two[0].Lease
	}
	applied := make(chan error, 1)
	begun := time.Now()
	go func() { applied <- n.Announcer.Apply(context.Background(), b) }()
	last, first := begun, time.Time{}
	require.Eventually(t, func() bool {
		switch answer() {
		case "one":
			last = time.Now()
		case "two":
			first = time.Now()
		}
		return !first.IsZero()
	}, 30*time.Second, 5*time.Millisecond)
	require.NoError(t, <-applied)
	for range 20 {
		require.Equal(t, "two", answer())
	}
	t.Logf("nobody answered for %s; apply took %s", first.Sub(last).Round(time.Millisecond), time.Since(begun).Round(time.Millisecond))
}
