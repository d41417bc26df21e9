package layer2_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/iplease/driver"
	"github.com/moorage-dev/moorage/iplease/layer2"
)

func peers() []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort("192.0.2.2:7947")} }

func TestFaultsOfAConfigurationAreToldTogether(t *testing.T) {
	_, err := layer2.New(layer2.Config{
		Node: strings.Repeat("n", 300), Instance: "No", Timeout: time.Hour, MinHosts: 9, ProbePause: -1, Peers: peers(),
	})
	require.Error(t, err)
	for _, field := range []string{"Node", "Instance", "Timeout", "MinHosts", "ProbePause", "Interface", "Listen", "Key"} {
		assert.ErrorContains(t, err, field)
	}
}

func TestAKeyIsNeverInAnError(t *testing.T) {
	_, err := layer2.New(layer2.Config{Key: []byte("hunter2"), Peers: peers()})
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "hunter2")
}

func bare(revision uint64) driver.Announcement {
	return driver.Announcement{
		Claim: iplease.ClaimID{Owner: "tenant", Name: "web"}, Revision: revision, Addresses: []netip.Addr{netip.MustParseAddr("203.0.113.7")},
	}
}

// Everything but answering works without Run, root or a network.
func TestWhatIsAppliedIsKept(t *testing.T) {
	c := layer2.Config{StateDir: t.TempDir()}
	a, err := layer2.New(c)
	require.NoError(t, err)
	_, err = layer2.New(c)
	require.ErrorIs(t, err, layer2.ErrInUse)
	require.NoError(t, a.Apply(t.Context(), bare(3)))
	s, err := a.Status(t.Context(), bare(1).Claim)
	require.NoError(t, err)
	assert.Equal(t, driver.Pending, s.State)
	assert.Equal(t, "the announcer does not run", s.Addresses[0].Reason)
	require.NoError(t, a.Close())

	require.NoError(t, os.WriteFile(filepath.Join(c.StateDir, "broken.json"), []byte("{"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(c.StateDir, "half.json.tmp"), []byte("{"), 0o600))
	a, err = layer2.New(c)
	require.NoError(t, err, "a file that is broken stops nothing")
	s, err = a.Status(t.Context(), bare(1).Claim)
	require.NoError(t, err)
	assert.EqualValues(t, 3, s.Revision)
	assert.FileExists(t, filepath.Join(c.StateDir, "broken.json.damaged"))
	assert.NoFileExists(t, filepath.Join(c.StateDir, "half.json.tmp"))
	require.NoError(t, a.Withdraw(t.Context(), bare(1).Claim))
	require.NoError(t, a.Close())

	a, err = layer2.New(c)
	require.NoError(t, err)
	ids, err := a.List(t.Context())
	require.NoError(t, err)
	assert.Empty(t, ids)
	require.NoError(t, a.Close())
	require.ErrorIs(t, a.Run(t.Context()), driver.ErrClosed)
}
