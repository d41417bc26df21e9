package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestItBidsItsOwnPrice(t *testing.T) {
	if os.Getenv("OWNPRICE_RUN") != "" {
		main()
		return
	}
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), self, "-test.run", "^TestItBidsItsOwnPrice$")
	cmd.Env = append(os.Environ(), "OWNPRICE_RUN=1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	assert.Contains(t, string(out), "registered 0\n")
	assert.Contains(t, string(out), "bid 10\n")
}

// The README shows this program: what people copy must be what is tested.
func TestTheReadmeShowsThisProgram(t *testing.T) {
	program, err := os.ReadFile("main.go")
	require.NoError(t, err)
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, body, ok := strings.Cut(string(program), "func main() {")
	require.True(t, ok)
	body, _, ok = strings.Cut(body, "\n}\n")
	require.True(t, ok)
	assert.Contains(t, string(readme), "func main() {"+body+"\n}\n")
}
