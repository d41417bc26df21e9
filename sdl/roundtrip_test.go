package sdl_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/moorage-dev/moorage/sdl"
)

func TestMarshalledDocumentCompilesToTheSame(t *testing.T) {
	eachDocument(t, func(t *testing.T, _ string, src []byte, ref reference) {
		t.Helper()
		doc, err := sdl.Parse(src, sdl.Options{})
		if err != nil {
			return
		}
		out, err := doc.Marshal()
		require.NoError(t, err)
		res, err := sdl.Compile(out, sdl.Options{})
		if !ref.OK {
			assert.Error(t, err)
			return
		}
		require.NoError(t, err, "%s", out)
		assert.Equal(t, ref.Version, res.Hash.String())
		groups, err := sdl.GroupsJSON(res.Groups)
		require.NoError(t, err)
		assert.JSONEq(t, string(ref.Groups), string(groups))
		direct, err := doc.Compile(sdl.Options{})
		require.NoError(t, err)
		assert.Equal(t, res.Groups, direct.Groups)
		assert.Equal(t, res.Hash, direct.Hash)
	})
}

func TestJSONCompilesLikeYAML(t *testing.T) {
	eachDocument(t, func(t *testing.T, _ string, src []byte, ref reference) {
		t.Helper()
		if !ref.OK {
			return
		}
		doc, err := sdl.Parse(src, sdl.Options{})
		require.NoError(t, err)
		plain, err := doc.Marshal()
		require.NoError(t, err)
		var v any
		require.NoError(t, yaml.Unmarshal(plain, &v))
		text, err := json.MarshalIndent(v, "", "\t")
		require.NoError(t, err)
		res, err := sdl.Compile(text, sdl.Options{})
		require.NoError(t, err)
		assert.Equal(t, ref.Version, res.Hash.String())
	})
}
