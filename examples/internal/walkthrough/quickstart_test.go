package walkthrough_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// follow runs the commands of a page of docs in one shell, as somebody who copies
// them would, and returns what they print.
func follow(t *testing.T, page string) string {
	t.Helper()
	needContainers(t)
	text, err := os.ReadFile(filepath.Join(root(), "docs", page))
	require.NoError(t, err)
	var script strings.Builder
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllSubmatch(text, -1) {
		script.Write(block[1])
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script.String())
	cmd.Dir = root()
	// Ending the shell with SIGTERM lets its trap end what it has started.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}

func TestTheQuickstartWorksAsWritten(t *testing.T) {
	out := follow(t, "quickstart.md")
	for _, want := range []string{
		"chain moorage-1", "state ready", "2.59152uact/block", "Hello from a leased container",
		"Hello again from a leased container", "Seccomp:\t2", "closed at height",
	} {
		assert.Contains(t, out, want)
	}
}

func TestTheWalkOfALeasedAddressWorksAsWritten(t *testing.T) {
	out := follow(t, "iplease.md")
	t.Log(out)
	for _, want := range []string{
		"Blue from a leased container", "Blue, ", "withheld: held by deployment 1", "Green from a leased container", "Green, ",
		"moved to deployment 2", "parked", "closed at height",
	} {
		assert.Contains(t, out, want)
	}
}
