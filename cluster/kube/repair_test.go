package kube_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/kube"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

const patience = 2 * time.Minute

// lease is the n-th lease of an instance.
func lease(instance string, n int) market.LeaseID {
	id, err := market.ParseLeaseID(fmt.Sprintf("%s/%d/1/1/provider", instance, n))
	if err != nil {
		panic(err)
	}
	return id
}

// service is a guest that serves HTTP, answers on a forwarded port, and greets.
func (r *rig) service(name, greeting string) manifest.Service {
	return manifest.Service{
		Name: name, Image: r.guest, Count: 1, Env: []string{"GREETING=" + greeting},
		Resources: market.Resources{
			ID: 1, CPU: market.CPU{MilliCores: 50}, Memory: market.Memory{Bytes: 64 << 20},
			Storage: []market.Volume{{Name: "default", Bytes: 16 << 20}},
		},
		Expose: []manifest.Expose{
			{Port: 8080, ExternalPort: 80, Proto: manifest.TCP, Global: true},
			{Port: 8080, ExternalPort: 9000, Proto: manifest.TCP, Global: true},
		},
	}
}

func workload(id market.LeaseID, revision uint64, services ...manifest.Service) driver.Workload {
	return driver.Workload{Lease: id, Revision: revision, Hash: market.Hash{byte(revision)}, Group: manifest.Group{Name: "g", Services: services}}
}

// eventually tries again until f succeeds.
func eventually(tb testing.TB, f func() error) {
	tb.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			require.NoError(tb, err)
		}
		<-tick.C
	}
}

// ready waits until a lease is ready at a revision.
func ready(tb testing.TB, d driver.Driver, id market.LeaseID, revision uint64) driver.Status {
	tb.Helper()
	if k, ok := d.(*kube.Driver); ok {
		tb.Cleanup(func() {
			if events, err := k.Events(context.Background(), id); err == nil && tb.Failed() {
				for _, e := range events {
					tb.Logf("%s %s %s: %s", e.Kind, e.Name, e.Reason, e.Message)
				}
			}
		})
	}
	var s driver.Status
	eventually(tb, func() (err error) {
		if s, err = d.Status(tb.Context(), id); err != nil {
			return err
		}
		if s.State != driver.Ready || s.Revision != revision {
			return fmt.Errorf("%s at revision %d: %+v", s.State, s.Revision, s.Services)
		}
		return nil
	})
	return s
}

// started is a lease that is ready, with what surrounds it.
type started struct {
	*rig
	d         *kube.Driver
	cfg       kube.Config
	calls     *calls
	client    kubernetes.Interface
	id        market.LeaseID
	namespace string
}

// start deploys services as the first lease of a new instance.
func (r *rig) start(t *testing.T, services ...manifest.Service) *started {
	t.Helper()
	name := instance()
	r.sweep(t, name)
	s := &started{rig: r, cfg: r.config(name), calls: &calls{}, client: r.Client(), id: lease(name, 1)}
	s.namespace = kube.Namespace(s.id)
	s.cfg.REST = s.calls.wrap(s.cfg.REST)
	s.d = open(t, s.cfg)
	require.NoError(t, s.d.Apply(t.Context(), workload(s.id, 1, services...)))
	ready(t, s.d, s.id, 1)
	return s
}

// settle waits until nothing is written any more, and returns how much was.
func (s *started) settle(t *testing.T) int {
	t.Helper()
	last, since := s.calls.writes(), time.Now()
	eventually(t, func() error {
		if n := s.calls.writes(); n != last {
			last, since = n, time.Now()
		}
		if time.Since(since) < 3*time.Second {
			return errors.New("still writing")
		}
		return nil
	})
	return last
}

func TestAnUnchangedManifestCausesNoWrite(t *testing.T) {
	r := realCluster(t)
	s := r.start(t, r.service("web", "hi"), volume(r.service("db", "hi"), 1<<20, 1<<20))
	before := s.settle(t)
	require.NoError(t, s.d.Apply(t.Context(), workload(s.id, 1, r.service("web", "hi"), volume(r.service("db", "hi"), 1<<20, 1<<20))))
	assert.Equal(t, before, s.settle(t), "the same revision again")

	require.NoError(t, s.d.Close())
	d := open(t, s.cfg)
	ready(t, d, s.id, 1)
	assert.Equal(t, before, s.settle(t), "after a restart everything was compared and found right")

	require.NoError(t, d.Apply(t.Context(), workload(s.id, 2, r.service("web", "hi"), volume(r.service("db", "hi"), 1<<20, 1<<20))))
	assert.Equal(t, before+1, s.settle(t), "a new revision of the same content is written down, and that is all")
}

func TestWhatIsChangedByHandComesBack(t *testing.T) {
	r := realCluster(t)
	s := r.start(t, r.service("web", "hi"))
	ctx := t.Context()
	deployments, services := s.client.AppsV1().Deployments(s.namespace), s.client.CoreV1().Services(s.namespace)
	image := func() error {
		dep, err := deployments.Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			return err
		}
		p := dep.Spec.Template.Spec
		if p.HostNetwork || p.HostPID || len(p.InitContainers)+len(p.Volumes) > 0 || dep.Spec.Paused {
			return fmt.Errorf("the pods have more than was rendered: %+v", p)
		}
		c := p.Containers
		if len(c) != 1 || c[0].Image != r.guest || *dep.Spec.Replicas != 1 || dep.Labels[kube.LabelManaged] != "true" || dep.DeletionTimestamp != nil {
			return fmt.Errorf("%d containers, image %s, %d replicas", len(c), c[0].Image, *dep.Spec.Replicas)
		}
		return nil
	}
	rows := map[string]func() error{
		"a field": func() error {
			return patch(deployments.Patch(ctx, "web", types.StrategicMergePatchType, []byte(`{"spec":{"template":{"spec":{"containers":[{"name":"workload","image":"evil"}]}}}}`), metav1.PatchOptions{}))
		},
		"a number": func() error {
			return patch(deployments.Patch(ctx, "web", types.MergePatchType, []byte(`{"spec":{"replicas":0}}`), metav1.PatchOptions{}))
		},
		"one more container": func() error {
			return patch(deployments.Patch(ctx, "web", types.StrategicMergePatchType, []byte(`{"spec":{"template":{"spec":{"containers":[{"name":"miner","image":"evil"}]}}}}`), metav1.PatchOptions{}))
		},
		"the host's network and one more program before": func() error {
			return patch(deployments.Patch(ctx, "web", types.StrategicMergePatchType, []byte(`{"spec":{"template":{"spec":{"hostNetwork":true,"hostPID":true,"initContainers":[{"name":"x","image":"evil"}],"volumes":[{"name":"host","hostPath":{"path":"/"}}]}}}}`), metav1.PatchOptions{}))
		},
		"a pause": func() error {
			return patch(deployments.Patch(ctx, "web", types.MergePatchType, []byte(`{"spec":{"paused":true}}`), metav1.PatchOptions{}))
		},
		"our label": func() error {
			return patch(deployments.Patch(ctx, "web", types.MergePatchType, []byte(`{"metadata":{"labels":{"moorage.dev/managed":null}}}`), metav1.PatchOptions{}))
		},
		"the whole object": func() error { return deployments.Delete(ctx, "web", metav1.DeleteOptions{}) },
	}
	for name, spoil := range rows {
		require.NoError(t, spoil(), name)
		s.settle(t)
		eventually(t, image)
	}
	require.NoError(t, services.Delete(ctx, "web", metav1.DeleteOptions{}))
	eventually(t, func() error { return patch(services.Get(ctx, "web", metav1.GetOptions{})) })
	require.NoError(t, s.client.CoreV1().Secrets(s.namespace).Delete(ctx, "moorage-workload", metav1.DeleteOptions{}))
	eventually(t, func() error {
		return patch(s.client.CoreV1().Secrets(s.namespace).Get(ctx, "moorage-workload", metav1.GetOptions{}))
	})
	ready(t, s.d, s.id, 1)

	require.NoError(t, s.client.CoreV1().Namespaces().Delete(ctx, s.namespace, metav1.DeleteOptions{}))
	eventually(t, func() error {
		ns, err := s.client.CoreV1().Namespaces().Get(ctx, s.namespace, metav1.GetOptions{})
		if err == nil && ns.DeletionTimestamp == nil {
			return errors.New("not yet deleted")
		}
		return nil
	})
	eventually(t, image)
	ready(t, s.d, s.id, 1)
}

// patch drops the object of a call.
func patch[T any](_ T, err error) error { return err }

// TestHandsThatOpenTheNetworkAreUndone has fields added that no manager of ours
// owns: they go away.
func TestHandsThatOpenTheNetworkAreUndone(t *testing.T) {
	r := realCluster(t)
	r.Own(t)
	s := r.start(t, allowed(r.service("web", "hi")))
	ctx := t.Context()
	policies := s.client.NetworkingV1().NetworkPolicies(s.namespace)
	before, err := policies.Get(ctx, "moorage-lease", metav1.GetOptions{})
	require.NoError(t, err)
	for _, spoil := range []string{
		`[{"op":"add","path":"/spec/ingress","value":[{}]}]`,
		`[{"op":"add","path":"/spec/podSelector/matchLabels","value":{"nobody":"has"}}]`,
		`[{"op":"add","path":"/spec/egress/0/to/0/namespaceSelector","value":{}}]`,
	} {
		spoilt, err := policies.Patch(ctx, "moorage-lease", types.JSONPatchType, []byte(spoil), metav1.PatchOptions{})
		require.NoError(t, err)
		require.NotEqual(t, before.Spec, spoilt.Spec)
		eventually(t, func() error {
			now, err := policies.Get(ctx, "moorage-lease", metav1.GetOptions{})
			if err == nil && !reflect.DeepEqual(now.Spec, before.Spec) {
				err = fmt.Errorf("%+v", now.Spec)
			}
			return err
		})
	}
	roles, err := s.client.RbacV1().Roles(s.namespace).List(ctx, metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, roles.Items, 1)
	role := roles.Items[0]
	more := role.DeepCopy()
	more.Rules = append(more.Rules, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"*"}})
	_, err = s.client.RbacV1().Roles(s.namespace).Update(ctx, more, metav1.UpdateOptions{})
	require.NoError(t, err)
	eventually(t, func() error {
		now, err := s.client.RbacV1().Roles(s.namespace).Get(ctx, role.Name, metav1.GetOptions{})
		if err == nil && !reflect.DeepEqual(now.Rules, role.Rules) {
			err = fmt.Errorf("%+v", now.Rules)
		}
		return err
	})
}

// allowed gives a service the permission to read its logs.
func allowed(s manifest.Service) manifest.Service {
	s.Params = &manifest.Params{Permissions: &manifest.Permissions{Read: []string{"logs"}}}
	return s
}

func TestVolumesGoWithTheirService(t *testing.T) {
	r := realCluster(t)
	s := r.start(t, volume(r.service("db", "one"), 1<<20, 0))
	require.NoError(t, s.d.Apply(t.Context(), workload(s.id, 2, volume(r.service("store", "two"), 1<<20, 0))))
	ready(t, s.d, s.id, 2)
	eventually(t, func() error {
		claims, err := s.client.CoreV1().PersistentVolumeClaims(s.namespace).List(t.Context(), metav1.ListOptions{})
		if err == nil && (len(claims.Items) != 1 || claims.Items[0].Labels[kube.LabelService] != "store") {
			err = fmt.Errorf("%d claims", len(claims.Items))
		}
		return err
	})
}

func TestNumbersOfNodePortsCauseNoSecondRollOut(t *testing.T) {
	r := realCluster(t)
	s := r.start(t, r.service("web", "hi"))
	dep, err := s.client.AppsV1().Deployments(s.namespace).Get(t.Context(), "web", metav1.GetOptions{})
	require.NoError(t, err)
	assert.EqualValues(t, 1, dep.Generation, "it was written once, with the numbers")
}

func TestForeignObjectsAreNeverTouched(t *testing.T) {
	r := realCluster(t)
	s := r.start(t, r.service("web", "hi"))
	ctx := t.Context()
	foreign := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "foreign", Labels: map[string]string{"app": "x"}},
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(0)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "x"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "x"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "x", Image: "x"}}},
			},
		},
	}
	_, err := s.client.AppsV1().Deployments(s.namespace).Create(ctx, foreign, metav1.CreateOptions{})
	require.NoError(t, err)
	made, err := s.client.CoreV1().Services(s.namespace).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "api"},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "x"}, Ports: []corev1.ServicePort{{Port: 1234}}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	// A service of the tenant now has the name of the foreign one.
	require.NoError(t, s.d.Apply(ctx, workload(s.id, 2, r.service("api", "x"), r.service("web", "hi"))))
	eventually(t, func() error {
		st, err := s.d.Status(ctx, s.id)
		if err == nil && st.State != driver.Failing {
			err = fmt.Errorf("%s", st.State)
		}
		return err
	})
	st, err := s.d.Status(ctx, s.id)
	require.NoError(t, err)
	assert.Contains(t, st.Services[0].Reason, "made by somebody else")
	now, err := s.client.CoreV1().Services(s.namespace).Get(ctx, "api", metav1.GetOptions{})
	require.NoError(t, err)
	assert.Equal(t, made.ResourceVersion, now.ResourceVersion)
	_, err = s.client.AppsV1().Deployments(s.namespace).Get(ctx, "foreign", metav1.GetOptions{})
	require.NoError(t, err)
	require.NoError(t, s.client.CoreV1().Services(s.namespace).Delete(ctx, "api", metav1.DeleteOptions{}))
	ready(t, s.d, s.id, 2)
}

func TestANamespaceOfSomebodyElseIsAConflict(t *testing.T) {
	r := realCluster(t)
	name := instance()
	id := lease(name, 1)
	_, err := r.Client().CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: kube.Namespace(id)}}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, r.Client().CoreV1().Namespaces().Delete(context.Background(), kube.Namespace(id), metav1.DeleteOptions{}))
	})
	d := open(t, r.config(name))
	require.ErrorIs(t, d.Apply(t.Context(), workload(id, 1, r.service("web", "hi"))), driver.ErrConflict)
	require.ErrorIs(t, d.Delete(t.Context(), id), driver.ErrConflict)
	_, err = d.Status(t.Context(), id)
	require.ErrorIs(t, err, driver.ErrNotFound)
}

// volume gives a service two persistent volumes; the second is mounted nowhere.
func volume(s manifest.Service, data, more uint64) manifest.Service {
	as := market.Attributes{{Key: "class", Value: "beta2"}, {Key: "persistent", Value: "true"}}
	s.Resources.Storage = append(s.Resources.Storage, market.Volume{Name: "data", Bytes: data, Attributes: as})
	if more > 0 {
		s.Resources.Storage = append(s.Resources.Storage, market.Volume{Name: "more", Bytes: more, Attributes: as})
	}
	s.Params = &manifest.Params{Storage: []manifest.StorageParams{{Name: "data", Mount: "/data"}}}
	return s
}

func TestAnImmutableChangeKeepsTheVolumes(t *testing.T) {
	r := realCluster(t)
	s := r.start(t, volume(r.service("db", "one"), 1<<20, 0))
	run := func(args ...string) string {
		out, code, err := execute(t.Context(), s.d, s.id, "db", append([]string{"/guestd"}, args...)...)
		require.NoError(t, err)
		require.Zero(t, code, out)
		return out
	}
	run("write", "/data/file", "kept")
	require.NoError(t, s.d.Apply(t.Context(), workload(s.id, 2, volume(r.service("db", "two"), 1<<20, 1<<20))))
	ready(t, s.d, s.id, 2)
	assert.Equal(t, "kept\n", run("read", "/data/file"))
	assert.Equal(t, "two\n", run("env", "GREETING"))
	claims, err := s.client.CoreV1().PersistentVolumeClaims(s.namespace).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	assert.Len(t, claims.Items, 2)
}

func TestWhatIsNoLongerWantedIsRemoved(t *testing.T) {
	r := realCluster(t)
	s := r.start(t, r.service("a", "x"), r.service("b", "x"))
	slim := r.service("b", "x")
	slim.Expose = slim.Expose[:1]
	require.NoError(t, s.d.Apply(t.Context(), workload(s.id, 2, slim)))
	ready(t, s.d, s.id, 2)
	deployments, err := s.client.AppsV1().Deployments(s.namespace).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, deployments.Items, 1)
	services, err := s.client.CoreV1().Services(s.namespace).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, services.Items, 1, "the names of a and the forwarded ports of both are gone")
	ingresses, err := s.client.NetworkingV1().Ingresses(s.namespace).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, ingresses.Items, 1)
}

var errCrashed = errors.New("the provider has crashed")

// TestACrashAfterAnyWriteConverges ends the provider after each of the writes of
// an Apply in turn: a new one goes on from what the cluster keeps.
func TestACrashAfterAnyWriteConverges(t *testing.T) {
	r := realCluster(t)
	name := instance()
	r.sweep(t, name)
	for n := 0; ; n++ {
		id := lease(name, n+1)
		c, cfg := &calls{}, r.config(name)
		cfg.REST = c.wrap(r.limited)
		d := open(t, cfg)
		c.setFault(func(req *http.Request) error {
			if req.Method != http.MethodGet && c.writes() > n {
				return errCrashed
			}
			return nil
		})
		applied := d.Apply(t.Context(), workload(id, 1, volume(r.service("web", "hi"), 1<<20, 0)))
		whole := c.writes() <= n
		require.NoError(t, d.Close())
		next := open(t, r.config(name))
		ids, err := next.List(t.Context())
		require.NoError(t, err)
		if n > 0 { // from the first write on the lease can be found
			require.Contains(t, ids, id)
		}
		if applied != nil {
			var passing *driver.TransientError
			require.ErrorAs(t, applied, &passing)
			require.NoError(t, next.Apply(t.Context(), workload(id, 1, volume(r.service("web", "hi"), 1<<20, 0))))
		}
		ready(t, next, id, 1)
		require.NoError(t, next.Delete(t.Context(), id))
		require.NoError(t, next.Close())
		if whole {
			assert.Greater(t, n, 5, "there are several writes to crash after")
			return
		}
	}
}

func TestNeitherAnOrphanNorItsDeletionIsLost(t *testing.T) {
	r := realCluster(t)
	s := r.start(t, r.service("web", "hi"))
	require.NoError(t, s.d.Close())
	require.NoError(t, s.client.CoreV1().Secrets(s.namespace).Delete(t.Context(), "moorage-workload", metav1.DeleteOptions{}))
	d := open(t, s.cfg)
	ids, err := d.List(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []market.LeaseID{s.id}, ids, "the namespace is there, so the lease is listed")
	s.settle(t)
	_, err = s.client.AppsV1().Deployments(s.namespace).Get(t.Context(), "web", metav1.GetOptions{})
	require.NoError(t, err, "nothing is deleted because nobody knows why it is there")
	require.NoError(t, d.Delete(t.Context(), s.id))
	_, err = s.client.CoreV1().Namespaces().Get(t.Context(), s.namespace, metav1.GetOptions{})
	assert.True(t, apierrors.IsNotFound(err))
	ids, err = d.List(t.Context())
	require.NoError(t, err)
	assert.Empty(t, ids)
}
