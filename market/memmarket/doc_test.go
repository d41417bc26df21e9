package memmarket_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// The document shows the example whole, as it runs here.
func TestTheDocumentShowsTheExample(t *testing.T) {
	doc, err := os.ReadFile("../../docs/market.md")
	require.NoError(t, err)
	source, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	require.Contains(t, string(doc), "```go\n"+string(source)+"```")
}
