package memmarket_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The document shows the example as it is, with what it prints.
func TestTheDocumentShowsTheExample(t *testing.T) {
	doc, err := os.ReadFile("../../docs/market.md")
	require.NoError(t, err)
	source, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	_, body, ok := strings.Cut(string(source), "func Example() {\n")
	require.True(t, ok)
	code, output, ok := strings.Cut(body, "\t// Output:\n")
	require.True(t, ok)
	var lines strings.Builder
	for line := range strings.Lines(code) {
		lines.WriteString(strings.TrimPrefix(line, "\t"))
	}
	require.Contains(t, string(doc), "```go\n"+lines.String()+"```")
	output = strings.ReplaceAll(strings.TrimSuffix(output, "}\n"), "\t// ", "")
	require.Contains(t, string(doc), "```\n"+output+"```")
}
