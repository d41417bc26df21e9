package render_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/cluster/kube/internal/render"
	"github.com/moorage-dev/moorage/cluster/kube/internal/render/rendertest"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestGoldenObjects(t *testing.T) {
	docs, err := filepath.Glob("testdata/*.yaml")
	require.NoError(t, err)
	found := 0
	for _, file := range docs {
		if strings.HasSuffix(file, ".out.yaml") {
			continue
		}
		found++
		t.Run(filepath.Base(file), func(t *testing.T) {
			in, err := rendertest.Input(file)
			require.NoError(t, err)
			var out bytes.Buffer
			objects, err := render.Render(rendertest.Options(file), in)
			require.NoError(t, err)
			for _, o := range objects {
				text, err := yaml.JSONToYAML(o.Body)
				require.NoError(t, err)
				out.WriteString("---\n")
				out.Write(text)
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".out.yaml"
			if *update {
				require.NoError(t, os.WriteFile(golden, out.Bytes(), 0o600))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			assert.Equal(t, string(want), out.String(), "run with -update if this is meant")
		})
	}
	assert.Equal(t, 20, found)
}

// balanced renders the ports of a service at a load balancer.
func balanced(exposes ...manifest.Expose) (string, error) {
	w := driver.Workload{Lease: rendertest.Lease(), Revision: 1, Group: manifest.Group{Services: []manifest.Service{{Name: "web", Image: "x", Count: 1, Expose: exposes}}}}
	objects, err := render.Render(&render.Options{LoadBalancer: true}, render.Input{Workload: w})
	for _, o := range objects {
		if o.Kind.Kind == "Service" && o.Name == render.ForwardName("web") {
			return string(o.Body), err
		}
	}
	return "", err
}

func TestALoadBalancerOpensEveryNumberOnce(t *testing.T) {
	body, err := balanced(
		manifest.Expose{Port: 8080, ExternalPort: 9000, Proto: manifest.TCP, Global: true},
		manifest.Expose{Port: 8080, ExternalPort: 9001, Proto: manifest.TCP, Global: true},
		manifest.Expose{Port: 8080, ExternalPort: 9000, Proto: manifest.UDP, Global: true})
	require.NoError(t, err)
	for _, name := range []string{"tcp-9000", "tcp-9001", "udp-9000"} {
		assert.Equal(t, 1, strings.Count(body, `"name":"`+name+`"`), body)
	}
	_, err = balanced(
		manifest.Expose{Port: 8080, ExternalPort: 9000, Proto: manifest.TCP, Global: true},
		manifest.Expose{Port: 8081, ExternalPort: 9000, Proto: manifest.TCP, Global: true})
	require.ErrorIs(t, err, driver.ErrInvalid)
}

// TestOverCommitDoesNotChangeTheQuota keeps room for old pods beside new ones
// when the operator changes the over-commit.
func TestOverCommitDoesNotChangeTheQuota(t *testing.T) {
	quota := func(over inventory.Overcommit) string {
		in, err := rendertest.Input("testdata/01-web.yaml")
		require.NoError(t, err)
		o := rendertest.Options("testdata/01-web.yaml")
		o.Overcommit = over
		objects, err := render.Render(o, in)
		require.NoError(t, err)
		for _, o := range objects {
			if o.Kind.Kind == "ResourceQuota" {
				return string(o.Body)
			}
		}
		return ""
	}
	before := quota(inventory.Overcommit{})
	assert.NotEmpty(t, before)
	assert.Equal(t, before, quota(inventory.Overcommit{CPUPercent: 400, MemoryPercent: 400}))
}

func TestTheSameInputGivesTheSameBytes(t *testing.T) {
	const file = "testdata/20-everything.yaml"
	in, err := rendertest.Input(file)
	require.NoError(t, err)
	first, err := render.Render(rendertest.Options(file), in)
	require.NoError(t, err)
	for range 20 {
		again, err := render.Render(rendertest.Options(file), in)
		require.NoError(t, err)
		require.Equal(t, first, again)
	}
}

// TestEveryPublishedDocumentIsRendered reads documents that people published,
// where they are there.
func TestEveryPublishedDocumentIsRendered(t *testing.T) {
	docs, err := filepath.Glob("../../../../../shared/corpus/sdl/*.yaml")
	require.NoError(t, err)
	if len(docs) == 0 {
		t.Skip("the corpus of published documents is not beside the project")
	}
	compiled := 0
	for _, file := range docs {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		res, err := sdl.Compile(text, sdl.Options{})
		if err != nil {
			continue
		}
		compiled++
		for _, g := range res.Manifest {
			w := driver.Workload{Lease: rendertest.Lease(), Revision: 1, Group: g}
			in := render.Input{Workload: w, Resolution: rendertest.Resolution(g, "")}
			_, err := render.Render(rendertest.Options(file), in)
			require.NoError(t, err, file)
		}
	}
	assert.Greater(t, compiled, 100)
}

func FuzzNamesAreLabelsAndInjective(f *testing.F) {
	f.Add("tenant/1/1/1/provider", "tenant/11/1/1/provider", "web", "web-2")
	f.Fuzz(func(t *testing.T, one, two, s1, s2 string) {
		a, err := market.ParseLeaseID(one)
		if err != nil {
			return
		}
		b, err := market.ParseLeaseID(two)
		if err != nil {
			return
		}
		require.True(t, driver.ValidLabel(render.Namespace(a)))
		require.Equal(t, a == b, render.Namespace(a) == render.Namespace(b))
		if !driver.ValidLabel(s1) || !driver.ValidLabel(s2) {
			return
		}
		require.True(t, driver.ValidHostname(render.Hostname(a, s1, "example.org")))
		require.Equal(t, a == b && s1 == s2, render.Hostname(a, s1, "x") == render.Hostname(b, s2, "x"))
		for _, name := range []func(string) string{render.ForwardName, func(s string) string { return render.WorkloadName(s, true) }} {
			require.True(t, driver.ValidLabel(name(s1)), name(s1))
			require.Equal(t, s1 == s2, name(s1) == name(s2))
		}
		require.LessOrEqual(t, len(render.WorkloadName(s1, true)), 52)
	})
}

func BenchmarkRender(b *testing.B) {
	for _, file := range []string{"testdata/01-web.yaml", "testdata/20-everything.yaml"} {
		b.Run(filepath.Base(file), func(b *testing.B) {
			in, err := rendertest.Input(file)
			require.NoError(b, err)
			o := rendertest.Options(file)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := render.Render(o, in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
