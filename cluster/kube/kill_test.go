package kube_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	portable "github.com/moorage-dev/moorage/cluster"
	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/kube"
	"github.com/moorage-dev/moorage/internal/kubetest"
)

// component returns a part of the cluster that a test may kill.
func (r *rig) component(t *testing.T, name string) *kubetest.Component {
	t.Helper()
	c, err := r.Component(name)
	if errors.Is(err, kubetest.ErrNotOurs) {
		t.Skip("only parts of a cluster of our own are killed")
	}
	require.NoError(t, err)
	t.Cleanup(func() {
		if !c.Running() {
			assert.NoError(t, c.Start())
		}
		assert.NoError(t, r.WaitAPI(context.Background()))
	})
	return c
}

// patient is the portable type with a patience that outlasts a restart.
func patient(t *testing.T, d driver.Driver) *portable.Cluster {
	t.Helper()
	c, err := portable.New(d, portable.Config{Attempts: portable.MaxAttempts})
	require.NoError(t, err)
	return c
}

// TestTheServerIsKilledInTheMiddle kills the API server in the middle of a
// deployment, an update and a deletion; each converges when it is back.
func TestTheServerIsKilledInTheMiddle(t *testing.T) {
	r := realCluster(t)
	server := r.component(t, "kube-apiserver")
	name := instance()
	r.sweep(t, name)
	c, cfg := &calls{}, r.config(name)
	cfg.REST, cfg.StaleAfter = c.wrap(r.limited), 6*time.Second
	d := open(t, cfg)
	p := patient(t, d)
	id := lease(name, 1)
	// during runs f, kills the server after the n-th write and starts it again.
	during := func(n int, f func() error) {
		t.Helper()
		begin, killed := c.writes(), make(chan struct{})
		var once sync.Once
		c.setFault(func(req *http.Request) error {
			if req.Method != http.MethodGet && c.writes() > begin+n {
				once.Do(func() {
					assert.NoError(t, server.Kill())
					close(killed)
				})
			}
			return nil
		})
		ended := make(chan error, 1)
		go func() { ended <- f() }()
		<-killed
		if st, err := d.Status(t.Context(), id); err == nil {
			assert.NotEqual(t, driver.Failing, st.State, "unknown is not unhealthy: %+v", st.Services)
		} else {
			assert.NotErrorIs(t, err, driver.ErrNotFound, "that it cannot be seen does not mean that it is gone")
		}
		require.NoError(t, server.Start())
		require.NoError(t, <-ended)
		c.setFault(nil)
	}
	during(2, func() error { return p.Apply(t.Context(), workload(id, 1, r.service("web", "one"))) })
	ready(t, p, id, 1)
	during(1, func() error { return p.Apply(t.Context(), workload(id, 2, r.service("web", "two"))) })
	s := ready(t, p, id, 2)
	eventually(t, func() error { return r.greets(t.Context(), s, "two") })
	during(0, func() error { return p.Delete(t.Context(), id) })
	eventually(t, func() error {
		ids, err := p.List(t.Context())
		if err == nil && len(ids) > 0 {
			err = fmt.Errorf("%v are left", ids)
		}
		return err
	})
}

// greets asks the first page of a status for its greeting.
func (r *rig) greets(ctx context.Context, s driver.Status, want string) error {
	got, err := r.get(ctx, s.Services[0].URIs[0]+"/")
	if err == nil && got != want {
		err = fmt.Errorf("greets %q, want %q", got, want)
	}
	return err
}

// TestAServerThatIsAwayIsUnknown looks at a driver while the API server is away
// for longer than the driver believes what it has seen.
func TestAServerThatIsAwayIsUnknown(t *testing.T) {
	r := realCluster(t)
	name := instance()
	r.sweep(t, name)
	c, cfg := &calls{}, r.config(name)
	cfg.REST, cfg.StaleAfter = c.wrap(r.limited), 6*time.Second
	d := open(t, cfg)
	id := lease(name, 1)
	require.NoError(t, d.Apply(t.Context(), workload(id, 1, r.service("web", "one"))))
	ready(t, d, id, 1)
	errAway := errors.New("no route to host")
	c.setFault(func(*http.Request) error { return errAway })
	var passing *driver.TransientError
	eventually(t, func() error {
		st, err := d.Status(t.Context(), id)
		switch {
		case err == nil && st.State == driver.Failing:
			require.Fail(t, "unknown is not unhealthy")
		case err == nil:
			return errors.New("what was seen is still believed")
		}
		require.ErrorAs(t, err, &passing)
		return nil
	})
	_, err := d.List(t.Context())
	require.ErrorAs(t, err, &passing)
	require.ErrorAs(t, d.Delete(t.Context(), id), &passing)
	c.setFault(nil)
	ready(t, d, id, 1)
}

// TestTheKubeletIsKilledInTheMiddle kills the node's agent in the middle of a
// deployment, an update and a deletion.
func TestTheKubeletIsKilledInTheMiddle(t *testing.T) {
	r := realCluster(t)
	kubelet := r.component(t, "node-1/kubelet")
	name := instance()
	r.sweep(t, name)
	d, id := open(t, r.config(name)), lease(name, 1)
	p := patient(t, d)
	require.NoError(t, p.Apply(t.Context(), workload(id, 1, r.service("web", "one"))))
	eventually(t, func() error { // the node has been given the pod and has not brought it up
		pods, err := r.Client().CoreV1().Pods(kube.Namespace(id)).List(t.Context(), metav1.ListOptions{})
		if err == nil && (len(pods.Items) == 0 || pods.Items[0].Spec.NodeName == "") {
			err = errors.New("no pod is on the node")
		}
		return err
	})
	require.NoError(t, kubelet.Kill())
	st, err := p.Status(t.Context(), id)
	require.NoError(t, err)
	assert.NotEqual(t, driver.Failing, st.State, "%+v", st.Services)
	require.NoError(t, kubelet.Start())
	ready(t, p, id, 1)

	require.NoError(t, kubelet.Kill())
	require.NoError(t, p.Apply(t.Context(), workload(id, 2, r.service("web", "two"))))
	st, err = p.Status(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, driver.Pending, st.State, "%+v", st.Services)
	require.NoError(t, r.greets(t.Context(), st, "one"), "what ran goes on")
	require.NoError(t, kubelet.Start())
	st = ready(t, p, id, 2)
	eventually(t, func() error { return r.greets(t.Context(), st, "two") })

	require.NoError(t, kubelet.Kill())
	ended := make(chan error, 1)
	go func() { ended <- p.Delete(t.Context(), id) }()
	eventually(t, func() error {
		st, err := p.Status(t.Context(), id)
		if err == nil && st.State != driver.Leaving {
			err = fmt.Errorf("%s", st.State)
		}
		return err
	})
	require.NoError(t, kubelet.Start())
	require.NoError(t, <-ended)
}

// TestOverQuotaIsSaid has a cluster that refuses pods: it is said, and mended
// when the room is there.
func TestOverQuotaIsSaid(t *testing.T) {
	r := realCluster(t)
	s := r.start(t, volume(r.service("db", "one"), 1<<20, 0), r.service("web", "one"))
	const quota = `
apiVersion: v1
kind: ResourceQuota
metadata: {name: operator, namespace: %s}
spec: {hard: {pods: "%d"}}
`
	require.NoError(t, r.Cluster.Apply(t.Context(), fmt.Appendf(nil, quota, s.namespace, 1)))
	require.NoError(t, s.d.Apply(t.Context(), workload(s.id, 2, volume(r.service("db", "two"), 1<<20, 0), r.service("web", "two"))))
	eventually(t, func() error {
		st, err := s.d.Status(t.Context(), s.id)
		if err != nil {
			return err
		}
		for _, service := range st.Services { // a Deployment and a StatefulSet
			if st.State != driver.Pending || !strings.Contains(service.Reason, "exceeded quota") {
				return fmt.Errorf("%s: %s: %s", st.State, service.Name, service.Reason)
			}
		}
		return nil
	})
	require.NoError(t, r.Cluster.Apply(t.Context(), fmt.Appendf(nil, quota, s.namespace, 9)))
	ready(t, s.d, s.id, 2)
}
