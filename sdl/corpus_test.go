package sdl_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/sdl"
)

// corpusDir holds documents of other people with what the reference compiler
// made of them. It is no part of the project; tests that need it are skipped
// where it is not there.
const corpusDir = "../../shared/corpus"

// reference is what the reference compiler made of a document.
type reference struct {
	OK       bool            `json:"ok"`
	Version  string          `json:"version"`
	Manifest json.RawMessage `json:"manifest"`
	Groups   json.RawMessage `json:"groups"`
	Error    string          `json:"error"`
	Panic    string          `json:"panic"`
}

// eachDocument runs f as a subtest on every document of the corpus.
func eachDocument(t *testing.T, f func(t *testing.T, file string, src []byte, ref reference)) {
	t.Helper()
	var files []string
	for _, dir := range []string{"sdl", "edge"} {
		found, err := filepath.Glob(filepath.Join(corpusDir, dir, "*.yaml"))
		require.NoError(t, err)
		files = append(files, found...)
	}
	if len(files) == 0 {
		t.Skip("no corpus beside the project")
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		require.NoError(t, err)
		text, err := os.ReadFile(strings.TrimSuffix(file, ".yaml") + ".json")
		require.NoError(t, err)
		var ref reference
		require.NoError(t, json.Unmarshal(text, &ref))
		t.Run(filepath.Base(filepath.Dir(file))+"/"+strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			f(t, filepath.Base(file), src, ref)
		})
	}
}

func TestCompileAgreesWithTheReference(t *testing.T) {
	eachDocument(t, func(t *testing.T, file string, src []byte, ref reference) {
		t.Helper()
		res, err := sdl.Compile(src, sdl.Options{File: file})
		if !ref.OK {
			require.Error(t, err, "the reference says %s%s", ref.Error, ref.Panic)
			for _, d := range sdl.AsDiagnostics(err) {
				assert.NotEmpty(t, d.Rule)
				assert.Positive(t, d.Line)
				assert.Positive(t, d.Column)
			}
			return
		}
		require.NoError(t, err)
		assert.Equal(t, ref.Version, res.Hash.String())
		groups, err := sdl.GroupsJSON(res.Groups)
		require.NoError(t, err)
		assert.JSONEq(t, string(ref.Groups), string(groups))
		manifest, err := res.Manifest.MarshalJSON()
		require.NoError(t, err)
		assert.JSONEq(t, string(ref.Manifest), string(manifest))
	})
}
