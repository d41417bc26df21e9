package sdl

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// dumpTree renders everything about a tree that the compiler looks at.
func dumpTree(t *tree) string {
	var b strings.Builder
	var walk func(n int32, depth int)
	walk = func(n int32, depth int) {
		nd := t.at(n)
		fmt.Fprintf(&b, "%*s%d %d:%d %q tag=%q quoted=%t count=%d\n", depth, "", nd.kind, nd.line, nd.col, nd.value, nd.tag, nd.quoted, nd.count)
		if nd.kind == aliasNode {
			return
		}
		for c := nd.first; c != 0; c = t.at(c).next {
			if k := t.at(c).key; k != 0 {
				walk(k, depth+1)
			}
			walk(c, depth+2)
		}
	}
	if t.root != 0 {
		walk(t.root, 0)
	}
	return b.String()
}

// agree fails when the scanner reads a text otherwise than the YAML library.
func agree(t *testing.T, src []byte) (scanned bool) {
	t.Helper()
	fast, ok := scanPlain(src, MaxNodes)
	if !ok {
		return false
	}
	r := &reporter{}
	general := parseGeneral(src, r, MaxNodes)
	require.Empty(t, r.list, "the library refuses what the scanner reads")
	require.Equal(t, dumpTree(general), dumpTree(fast))
	assert.False(t, general.more)
	return true
}

func FuzzScannerAgrees(f *testing.F) {
	for _, s := range scannerSeeds() {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		if len(src) < 1<<14 {
			agree(t, src)
		}
	})
}

func scannerSeeds() []string {
	return []string{
		"a: b\n", "a:\n- b\n- c: d\n  e: f\n", "a: 'it''s'\n", "a: \"x\\ny\"\n", "- - a\n  - b\n- c\n",
		"a: [b, \"c\", {d: e}]\n", "a: |\n  x\n   y\n\n  z\n\nb: c\n", "a: |-\n  x\n", "a: |+\n  x\n\n\nb: 1\n", "a:\nb:\n  c: # d\n    e\n",
		"---\na: b # c\n", "a: b\n  c\n", "a: b: c\n", "a #b: c\n", "a: -b\n", "é: ü\nb: ö # x\n", "a:\n  - |\n    x\n  - y\n", "a: {b: c, d: [e, f]}\n",
		"a: []\n", "a: {}\n", "a : b\n", "\"a\" : b\n", "'a': 1\n", "-\n- a\n-\n", "a: b\n...\n", "a:\n-\n  b: c\n", "a: >-\n  b\n  c\n\n  d\n   e\n  f\n\n\nb: >+ # x\n  c\n\nd: >\n\n  e\n", "- a: b\n  c:\n  - d\n- e\n", "a: http://b:80/c\n",
	}
}

func TestScannerReadsWhatTheLibraryReads(t *testing.T) {
	for i, s := range scannerSeeds() {
		t.Run(fmt.Sprint(i), func(t *testing.T) { agree(t, []byte(s)) })
	}
}

func TestScannerReadsMostPublishedDocuments(t *testing.T) {
	files, err := filepath.Glob("../../shared/corpus/*/*.yaml")
	require.NoError(t, err)
	if len(files) == 0 {
		t.Skip("no corpus beside the project")
	}
	scanned := 0
	for _, file := range files {
		src, err := os.ReadFile(file)
		require.NoError(t, err)
		if agree(t, src) {
			scanned++
		} else if testing.Verbose() {
			t.Log("left to the library:", file)
		}
	}
	assert.Greater(t, scanned*10, len(files)*9, "scanned %d of %d", scanned, len(files))
	t.Logf("scanned %d of %d", scanned, len(files))
}
