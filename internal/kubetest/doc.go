// Package kubetest gives tests a real Kubernetes cluster: API server, controller
// manager, scheduler, etcd, and one or two nodes with kubelet, kube-proxy,
// containerd and runc, in network namespaces of their own on this machine.
// Start from [Start], or from [Shared] for one cluster per test binary.
//
// Everything of a cluster lies below one folder, one control group tree and a
// few namespaces that no name outside that folder points to. [Cluster.Close]
// ends every process by its number and removes all of it; what a test binary
// that was killed left behind is removed by the next one that starts.
//
//	lan (192.168.77.1)          the outside: clients, ARP, packets from anywhere
//	 └─ node-1 (192.168.77.11)  control plane and node; pods 10.244.1.0/24
//	 └─ node-2 (192.168.77.12)  a second node; pods 10.244.2.0/24
//
// The same with IPv6 (fd77::/64, pods fd00:10:244:n::/64). The API server is
// reached from this process through a port on loopback, so an ordinary
// kubeconfig works.
//
// The programs are built once by scripts/kube into .moorage/kube, or into the
// folder that the environment variable MOORAGE_KUBE names. With the flag
// -kube.existing (see [Main]) the same tests run against whatever cluster
// KUBECONFIG names; what needs a cluster of our own is then skipped by name.
//
// It is for tests only: keys lie in files, etcd does not sync to disk.
package kubetest
