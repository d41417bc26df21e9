package kubetest

import "fmt"

// Addresses of a cluster; every cluster has the same ones, in namespaces of its
// own.
const (
	lanAddress4, lanAddress6 = "192.168.77.1/24", "fd77::1/64"
	services4, services6     = "10.96.0.0/16", "fd00:10:96::/112"
	podRange4, podRange6     = "10.244.0.0/16", "fd00:10:244::/48"
	apiServiceAddress        = "10.96.0.1"
	dnsServiceAddress        = "10.96.0.10"
	apiPort                  = 6443
	registryPort             = 5000
)

func nodeAddress4(n int) string { return fmt.Sprintf("192.168.77.%d", 10+n) }
func nodeAddress6(n int) string { return fmt.Sprintf("fd77::%x", 0x10+n) }
func podSubnet4(n int) string   { return fmt.Sprintf("10.244.%d.0/24", n) }
func podSubnet6(n int) string   { return fmt.Sprintf("fd00:10:244:%d::/64", n) }

func nodeName(n int) string { return fmt.Sprintf("node-%d", n) }
