package kubetest

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// Start starts a cluster for one test and removes it when the test ends. The
// test is skipped where there can be none: without root, and with -short.
func Start(tb testing.TB, options Options) *Cluster {
	tb.Helper()
	need(tb)
	c, err := New(tb.Context(), options)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Log(c.Tails())
		}
		if err := c.Close(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	return c
}

func need(tb testing.TB) {
	tb.Helper()
	switch {
	case runtime.GOOS != "linux":
		tb.Skip("a Kubernetes cluster of our own needs Linux")
	case os.Geteuid() != 0:
		tb.Skip("a Kubernetes cluster of our own needs root")
	case testing.Short():
		tb.Skip("a Kubernetes cluster takes seconds to start")
	}
}

// Shared is one cluster for all tests of a binary, started by the first that
// asks. Make it a variable of the test package and hand it to [Main].
type Shared struct {
	Options Options

	once     sync.Once
	existing *bool
	registry *string
	cluster  *Cluster
	err      error
	failed   bool
}

// Main runs a package's tests and then ends its clusters; call it in TestMain:
//
//	var shared kubetest.Shared
//
//	func TestMain(m *testing.M) { os.Exit(kubetest.Main(m, &shared)) }
//
// It adds two flags. With -kube.existing the tests use the cluster of KUBECONFIG
// as it is; with -kube.registry=host/path they push their images there. Tests that
// need a cluster of our own say so with [Cluster.Own].
func Main(m *testing.M, shared ...*Shared) int {
	existing := flag.Bool("kube.existing", false, "run against the cluster of KUBECONFIG instead of one of our own")
	registry := flag.String("kube.registry", "", "with -kube.existing: where images are pushed to, and pulled from by the nodes")
	for _, s := range shared {
		s.existing, s.registry = existing, registry
	}
	code := m.Run()
	for _, s := range shared {
		if err := s.close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	return code
}

// Get returns the cluster, or ends the test with the reason why there is none.
func (s *Shared) Get(tb testing.TB) *Cluster {
	tb.Helper()
	if s.existing == nil {
		tb.Fatal("kubetest: hand the shared cluster to kubetest.Main in TestMain")
	}
	if !*s.existing {
		need(tb)
	}
	s.once.Do(func() {
		if *s.existing {
			s.cluster, s.err = Connect(os.Getenv("KUBECONFIG"), *s.registry)
			return
		}
		s.cluster, s.err = New(context.Background(), s.Options)
	})
	if s.err != nil {
		tb.Fatal(s.err)
	}
	tb.Cleanup(func() {
		if tb.Failed() && !s.failed { // once: later failures have the same cause or their own log
			s.failed = true
			tb.Log(s.cluster.Tails())
		}
	})
	return s.cluster
}

// Own skips a test, by name and reason, unless the cluster is one of our own: it
// kills programs, looks at nodes from inside or needs what options install.
func (c *Cluster) Own(tb testing.TB) {
	tb.Helper()
	if c.m == nil {
		tb.Skip("this needs a cluster of our own: run it without -kube.existing")
	}
}

func (s *Shared) close() error {
	if s.cluster == nil {
		return nil
	}
	return s.cluster.Close(context.Background())
}

// Tails returns the ends of the components' logs, for a test that failed.
func (c *Cluster) Tails() string {
	if c.m == nil {
		return ""
	}
	return c.m.tails()
}

// tailLength is how much of each log is shown.
const tailLength = 4 << 10

func (m *machine) tails() string {
	var b strings.Builder
	for _, c := range m.components {
		state := "runs"
		if !c.Running() {
			state = "does not run"
		}
		fmt.Fprintf(&b, "--- %s (%s):\n%s\n", c.Name, state, tail(c.Log()))
	}
	return b.String()
}

func tail(path string) string {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return err.Error()
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && info.Size() > tailLength {
		_, _ = f.Seek(-tailLength, io.SeekEnd)
	}
	b, _ := io.ReadAll(f)
	_, lines, found := strings.Cut(string(b), "\n")
	if !found || len(b) < tailLength {
		return string(b)
	}
	return lines
}
