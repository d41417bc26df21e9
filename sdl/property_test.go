package sdl_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// drawDocument makes a document that compiles.
func drawDocument(t *rapid.T) *sdl.Document {
	text := rapid.StringMatching(`[ -~é☃]{0,12}`)
	name := rapid.StringMatching(`[a-z]([a-z0-9-]{0,6}[a-z0-9])?`)
	list := rapid.OneOf(rapid.Just[[]string](nil), rapid.SliceOfN(text, 0, 3))
	doc := &sdl.Document{Version: rapid.SampledFrom([]string{"2.0", "2.1"}).Draw(t, "version")}
	services := rapid.SliceOfNDistinct(name, 1, 5, rapid.ID).Draw(t, "services")
	profiles := rapid.SliceOfNDistinct(name, 1, 3, rapid.ID).Draw(t, "profiles")
	placements := rapid.SliceOfNDistinct(name, 1, 2, rapid.ID).Draw(t, "placements")
	for _, p := range profiles {
		doc.Compute = append(doc.Compute, drawProfile(t, p))
	}
	for _, p := range placements {
		pl := sdl.PlacementProfile{Name: p}
		for _, profile := range profiles {
			price := market.Price{Denom: "uact", AmountPerBlock: market.NewDecimal(rapid.Uint64Range(1, 1000).Draw(t, "price"))}
			pl.Pricing = append(pl.Pricing, sdl.ProfilePrice{Profile: profile, Price: price})
		}
		doc.Placement = append(doc.Placement, pl)
	}
	for i, s := range services {
		svc := sdl.Service{Name: s, Image: "image", Command: list.Draw(t, "command"), Args: list.Draw(t, "args")}
		for j := range rapid.IntRange(0, 14).Draw(t, "ports") {
			svc.Expose = append(svc.Expose, drawExpose(t, j, services))
		}
		if i == 0 {
			svc.Expose = append(svc.Expose, sdl.Expose{Port: 80, To: []sdl.ExposeTo{{Global: true}}})
		}
		for k := range rapid.IntRange(0, 3).Draw(t, "env") {
			svc.Env = append(svc.Env, fmt.Sprintf("N%d=%s", k, text.Draw(t, "value")))
		}
		doc.Services = append(doc.Services, svc)
		dep := sdl.Deployment{Service: s}
		for _, p := range placements {
			dep.Placements = append(dep.Placements, sdl.ServicePlacement{
				Placement: p, Profile: rapid.SampledFrom(profiles).Draw(t, "profile"), Count: rapid.Uint32Range(1, 3).Draw(t, "count"),
			})
		}
		doc.Deployment = append(doc.Deployment, dep)
	}
	return doc
}

func drawProfile(t *rapid.T, name string) sdl.ComputeProfile {
	p := sdl.ComputeProfile{
		Name: name, Resources: true,
		CPU:    &sdl.CPU{MilliCores: rapid.Uint32Range(10, 10_000).Draw(t, "cpu")},
		Memory: &sdl.Memory{Bytes: rapid.Uint64Range(1<<20, 1<<40).Draw(t, "memory")},
	}
	for i := range rapid.IntRange(1, 25).Draw(t, "volumes") {
		v := sdl.Volume{Name: fmt.Sprintf("v%d", 99-i*7%30), Bytes: rapid.SampledFrom([]uint64{5 << 20, 1 << 30}).Draw(t, "size")}
		if rapid.Bool().Draw(t, "ram") {
			v.Attributes = &sdl.VolumeAttributes{Class: rapid.SampledFrom([]string{"", "ram"}).Draw(t, "class")}
		}
		p.Storage = append(p.Storage, v)
	}
	if rapid.Bool().Draw(t, "gpu") {
		p.GPU = &sdl.GPU{Units: 1, Attributes: &sdl.GPUAttributes{Nvidia: []sdl.GPUModel{{Model: "a100"}, {Model: "h100", Interface: "sxm"}}}}
	}
	return p
}

func drawExpose(t *rapid.T, j int, services []string) sdl.Expose {
	e := sdl.Expose{Port: uint32(1000 + j%3), As: rapid.SampledFrom([]uint32{0, 80}).Draw(t, "as"), Proto: rapid.SampledFrom([]string{"", "udp", "TCP"}).Draw(t, "proto")}
	for range rapid.IntRange(0, 2).Draw(t, "to") {
		e.To = append(e.To, sdl.ExposeTo{Service: rapid.SampledFrom(services).Draw(t, "target"), Global: rapid.Bool().Draw(t, "global")})
	}
	return e
}

func TestDocumentsBuiltInGoSurviveTheText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		doc := drawDocument(t)
		direct, err := doc.Compile(sdl.Options{})
		require.NoError(t, err)
		text, err := doc.Marshal()
		require.NoError(t, err)
		read, err := sdl.Compile(text, sdl.Options{})
		require.NoError(t, err, "%s", text)
		assert.Equal(t, direct.Hash, read.Hash)
		assert.Equal(t, direct.Groups, read.Groups)
		assert.NoError(t, manifest.Check(read.Manifest, direct.Groups))
		formatted, err := sdl.Format(text)
		require.NoError(t, err)
		again, err := sdl.Compile(formatted, sdl.Options{})
		require.NoError(t, err)
		assert.Equal(t, direct.Hash, again.Hash)
	})
}

func TestHashDoesNotDependOnTheOrderOfKeys(t *testing.T) {
	eachDocument(t, func(t *testing.T, file string, src []byte, ref reference) {
		t.Helper()
		if !ref.OK {
			return
		}
		var node yaml.Node
		require.NoError(t, yaml.Unmarshal(src, &node))
		if plain, err := yaml.Marshal(&node); err != nil || !sameHash(plain, ref.Version) {
			return // the library's writer does not keep this text
		}
		r := rand.New(rand.NewPCG(1, uint64(len(src))))
		shuffle(&node, r)
		out, err := yaml.Marshal(&node)
		if err != nil {
			return
		}
		var check yaml.Node
		if yaml.Unmarshal(out, &check) != nil || strings.Contains(string(src), "&") || strings.HasPrefix(file, "195") {
			return // an anchor may have moved behind its use; a version that comes twice is read by place
		}
		res, err := sdl.Compile(out, sdl.Options{})
		require.NoError(t, err)
		assert.Equal(t, ref.Version, res.Hash.String())
	})
}

func sameHash(src []byte, version string) bool {
	res, err := sdl.Compile(src, sdl.Options{})
	return err == nil && res.Hash.String() == version
}

// shuffle reorders the keys of every mapping.
func shuffle(n *yaml.Node, r *rand.Rand) {
	for _, c := range n.Content {
		shuffle(c, r)
	}
	if n.Kind != yaml.MappingNode {
		return
	}
	pairs := slices.Collect(slices.Chunk(n.Content, 2))
	r.Shuffle(len(pairs), func(i, j int) { pairs[i], pairs[j] = pairs[j], pairs[i] })
	n.Content = slices.Concat(pairs...)
}

// seeds are the documents that fuzzing starts from.
func seeds(f *testing.F) {
	f.Helper()
	for _, pattern := range []string{"testdata/ok/*.yaml", "testdata/ok/*.json", "testdata/err/*.yaml"} {
		for _, file := range globFiles(f, pattern) {
			src, err := os.ReadFile(file)
			require.NoError(f, err)
			f.Add(src)
		}
	}
}

// hang fails the test when f takes far longer than any text of that size needs.
func hang(t *testing.T, src []byte, f func()) {
	t.Helper()
	start := time.Now()
	f()
	assert.Less(t, time.Since(start), tooLong, "%q", src)
}

func FuzzCompile(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, src []byte) {
		hang(t, src, func() { checkCompile(t, src) })
	})
}

func checkCompile(t *testing.T, src []byte) {
	t.Helper()
	res, err := sdl.Compile(src, sdl.Options{File: "f"})
	again, errAgain := sdl.Compile(src, sdl.Options{File: "f"})
	require.Equal(t, err, errAgain, "compiling is deterministic")
	ds := sdl.AsDiagnostics(err)
	if res != nil {
		ds = res.Diagnostics
		require.Equal(t, res.Hash, again.Hash)
		require.NoError(t, manifest.Check(res.Manifest, res.Groups), "what is compiled fits its groups")
		checkStored(t, res)
	} else {
		require.True(t, ds.HasErrors())
	}
	checkPositions(t, src, ds)
	_ = ds.Render(src)
	_, errStrict := sdl.Compile(src, sdl.Options{Mode: sdl.ModeStrict})
	require.Equal(t, len(ds) > 0, errStrict != nil, "strict refuses what compatible warns about, and nothing else")
}

// checkStored writes the document and the manifest and reads them back.
func checkStored(t *testing.T, res *sdl.Result) {
	t.Helper()
	text, err := res.Document.Marshal()
	require.NoError(t, err)
	back, err := sdl.Compile(text, sdl.Options{})
	require.NoError(t, err, "%s", text)
	require.Equal(t, res.Hash, back.Hash, "%s", text)
	require.Equal(t, res.Groups, back.Groups)
	b, err := res.Manifest.MarshalJSON()
	require.NoError(t, err)
	var m manifest.Manifest
	require.NoError(t, m.UnmarshalJSON(b))
	hash, err := m.Version()
	require.NoError(t, err)
	require.Equal(t, res.Hash, hash)
}

// checkPositions wants every problem inside the text and with a known rule.
func checkPositions(t *testing.T, src []byte, ds sdl.Diagnostics) {
	t.Helper()
	lines := strings.Split(string(src), "\n")
	for _, d := range ds {
		require.Positive(t, d.Line)
		require.Positive(t, d.Column)
		_, ok := sdl.Explain(d.Rule)
		require.True(t, ok, "rule %q", d.Rule)
		if bytes.ContainsAny(src, "\r\u0085\u2028\u2029\ufeff\x00") || !bytes.HasSuffix(src, []byte("\n")) {
			continue // other ends of lines, other counting
		}
		require.LessOrEqual(t, d.Line, len(lines), "%v", d)
		require.LessOrEqual(t, d.Column, len([]rune(lines[d.Line-1]))+1, "%v", d)
	}
}

func FuzzFormat(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, src []byte) {
		hang(t, src, func() {
			out, err := sdl.Format(src)
			if err != nil {
				return
			}
			twice, err := sdl.Format(out)
			require.NoError(t, err)
			require.Equal(t, string(out), string(twice), "formatting is idempotent")
			before, err := sdl.Compile(src, sdl.Options{})
			after, errAfter := sdl.Compile(out, sdl.Options{})
			require.Equal(t, err == nil, errAfter == nil)
			if err == nil {
				require.Equal(t, before.Hash, after.Hash)
				require.Equal(t, before.Groups, after.Groups)
			}
		})
	})
}
