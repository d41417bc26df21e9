//go:build linux

package nft_test

import (
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netns"

	"github.com/moorage-dev/moorage/internal/nft"
)

// alone moves the test into a network namespace of its own for good: the thread
// ends with the test.
func alone(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("rules need root")
	}
	if _, err := exec.LookPath(nft.Program); err != nil {
		t.Skip("rules need the program nft (package nftables)")
	}
	runtime.LockOSThread() // never unlocked, so the thread is not used again
	ns, err := netns.New()
	require.NoError(t, err)
	t.Cleanup(func() { _ = ns.Close() })
}

func TestAScriptIsDoneWholeOrNotAtAll(t *testing.T) {
	alone(t)
	require.NoError(t, nft.Run(t.Context(), "add table inet moorage_test\nadd chain inet moorage_test one\n"))
	err := nft.Run(t.Context(), "add chain inet moorage_test two\nadd rule inet moorage_test nowhere drop\n")
	require.ErrorContains(t, err, "nowhere", "the complaint is in the error")
	out, err := exec.CommandContext(t.Context(), nft.Program, "list", "ruleset").Output()
	require.NoError(t, err)
	require.Contains(t, string(out), "chain one")
	require.NotContains(t, string(out), "chain two")
}

func TestATableIsDeletedAlsoTwice(t *testing.T) {
	alone(t)
	require.NoError(t, nft.Run(t.Context(), "add table inet moorage_test\nadd table inet others\n"))
	for range 2 {
		require.NoError(t, nft.DeleteTable(t.Context(), "moorage_test"))
	}
	out, err := exec.CommandContext(t.Context(), nft.Program, "list", "tables").Output()
	require.NoError(t, err)
	require.Equal(t, "table inet others\n", string(out))
}
