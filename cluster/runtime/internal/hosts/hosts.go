// Package hosts writes the /etc/hosts of containers: a file of the agent that is
// mounted into the container and changed in place.
package hosts

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/moorage-dev/moorage/cluster/runtime"
)

const (
	// MaxNames bounds names set for a network.
	MaxNames = 4096
	// maxLength is the longest name that DNS knows.
	maxLength = 253
)

// Check reports names that cannot stand in the file as runtime.ErrInvalid.
func Check(names map[string][]netip.Addr) error {
	if len(names) > MaxNames {
		return fmt.Errorf("%w: %d host names, at most %d", runtime.ErrInvalid, len(names), MaxNames)
	}
	for name := range names {
		bad := func(c rune) bool { return c <= ' ' || c == '#' || c == 0x7f }
		if name == "" || len(name) > maxLength || strings.ContainsFunc(name, bad) {
			return fmt.Errorf("%w: host name %.80q", runtime.ErrInvalid, name)
		}
	}
	return nil
}

// Clone copies names deeply.
func Clone(names map[string][]netip.Addr) map[string][]netip.Addr {
	out := make(map[string][]netip.Addr, len(names))
	for name, addrs := range names {
		out[name] = slices.Clone(addrs)
	}
	return out
}

// Render is the file for a container; self may be invalid. The same names give
// the same text.
func Render(hostname string, self netip.Addr, names map[string][]netip.Addr) string {
	var b strings.Builder
	b.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
	if !self.IsValid() {
		self = netip.AddrFrom4([4]byte{127, 0, 1, 1})
	}
	_, _ = fmt.Fprintf(&b, "%s\t%s\n", self, hostname)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		for _, a := range names[name] {
			_, _ = fmt.Fprintf(&b, "%s\t%s\n", a, name)
		}
	}
	return b.String()
}

// Write makes the file, readable by every user of the container.
func Write(path, content string) error {
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return err
	}
	return os.Chmod(path, 0o644)
}

// Rewrite changes the file in place, as a mount shows the file and not its name.
func Rewrite(path, content string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(content), 0)
	return errors.Join(err, f.Truncate(int64(len(content))), f.Close())
}
