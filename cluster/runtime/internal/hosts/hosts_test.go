package hosts_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/internal/hosts"
)

func TestTheFileIsSortedAndNamesTheContainer(t *testing.T) {
	a := netip.MustParseAddr
	got := hosts.Render("me", a("10.0.0.2"), map[string][]netip.Addr{"z": {a("10.0.0.4")}, "b": {a("10.0.0.3"), a("10.0.0.5")}})
	require.Equal(t, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n10.0.0.2\tme\n"+
		"10.0.0.3\tb\n10.0.0.5\tb\n10.0.0.4\tz\n", got)
	require.Contains(t, hosts.Render("me", netip.Addr{}, nil), "127.0.1.1\tme\n")
}

func TestNamesThatWouldBreakTheFileAreInvalid(t *testing.T) {
	for _, name := range []string{"", "a b", "a\n1.2.3.4 b", "a\tb", "#a", "a\x00"} {
		require.ErrorIs(t, hosts.Check(map[string][]netip.Addr{name: nil}), runtime.ErrInvalid, "%q", name)
	}
	require.NoError(t, hosts.Check(map[string][]netip.Addr{"a.b-c_d": nil}))
}

func TestRewritingKeepsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	require.NoError(t, hosts.Write(path, "a long first content\n"))
	f, err := os.Open(path)
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	require.NoError(t, hosts.Rewrite(path, "short\n"))
	buf := make([]byte, 64)
	n, _ := f.Read(buf)
	require.Equal(t, "short\n", string(buf[:n]), "seen through the file opened before")
}
