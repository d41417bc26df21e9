//go:build linux

package kubetest_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/moorage-dev/moorage/internal/kubetest"
)

// traces are what a cluster leaves on this machine while it runs: what carries
// the name of its folder, and what it shares with other clusters.
func traces(t *testing.T, name string) (own, common []string) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, name) {
			own = append(own, "mount "+line)
		}
	}
	for _, pattern := range []string{"/sys/fs/cgroup/" + name, "/sys/fs/cgroup/*/" + name, filepath.Join(os.TempDir(), name)} {
		own = append(own, glob(t, pattern)...)
	}
	for _, f := range glob(t, "/proc/[0-9]*/cmdline") {
		if b, _ := os.ReadFile(f); strings.Contains(string(b), name) {
			own = append(own, "process "+strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	for _, pattern := range []string{
		"/run/netns/*", "/run/containerd/*", "/run/containerd/s/*", "/var/log/containers/*", "/var/lib/kubelet/*", "/var/lib/cni/*",
		"/var/lib/cni/*/*", "/tmp/hostpath_pv/*", "/usr/libexec/kubernetes/*", "/sys/class/net/*", "/var/log/pods/*",
	} {
		common = append(common, glob(t, pattern)...)
	}
	for _, name := range []string{"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops"} {
		b, err := os.ReadFile("/proc/sys/" + name)
		require.NoError(t, err)
		common = append(common, name+" "+strings.TrimSpace(string(b)))
	}
	return own, common
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	require.NoError(t, err)
	return paths
}

// TestNothingIsLeftBehind runs two clusters after one another, one with pods.
func TestNothingIsLeftBehind(t *testing.T) {
	alone := len(glob(t, filepath.Join(os.TempDir(), "moorage-kube-*"))) == 0
	_, before := traces(t, "-")
	for _, options := range []kubetest.Options{{NoDNS: true}, {}} {
		var name string
		t.Run("a cluster", func(t *testing.T) {
			c := kubetest.Start(t, options)
			name = filepath.Base(c.Folder())
			own, common := traces(t, name)
			require.Greater(t, len(own), 10, "the test sees what a cluster does")
			if !options.NoDNS { // a volume and pods that nobody stops
				keepVolume(t, c)
			}
			if alone {
				require.NotEqual(t, before, common)
			}
		})
		if name == "" {
			return // skipped, and said why
		}
		own, after := traces(t, name)
		require.Empty(t, own)
		if alone && len(glob(t, filepath.Join(os.TempDir(), "moorage-kube-*"))) == 0 {
			require.Equal(t, before, after)
		}
	}
}

// keepVolume leaves a volume that is in use.
func keepVolume(t *testing.T, c *kubetest.Cluster) {
	t.Helper()
	require.NoError(t, c.Apply(t.Context(), []byte(`
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: kept, namespace: default}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
`)))
	require.Eventually(t, func() bool {
		claim, err := c.Client().CoreV1().PersistentVolumeClaims("default").Get(t.Context(), "kept", metav1.GetOptions{})
		return err == nil && claim.Status.Phase == corev1.ClaimBound
	}, time.Minute, 50*time.Millisecond)
}

// TestTheNextClusterRemovesWhatAKilledTestLeft kills a process that has a cluster.
func TestTheNextClusterRemovesWhatAKilledTestLeft(t *testing.T) {
	shared.Get(t) // or skip
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), abandon+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	name := filepath.Base(strings.TrimSpace(line))
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	own, _ := traces(t, name)
	require.Greater(t, len(own), 10, "its cluster runs on")

	kubetest.Start(t, kubetest.Options{NoDNS: true})
	own, _ = traces(t, name)
	require.Empty(t, own)
}
