package gateway

import (
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
)

// refs calls f with every reference in a document.
func refs(v any, f func(string)) {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			if text, ok := inner.(string); ok && k == "$ref" {
				f(text)
			}
			refs(inner, f)
		}
	case []any:
		for _, inner := range v {
			refs(inner, f)
		}
	}
}

func TestOpenAPIHasLegalKeysAndNoReferenceLeadsNowhere(t *testing.T) {
	text, err := json.Marshal(openAPIDocument())
	require.NoError(t, err)
	var doc map[string]any
	require.NoError(t, json.Unmarshal(text, &doc))
	components, _ := doc["components"].(map[string]any)
	known, _ := components["schemas"].(map[string]any)
	require.NotEmpty(t, known)
	legal := regexp.MustCompile(`^[a-zA-Z0-9._-]+$`)
	for key, schema := range known {
		assert.Regexp(t, legal, key)
		assert.NotEmpty(t, schema, key)
	}
	seen := 0
	refs(doc, func(ref string) {
		seen++
		key, ok := strings.CutPrefix(ref, "#/components/schemas/")
		assert.True(t, ok, ref)
		assert.Contains(t, known, key)
	})
	assert.NotZero(t, seen)
}

func TestTypesOfOneNameHaveSchemasOfTheirOwn(t *testing.T) {
	type one = struct {
		A market.Selection[market.Address]
	}
	type Selection struct{ B int }
	s := schemas{docs: object{}, keys: map[reflect.Type]string{}}
	first := s.ref(reflect.TypeFor[market.Selection[string]]())
	assert.Equal(t, first, s.ref(reflect.TypeFor[market.Selection[string]]()))
	assert.NotEqual(t, first, s.ref(reflect.TypeFor[market.Selection[market.Address]]()))
	local := s.ref(reflect.TypeFor[Selection]())
	func() {
		type Selection struct{ C int }
		assert.NotEqual(t, local, s.ref(reflect.TypeFor[Selection]()))
	}()
	s.ref(reflect.TypeFor[one]())
	assert.Equal(t, "Selection_market.Address", s.keys[reflect.TypeFor[market.Selection[market.Address]]()])
}
