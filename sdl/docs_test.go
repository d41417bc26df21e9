package sdl_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/sdl"
)

func TestDocumentationNamesEveryRuleAndKey(t *testing.T) {
	page, err := os.ReadFile("../docs/sdl.md")
	require.NoError(t, err)
	for _, r := range sdl.Rules() {
		assert.Contains(t, string(page), "| `"+string(r.Name)+"` |", "rule %s", r.Name)
		assert.Contains(t, string(page), r.Summary)
		assert.Contains(t, string(page), r.Fix)
	}
	var schema any
	require.NoError(t, json.Unmarshal(sdl.Schema(), &schema))
	for key := range schemaKeys(schema, nil) {
		assert.Regexp(t, "[`.{ ,]"+key+"[`.\\[:,} ]", string(page), "key %s", key)
	}
}

// schemaKeys collects the keys that a schema describes.
func schemaKeys(v any, into map[string]bool) map[string]bool {
	if into == nil {
		into = make(map[string]bool)
	}
	switch v := v.(type) {
	case map[string]any:
		if properties, ok := v["properties"].(map[string]any); ok {
			for key := range properties {
				into[key] = true
			}
		}
		for _, e := range v {
			schemaKeys(e, into)
		}
	case []any:
		for _, e := range v {
			schemaKeys(e, into)
		}
	}
	return into
}

func TestTheExampleOfTheDocumentationIsStrictlyRight(t *testing.T) {
	page, err := os.ReadFile("../docs/sdl.md")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(page), "```yaml\n")
	require.True(t, ok)
	src, _, ok := strings.Cut(rest, "```")
	require.True(t, ok)
	_, err = sdl.Compile([]byte(src), sdl.Options{Mode: sdl.ModeStrict})
	require.NoError(t, err)
}
