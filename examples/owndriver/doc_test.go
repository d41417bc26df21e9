package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What docs/embedding.md says that this program prints must be what it prints.
func TestTheGuideShowsWhatItPrints(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out))
	guide, err := os.ReadFile("../../docs/embedding.md")
	require.NoError(t, err)
	_, shown, ok := strings.Cut(string(guide), "$ go run ./examples/owndriver\n")
	require.True(t, ok)
	assert.True(t, strings.HasPrefix(shown, "    "+strings.ReplaceAll(strings.TrimSpace(out.String()), "\n", "\n    ")+"\n"), out.String())
}
