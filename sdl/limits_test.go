package sdl_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/sdl"
)

// tooLong is far more than any of these documents takes on a busy machine, and
// far less than work that grows with the square of the size.
const tooLong = 30 * time.Second

func TestBoundsAreKept(t *testing.T) {
	aliases := func(n int) string {
		return "a: &a x\nb:\n" + strings.Repeat("  - *a\n", n)
	}
	for _, c := range []struct {
		name, src string
		rule      sdl.Rule
	}{
		{"bytes", strings.Repeat("#", sdl.MaxBytes+1), "limit-bytes"},
		{"nodes of a plain text", "a:\n" + strings.Repeat("- \n", sdl.MaxNodes+1), "limit-nodes"},
		{"nodes of any other text", "a: !x b\nc: [" + strings.Repeat("a,", sdl.MaxGeneralNodes) + "]\n", "limit-nodes"},
		{"depth", "a: " + strings.Repeat("[", sdl.MaxDepth+1) + strings.Repeat("]", sdl.MaxDepth+1) + "\n", "limit-depth"},
		{"depth of a block", strings.Repeat("- ", sdl.MaxDepth+5) + "a\n", "limit-depth"},
		{"depth of JSON", `{"a":` + strings.Repeat("[", sdl.MaxDepth+1) + strings.Repeat("]", sdl.MaxDepth+1) + "}", "limit-depth"},
		{"keys", "a: !x b\n" + manyKeys(sdl.MaxKeys), "limit-keys"},
		{"aliases", aliases(sdl.MaxAliases + 1), "limit-aliases"},
		{"expansions", bomb(), "limit-expansions"},
		{"merges", mergeBomb(), "limit-expansions"},
		{"manifest", product(), "limit-manifest"},
		{"problems", strings.ReplaceAll(string(manyServices(2*sdl.MaxDiagnostics, "2.1")), "image: ", "imgae: "), "too-many-problems"},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := time.Now()
			_, err := sdl.Compile([]byte(c.src), sdl.Options{})
			require.Error(t, err)
			ds := sdl.AsDiagnostics(err)
			assert.LessOrEqual(t, len(ds), sdl.MaxDiagnostics)
			assert.True(t, slices.ContainsFunc(ds, func(d *sdl.Error) bool { return d.Rule == c.rule }), "got %v", ds[len(ds)-1])
			assert.Less(t, time.Since(start), tooLong)
		})
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "k%d:\n", i)
	}
	return b.String()
}

// bomb names a list of 1000 items in 1000 services.
func bomb() string {
	var b strings.Builder
	b.WriteString("version: \"2.0\"\nservices:\n  a:\n    env: &e\n" + strings.Repeat("      - A=b\n", 1000))
	for i := range 1000 {
		fmt.Fprintf(&b, "  s%d:\n    env: *e\n", i)
	}
	return b.String()
}

// mergeBomb merges a mapping of 1000 keys in 1000 places.
func mergeBomb() string {
	var b strings.Builder
	b.WriteString("version: \"2.0\"\nprofiles:\n  placement:\n    a:\n      attributes: &a\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "        key%d: v\n", i)
	}
	for i := range 1000 {
		fmt.Fprintf(&b, "    p%d:\n      attributes:\n        <<: *a\n", i)
	}
	return b.String()
}

// product runs a service with 20000 ports in 1000 placements.
func product() string {
	src := string(manyServices(1, "2.1"))
	src = strings.Replace(src, "    expose:\n", "    expose:\n"+strings.Repeat("      - port: 81\n", 20_000), 1)
	var places, prices strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&places, "    p%d:\n      profile: small\n      count: 1\n", i)
		fmt.Fprintf(&prices, "    p%d:\n      pricing:\n        small:\n          denom: uact\n          amount: 1\n", i)
	}
	src = strings.Replace(src, "    west:\n      pricing:", prices.String()+"    west:\n      pricing:", 1)
	return src + places.String()
}

func TestCallersCanLowerTheBounds(t *testing.T) {
	src := manyServices(10, "2.0")
	_, err := sdl.Compile(src, sdl.Options{Limits: &sdl.Limits{Bytes: len(src)}})
	require.NoError(t, err)
	_, err = sdl.Compile(src, sdl.Options{Limits: &sdl.Limits{Bytes: len(src) - 1}})
	require.Error(t, err)
	_, err = sdl.Compile(src, sdl.Options{Limits: &sdl.Limits{Nodes: 100}})
	require.Error(t, err)
	assert.Equal(t, sdl.Rule("limit-nodes"), sdl.AsDiagnostics(err)[0].Rule)
}

func TestHostileDocumentsTakeLinearTime(t *testing.T) {
	const n = 50_000
	for name, src := range map[string]string{
		"comments":         strings.Repeat("# x\n\n", n) + "a: b\n",
		"broken flow":      strings.Repeat("[", n),
		"broken list":      strings.Repeat("- ", n),
		"pairs in a list":  "a: [" + strings.Repeat("a: b, ", n) + "]\n",
		"question marks":   "a: [" + strings.Repeat("? ", n) + "]\n",
		"one key":          strings.Repeat("k", n) + ": v\n",
		"duplicate keys":   "version: \"2.0\"\nservices:\n" + strings.Repeat("  a:\n", n),
		"unknown keys":     "version: \"2.0\"\nservices:\n  a:\n" + manyIndentedKeys(n),
		"top-level keys":   "version: \"2.0\"\n" + manyKeys(n),
		"bad environment":  "version: \"2.0\"\nservices:\n  a:\n    env:\n" + strings.Repeat("      - =\n", n) + "deployment:\n  a:\n    b:\n      profile: c\n      count: 1\n",
		"undefined names":  undefinedNames(n),
		"volumes":          manyVolumes(n),
		"long line":        "a: \"" + strings.Repeat("\\x41", n) + "\"\n",
		"wide JSON line":   `{"a": [` + strings.Repeat(`"é", `, n) + `"é"]}`,
		"quotes":           "a: '" + strings.Repeat("'' ", n),
		"literal lines":    "a: |\n" + strings.Repeat("  x\n\n", n),
		"several versions": strings.Repeat("version: \"2.0\"\n", n/10),
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, _ = sdl.Compile([]byte(src), sdl.Options{})
			_, _ = sdl.Format([]byte(src))
			assert.Less(t, time.Since(start), tooLong)
		})
	}
}

func manyIndentedKeys(n int) string {
	return "    " + strings.TrimSuffix(strings.ReplaceAll(manyKeys(n), "\n", "\n    "), "    ")
}

func undefinedNames(n int) string {
	var b strings.Builder
	b.WriteString("version: \"2.0\"\nprofiles:\n  compute:\n")
	for i := range 100 {
		fmt.Fprintf(&b, "    profile-number-%d: {}\n", i)
	}
	b.WriteString("deployment:\n")
	for i := range n {
		fmt.Fprintf(&b, "  s%d:\n    p:\n      profile: profile-nomber-%d\n      count: 1\n", i, i)
	}
	return b.String()
}

func manyVolumes(n int) string {
	var volumes, mounts strings.Builder
	for i := range n {
		fmt.Fprintf(&volumes, "          - name: v%d\n            size: 5Mi\n", i)
		fmt.Fprintf(&mounts, "        v%d:\n          mount: /%d\n", i, i)
	}
	src := string(manyServices(1, "2.0"))
	src = strings.Replace(src, "          - size: 5Mi\n", volumes.String(), 1)
	return strings.Replace(src, "    expose:\n", "    params:\n      storage:\n"+mounts.String()+"    expose:\n", 1)
}

// manyServices is a document of n services that share a profile.
func manyServices(n int, version string) []byte {
	var services, deployment strings.Builder
	for i := range n {
		fmt.Fprintf(&services, "  s%06d:\n    image: image:%d\n    env:\n      - N=%d\n    expose:\n      - port: 80\n        to:\n          - global: true\n", i, i, i)
		fmt.Fprintf(&deployment, "  s%06d:\n    west:\n      profile: small\n      count: 1\n", i)
	}
	return []byte(`version: "` + version + `"
services:
` + services.String() + `profiles:
  compute:
    small:
      resources:
        cpu:
          units: 10m
        memory:
          size: 1Mi
        storage:
          - size: 5Mi
  placement:
    west:
      pricing:
        small:
          denom: uact
          amount: 1
deployment:
` + deployment.String())
}
