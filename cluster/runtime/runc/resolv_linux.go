//go:build cgo

package runc

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// maxNameservers is what resolvers look at.
const maxNameservers = 3

func resolvFile(servers []netip.Addr) string {
	var b strings.Builder
	for _, a := range servers {
		_, _ = fmt.Fprintf(&b, "nameserver %s\n", a)
	}
	return b.String()
}

// nameservers are the configured ones, or the host's but for those on loopback,
// which a container cannot reach.
func (r *Runtime) nameservers() []netip.Addr {
	if len(r.cfg.Nameservers) > 0 {
		return slices.Clone(r.cfg.Nameservers)
	}
	for _, path := range []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"} {
		if found := readNameservers(path); len(found) > 0 {
			return found
		}
	}
	return []netip.Addr{netip.AddrFrom4([4]byte{1, 1, 1, 1}), netip.AddrFrom4([4]byte{8, 8, 8, 8})}
}

func readNameservers(path string) []netip.Addr {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	var out []netip.Addr
	for lines := bufio.NewScanner(f); lines.Scan() && len(out) < maxNameservers; {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(fields[1]); err == nil && a.Is4() && !a.IsLoopback() {
			out = append(out, a)
		}
	}
	return out
}
