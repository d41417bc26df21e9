package sdl_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/sdl"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// eachGolden runs f on every document under testdata/ok and testdata/err.
func eachGolden(t *testing.T, f func(t *testing.T, file string, src []byte)) {
	t.Helper()
	var files []string
	for _, pattern := range []string{"testdata/ok/*.yaml", "testdata/ok/*.json", "testdata/err/*.yaml"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		files = append(files, found...)
	}
	require.NotEmpty(t, files)
	for _, file := range files {
		src, err := os.ReadFile(file)
		require.NoError(t, err)
		t.Run(strings.TrimPrefix(file, "testdata/"), func(t *testing.T) { f(t, file, src) })
	}
}

// globFiles lists the files of a pattern.
func globFiles(tb testing.TB, pattern string) []string {
	tb.Helper()
	files, err := filepath.Glob(pattern)
	require.NoError(tb, err)
	return files
}

// golden compares got with the file, or writes the file.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
		return
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), got)
}

func TestGoldenDocuments(t *testing.T) {
	eachGolden(t, func(t *testing.T, file string, src []byte) {
		t.Helper()
		name := filepath.Base(file)
		res, err := sdl.Compile(src, sdl.Options{File: name})
		if strings.HasPrefix(file, "testdata/err/") {
			golden(t, strings.TrimSuffix(file, filepath.Ext(file))+".out", renderBoth(t, name, src, res, err))
			return
		}
		require.NoError(t, err)
		assert.Empty(t, res.Diagnostics)
		_, err = sdl.Compile(src, sdl.Options{Mode: sdl.ModeStrict})
		require.NoError(t, err, "a document under ok is strictly right")
		golden(t, strings.TrimSuffix(file, filepath.Ext(file))+".out", renderResult(t, res))
	})
}

// renderBoth shows the problems in compatible mode, or in strict mode when the
// document compiles.
func renderBoth(t *testing.T, name string, src []byte, res *sdl.Result, err error) string {
	t.Helper()
	if err != nil {
		return sdl.AsDiagnostics(err).Render(src)
	}
	strict, err := sdl.Compile(src, sdl.Options{File: name, Mode: sdl.ModeStrict})
	require.Error(t, err, "a document under err is wrong in strict mode at least")
	require.Nil(t, strict)
	return res.Diagnostics.Render(src)
}

func renderResult(t *testing.T, res *sdl.Result) string {
	t.Helper()
	groups, err := sdl.GroupsJSON(res.Groups)
	require.NoError(t, err)
	out, err := json.MarshalIndent(map[string]any{
		"version": res.Hash, "groups": json.RawMessage(groups), "manifest": res.Manifest,
	}, "", " ")
	require.NoError(t, err)
	return string(out) + "\n"
}

func TestEveryRuleHasAGoldenPair(t *testing.T) {
	outs, err := filepath.Glob("testdata/err/*.out")
	require.NoError(t, err)
	var all strings.Builder
	for _, f := range outs {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		all.Write(b)
	}
	// Bounds need documents too large to keep; limits_test.go makes them.
	for _, r := range sdl.Rules() {
		if strings.HasPrefix(string(r.Name), "limit-") || r.Name == "too-many-problems" {
			continue
		}
		assert.Contains(t, all.String(), "["+string(r.Name)+"]", "no golden pair for rule %s", r.Name)
	}
}
