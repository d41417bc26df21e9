package sdl_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl"
)

func TestLinksAlmostNothing(t *testing.T) {
	for pkg, allowed := range map[string][]string{
		"github.com/moorage-dev/moorage/sdl": {
			"github.com/moorage-dev/moorage/market", "github.com/moorage-dev/moorage/sdl/manifest", "github.com/moorage-dev/moorage/sdl",
			"go.yaml.in/yaml/v3", "github.com/hashicorp/go-multierror", "github.com/hashicorp/errwrap",
		},
		"github.com/moorage-dev/moorage/sdl/manifest": {
			"github.com/moorage-dev/moorage/market", "github.com/moorage-dev/moorage/sdl/manifest",
		},
	} {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", pkg).Output()
		require.NoError(t, err)
		for _, dep := range strings.Fields(string(out)) {
			assert.Contains(t, allowed, dep, "%s must not link %s", pkg, dep)
		}
	}
}

func TestErrorsAreValues(t *testing.T) {
	_, err := sdl.Compile([]byte(strings.Replace(document, "512Mi", "4GB", 1)), sdl.Options{File: "a.yaml"})
	var ds sdl.Diagnostics
	require.ErrorAs(t, err, &ds)
	require.Len(t, ds, 1)
	var e *sdl.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, &sdl.Error{
		File: "a.yaml", Line: 16, Column: 17, Path: "profiles.compute.web.resources.memory.size", Rule: "size-syntax",
		Message: `not a size: "4GB"`, Allowed: []string{"a number of bytes", "a number and one of k, Ki, M, Mi, G, Gi, T, Ti, P, Pi, E, Ei"},
		Suggestion: "4G or 4Gi", Severity: sdl.SeverityError,
	}, e)
	require.ErrorIs(t, err, sdl.ErrInvalid)
	require.ErrorIs(t, err, market.ErrInvalid)
	wrapped := fmt.Errorf("deploying: %w", err)
	assert.Equal(t, ds, sdl.AsDiagnostics(wrapped))
	assert.Equal(t, sdl.Diagnostics{e}, sdl.AsDiagnostics(e))
	assert.Nil(t, sdl.AsDiagnostics(errors.New("other")))
	assert.True(t, ds.HasErrors())
	assert.Equal(t, sdl.Pos{Line: 16, Column: 17}, e.Pos())
	assert.Empty(t, ds.Warnings())
	assert.Equal(t, ds, ds.Errors())
}

func TestDiagnosticsAreJSON(t *testing.T) {
	_, err := sdl.Compile([]byte("version: \"1.5\"\n"), sdl.Options{File: "a.yaml"})
	b, err := json.Marshal(sdl.AsDiagnostics(err))
	require.NoError(t, err)
	assert.JSONEq(t, `[{"file":"a.yaml","line":1,"column":10,"path":"version","rule":"unsupported-version","message":"unsupported version \"1.5\"","allowed":["2.0","2.1"],"severity":"error"}]`, string(b))
	var back sdl.Diagnostics
	require.NoError(t, json.Unmarshal(b, &back))
	assert.Equal(t, sdl.SeverityError, back[0].Severity)
	b, err = json.Marshal(sdl.Diagnostics(nil))
	require.NoError(t, err)
	assert.Equal(t, "[]", string(b))
}

func TestSecretsNeverShow(t *testing.T) {
	const secret = "hunter2"
	place := func(text string) string { return strings.Replace(document, "    expose:\n", text+"    expose:\n", 1) }
	for name, src := range map[string]string{
		"bad variable":         place("    env:\n      - =" + secret + "\n"),
		"mapping for env":      place("    env:\n      PASSWORD: " + secret + "\n"),
		"wrong kind of item":   place("    args:\n      - [" + secret + "]\n"),
		"text for a list":      place("    command: " + secret + "\n"),
		"text for credentials": place("    credentials: " + secret + "\n"),
		"list for a password":  place("    credentials:\n      host: h\n      username: u\n      password: [" + secret + "]\n"),
		"incomplete":           place("    credentials:\n      host: h\n      password: " + secret + "\n"),
		"alias":                place("    credentials:\n      host: h\n      username: u\n      password: *" + secret + "\n"),
		"tag":                  place("    credentials:\n      host: h\n      username: u\n      password: !!int " + secret + "\n"),
		"open quote":           place("    env:\n      - \"PASSWORD=" + secret + "\n"),
		"colon":                place("    env:\n      - PASSWORD=a: " + secret + "\n      b\n"),
		"bad escape":           place("    env:\n      - \"" + secret + "\\q\"\n"),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sdl.Compile([]byte(src), sdl.Options{Mode: sdl.ModeStrict})
			require.Error(t, err)
			assert.NotContains(t, err.Error(), secret)
			assert.NotContains(t, sdl.AsDiagnostics(err).Render([]byte(src)), secret)
		})
	}
	doc, err := sdl.Parse([]byte(place("    env:\n      - A="+secret+"\n    credentials:\n      host: h\n      username: u\n      password: "+secret+"\n")), sdl.Options{})
	require.NoError(t, err)
	res, err := doc.Compile(sdl.Options{})
	require.NoError(t, err)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, v := range []any{doc.Services[0], doc.Services[0].Credentials, *doc.Services[0].Credentials, *doc, doc, *res, res} {
			assert.NotContains(t, fmt.Sprintf(verb, v), secret, "%s of %T", verb, v)
		}
	}
}

func TestDocumentsBuiltInGoAreChecked(t *testing.T) {
	base := func() *sdl.Document {
		doc, err := sdl.Parse([]byte(document), sdl.Options{})
		require.NoError(t, err)
		return doc
	}
	for name, c := range map[string]struct {
		change func(d *sdl.Document)
		rule   sdl.Rule
	}{
		"version":          {func(d *sdl.Document) { d.Version = "1" }, "unsupported-version"},
		"nothing deployed": {func(d *sdl.Document) { d.Deployment = nil }, "no-deployment"},
		"service twice":    {func(d *sdl.Document) { d.Services = append(d.Services, d.Services[0]) }, "duplicate-key"},
		"price twice":      {func(d *sdl.Document) { p := &d.Placement[0]; p.Pricing = append(p.Pricing, p.Pricing[0]) }, "duplicate-key"},
		"attribute twice":  {func(d *sdl.Document) { d.Placement[0].Attributes = market.Attributes{{Key: "ab"}, {Key: "ab"}} }, "duplicate-key"},
		"volume twice":     {func(d *sdl.Document) { p := &d.Compute[0]; p.Storage = append(p.Storage, sdl.Volume{Bytes: 1 << 30}) }, "volume-duplicate"},
		"class": {func(d *sdl.Document) {
			d.Compute[0].Storage[0].Attributes = &sdl.VolumeAttributes{Persistent: true, Class: "beta9"}
		}, "storage-class"},
		"persistent ram": {func(d *sdl.Document) {
			d.Compute[0].Storage[0].Attributes = &sdl.VolumeAttributes{Persistent: true, Class: "ram"}
		}, "storage-ram"},
		"attribute of a CPU": {func(d *sdl.Document) { d.Compute[0].CPU.Attributes = market.Attributes{{Key: "model"}} }, "cpu-attribute"},
		"reclamation":        {func(d *sdl.Document) { d.Reclamation = &sdl.Reclamation{} }, "reclamation-window"},
		"denomination":       {func(d *sdl.Document) { d.Placement[0].Pricing[0].Price.Denom = "" }, "denom"},
		"price":              {func(d *sdl.Document) { d.Placement[0].Pricing[0].Price.AmountPerBlock = market.Decimal{} }, "price-range"},
		"image":              {func(d *sdl.Document) { d.Services[0].Image = "" }, "missing-image"},
	} {
		t.Run(name, func(t *testing.T) {
			doc := base()
			c.change(doc)
			_, err := doc.Compile(sdl.Options{})
			require.Error(t, err)
			assert.Contains(t, rulesIn(sdl.AsDiagnostics(err).Errors()), c.rule)
		})
	}
}

func rulesIn(ds sdl.Diagnostics) []sdl.Rule {
	out := make([]sdl.Rule, len(ds))
	for i, d := range ds {
		out[i] = d.Rule
	}
	return out
}

func TestCompilingDoesNotChangeTheDocument(t *testing.T) {
	doc, err := sdl.Parse([]byte(document), sdl.Options{})
	require.NoError(t, err)
	doc.Compute[0].Storage[0].Name = ""
	doc.Placement[0].Attributes = market.Attributes{{Key: "zz", Value: "1"}, {Key: "aa", Value: "2"}}
	res, err := doc.Compile(sdl.Options{})
	require.NoError(t, err)
	assert.Equal(t, "default", res.Groups[0].Units[0].Storage[0].Name)
	assert.Equal(t, "aa", res.Groups[0].Requirements.Attributes[0].Key)
	assert.Empty(t, doc.Compute[0].Storage[0].Name)
	assert.Equal(t, "zz", doc.Placement[0].Attributes[0].Key)
}

func TestVersions(t *testing.T) {
	for version, want := range map[string]string{
		"2.0": "2.0", "2": "2.0", "v2.0": "2.0", "02.00": "2.0", "2.0.0": "2.0", "2.0.0+x": "2.0", "2.1": "2.1", "2.1.0": "2.1",
		"2.2": "2.1", "3.0": "2.1", "9.9": "2.1", "v2.1": "2.1", "2.1.5": "2.1", "2.2.0-rc.1": "2.1",
		"2.0.1": "", "1.5": "", "2.0-beta": "", "2.1.0-rc.1": "", "two": "", "": "", "2.": "", "2.0.0+": "", "-2": "", "2.0.0-01": "",
	} {
		res, err := sdl.Compile([]byte(strings.Replace(document, `"2.0"`, fmt.Sprintf("%q", version), 1)), sdl.Options{})
		if want == "" {
			assert.Error(t, err, version)
			continue
		}
		require.NoError(t, err, version)
		assert.Equal(t, want, res.Document.Dialect().String(), version)
	}
}

func TestReclamationIsReturned(t *testing.T) {
	res, err := sdl.Compile([]byte(document+"reclamation:\n  min_window: 90m\n"), sdl.Options{})
	require.NoError(t, err)
	assert.Equal(t, "1h30m0s", res.Reclamation.String())
	text, err := res.Document.Marshal()
	require.NoError(t, err)
	again, err := sdl.Compile(text, sdl.Options{})
	require.NoError(t, err)
	assert.Equal(t, res.Reclamation, again.Reclamation)
}

func TestSeverityReadsItsText(t *testing.T) {
	var s sdl.Severity
	require.NoError(t, s.UnmarshalText([]byte("warning")))
	assert.Equal(t, sdl.SeverityWarning, s)
	assert.ErrorIs(t, s.UnmarshalText([]byte("bad")), sdl.ErrInvalid)
	assert.Equal(t, "severity-9", sdl.Severity(9).String())
}

func TestPositionFollowsPaths(t *testing.T) {
	src := strings.Replace(document, "    image: nginx:1.27\n", "    <<: &base\n      env: [A=b, C=d]\n    image: nginx:1.27\n", 1)
	src = strings.Replace(src, "    west:\n      pricing", "    west:\n      attributes:\n        \"a b\": c\n      pricing", 1)
	doc, err := sdl.Parse([]byte(src), sdl.Options{})
	require.NoError(t, err)
	lines := strings.Split(src, "\n")
	for path, text := range map[string]string{
		"version": `"2.0"`, "services.web.image": "nginx:1.27", "services.web.env[1]": "C=d", "services.web.expose[0].port": "80",
		`profiles.placement.west.attributes["a b"]`: "c", "deployment.web.west.count": "2",
	} {
		pos, ok := doc.Position(path)
		require.True(t, ok, path)
		assert.True(t, strings.HasPrefix(lines[pos.Line-1][pos.Column-1:], text), "%s at %v", path, pos)
	}
	for _, path := range []string{"nothing", "services.web.env[2]", "services.web.env[-1]", "services.web.env[x]", `services["web`, "services[0]", "services..web"} {
		_, ok := doc.Position(path)
		assert.False(t, ok, path)
	}
	_, ok := (&sdl.Document{}).Position("version")
	assert.False(t, ok)
	assert.Equal(t, sdl.Pos{Line: 3, Column: 3}, doc.Services[0].Pos)
}
