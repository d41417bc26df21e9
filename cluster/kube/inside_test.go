package kube_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/kube"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// TestAPodHasWhatItsLeaseSaysAndNoMore looks around inside two services of a
// lease: one with shared memory that may read its logs, one without either.
func TestAPodHasWhatItsLeaseSaysAndNoMore(t *testing.T) {
	r := realCluster(t)
	name := instance()
	r.sweep(t, name)
	d, id := open(t, r.config(name)), lease(name, 1)
	web, plain := r.service("web", "hi"), r.service("plain", "hi")
	plain.Expose = plain.Expose[1:]
	web.Resources.Storage = append(web.Resources.Storage, market.Volume{
		Name: "shm", Bytes: 8 << 20, Attributes: market.Attributes{{Key: "class", Value: "ram"}, {Key: "persistent", Value: "false"}},
	})
	web.Params = &manifest.Params{
		Storage:     []manifest.StorageParams{{Name: "shm", Mount: "/dev/shm"}},
		Permissions: &manifest.Permissions{Read: []string{"logs"}},
	}
	require.NoError(t, d.Apply(t.Context(), workload(id, 1, plain, web)))
	ready(t, d, id, 1)
	inside := func(service string, command ...string) (string, int) {
		out, code, err := execute(t.Context(), d, id, service, append([]string{"/guestd"}, command...)...)
		require.NoError(t, err)
		return out, code
	}
	_, code := inside("web", "write", "/dev/shm/x", "word")
	assert.Zero(t, code)
	mounts, _ := inside("web", "read", "/proc/mounts")
	assert.Regexp(t, `tmpfs /dev/shm tmpfs rw[^\n]*size=8192k`, mounts)
	const token = "/var/run/secrets/kubernetes.io/serviceaccount/token"
	out, code := inside("web", "read", token)
	assert.Zero(t, code, out)
	_, code = inside("plain", "read", token)
	assert.NotZero(t, code, "no token unless asked for")
	for _, service := range []string{"web", "plain"} {
		status, _ := inside(service, "read", "/proc/self/status")
		assert.Contains(t, status, "NoNewPrivs:\t1")
		assert.Contains(t, status, "Seccomp:\t2")
	}
	roles, err := r.Client().RbacV1().Roles(kube.Namespace(id)).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, roles.Items, 1, "made under the ClusterRole")
	for _, rule := range roles.Items[0].Rules {
		assert.NotContains(t, rule.Resources, "secrets")
		assert.Subset(t, []string{"get", "list", "watch"}, rule.Verbs)
	}
}

// TestImagesThatMustNotRunAsRoot has an operator whose rule is that no image runs as
// root: one with a user of its own runs under the restricted standard of pod
// security, one without is not started, and its tenant is told why.
func TestImagesThatMustNotRunAsRoot(t *testing.T) {
	r := realCluster(t)
	name := instance()
	r.sweep(t, name)
	cfg := r.config(name)
	cfg.NonRoot = func(string) bool { return true }
	d, good, bad := open(t, cfg), lease(name, 1), lease(name, 2)
	user, root := r.service("web", "as a user"), r.service("web", "as root")
	user.Image = r.userGuest
	user.Expose, root.Expose = user.Expose[1:], root.Expose[1:]
	require.NoError(t, d.Apply(t.Context(), workload(good, 1, user)))
	require.NoError(t, d.Apply(t.Context(), workload(bad, 1, root)))
	ready(t, d, good, 1)
	status, code, err := execute(t.Context(), d, good, "web", "/guestd", "read", "/proc/self/status")
	require.NoError(t, err)
	require.Zero(t, code)
	assert.Regexp(t, `(?m)^Uid:\s1000\s1000`, status)
	ns, err := r.Client().CoreV1().Namespaces().Get(t.Context(), kube.Namespace(good), metav1.GetOptions{})
	require.NoError(t, err)
	assert.Equal(t, "restricted", ns.Labels["pod-security.kubernetes.io/enforce"])
	eventually(t, func() error {
		s, err := d.Status(t.Context(), bad)
		if err == nil && (s.State != driver.Failing || !strings.Contains(s.Services[0].Reason, "root")) {
			err = fmt.Errorf("the other is %s: %+v", s.State, s.Services)
		}
		return err
	})
}
