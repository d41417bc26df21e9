package sdl_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/moorage-dev/moorage/sdl"
)

func compileSchema(tb testing.TB) *jsonschema.Schema {
	tb.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(sdl.Schema()))
	require.NoError(tb, err)
	c := jsonschema.NewCompiler()
	require.NoError(tb, c.AddResource("sdl.json", doc))
	s, err := c.Compile("sdl.json")
	require.NoError(tb, err)
	return s
}

// asJSON turns what the YAML library decodes into what JSON would hold.
func asJSON(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = asJSON(v[k])
		}
	case map[any]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			if s, ok := k.(string); ok {
				m[s] = asJSON(e)
			}
		}
		return m
	case []any:
		for i := range v {
			v[i] = asJSON(v[i])
		}
	case time.Time:
		return v.String()
	}
	return v
}

// shapeRules are the rules that a schema can hold without fail.
func shapeRules() []sdl.Rule {
	return []sdl.Rule{
		"unknown-key", "unknown-top-level-key", "missing-version", "size-syntax", "cpu-syntax", "port-range", "port-outside",
		"protocol-unknown", "http-option-range", "http-next-case", "tee-unknown", "permission-unknown", "mount-path", "storage-class",
		"endpoint-kind", "endpoint-name", "service-name", "env-name", "hostname", "denom", "gpu-vendor-missing", "gpu-vendor-unknown",
		"replicas-limit", "count-zero", "missing-image", "missing-resources", "reclamation-window", "http-options-ignored", "cpu-attribute",
		"storage-attribute", "storage-ram", "gpu-interface", "credentials-missing", "number-truncated",
	}
}

func TestSchemaAgreesWithTheCompiler(t *testing.T) {
	schema := compileSchema(t)
	check := func(t *testing.T, src []byte) {
		t.Helper()
		var v any
		if yaml.Unmarshal(src, &v) != nil {
			return
		}
		_, err := sdl.Compile(src, sdl.Options{Mode: sdl.ModeStrict})
		refused := schema.Validate(asJSON(v))
		if refused != nil {
			assert.Error(t, err, "the schema refuses what compiles: %v", refused)
			return
		}
		for _, d := range sdl.AsDiagnostics(err) {
			assert.False(t, slices.Contains(shapeRules(), d.Rule), "the schema lets pass: %v", d)
		}
	}
	eachDocument(t, func(t *testing.T, _ string, src []byte, _ reference) { t.Helper(); check(t, src) })
	eachGolden(t, func(t *testing.T, _ string, src []byte) { t.Helper(); check(t, src) })
}

func FuzzSchemaAcceptsWhatIsStrictlyRight(f *testing.F) {
	seeds(f)
	schema := compileSchema(f)
	f.Fuzz(func(t *testing.T, src []byte) {
		if _, err := sdl.Compile(src, sdl.Options{Mode: sdl.ModeStrict}); err != nil {
			return
		}
		var v any
		if yaml.Unmarshal(src, &v) != nil {
			return // JSON that the library does not read
		}
		require.NoError(t, schema.Validate(asJSON(v)))
	})
}
