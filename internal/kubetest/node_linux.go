package kubetest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// node lists containerd, kubelet and kube-proxy of a node, in the order of
// starting, after writing what they read.
func (m *machine) node(n int) ([]*Component, error) {
	dir := filepath.Join(m.dir, nodeName(n))
	for _, sub := range []string{"cni", "kubelet", "logs", "plugins"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	if err := m.groups.make(nodeName(n)); err != nil {
		return nil, err
	}
	ns := m.nodes[n-1]
	err := ns.sysctl(map[string]string{"bridge/bridge-nf-call-iptables": "1", "bridge/bridge-nf-call-ip6tables": "1"})
	if err != nil {
		return nil, fmt.Errorf("kubetest: bridge netfilter: %w", err)
	}
	files := map[string]any{
		"containerd.toml":         m.containerdConfig(dir),
		"cni/10-moorage.conflist": cniConfig(dir, n),
		"kubelet.json":            m.kubeletConfig(dir, n),
		"kube-proxy.json":         m.proxyConfig(n),
		"resolv.conf":             "nameserver 192.168.77.1\n",
	}
	for file, content := range files {
		if err := writeConfig(filepath.Join(dir, file), content); err != nil {
			return nil, err
		}
	}
	name := nodeName(n) + "/"
	containerd := m.component(name+"containerd", n, "--config", filepath.Join(dir, "containerd.toml"))
	containerd.program = "containerd"
	kubelet := m.component(name+"kubelet", n, "--config="+filepath.Join(dir, "kubelet.json"),
		"--kubeconfig="+m.pki.path(fmt.Sprintf("kubelet-%d.kubeconfig", n)), "--hostname-override="+nodeName(n),
		"--node-ip="+nodeAddress4(n)+","+nodeAddress6(n), "--root-dir="+filepath.Join(dir, "kubelet"),
		"--cert-dir="+filepath.Join(dir, "kubelet", "pki"), "--feature-gates="+featureGates)
	proxy := m.component(name+"kube-proxy", n, "--config="+filepath.Join(dir, "kube-proxy.json"))
	return []*Component{containerd, kubelet, proxy}, nil
}

func writeConfig(path string, content any) error {
	b, ok := content.(string)
	if !ok {
		j, err := json.MarshalIndent(content, "", " ")
		if err != nil {
			return err
		}
		b = string(j)
	}
	return os.WriteFile(path, []byte(b), 0o600)
}

// containerdConfig keeps everything of containerd below dir. A machine may not
// let it lower its own out-of-memory score, so it does not try.
func (m *machine) containerdConfig(dir string) string {
	return fmt.Sprintf(`version = 2
root = "%[1]s/containerd"
state = "%[1]s/state"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs"]
[grpc]
  address = "%[1]s/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "%[1]s/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "%[2]s"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  disable_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "%[3]s/cni"
    conf_dir = "%[1]s/cni"
`, dir, registryHost()+"/pause:1", m.programs)
}

// cniConfig gives pods addresses of the node's own ranges. Their source is kept
// on the way out: rewritten to the node's, policies between nodes would not see it.
func cniConfig(dir string, n int) any {
	type list = []any
	type object = map[string]any
	return object{"cniVersion": "1.0.0", "name": "moorage", "plugins": list{
		object{
			"type": "bridge", "bridge": "cni0", "isGateway": true, "isDefaultGateway": true, "hairpinMode": true, "ipMasq": false,
			"ipam": object{
				"type": "host-local", "dataDir": filepath.Join(dir, "ipam"),
				"ranges": list{list{object{"subnet": podSubnet4(n)}}, list{object{"subnet": podSubnet6(n)}}},
			},
		},
		object{"type": "portmap", "capabilities": object{"portMappings": true}, "backend": "nftables"},
	}}
}

func (m *machine) kubeletConfig(dir string, n int) any {
	type object = map[string]any
	return object{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"authentication": object{
			"anonymous": object{"enabled": false}, "webhook": object{"enabled": false},
			"x509": object{"clientCAFile": m.pki.path("ca.crt")},
		},
		"authorization": object{"mode": "AlwaysAllow"},
		"clusterDNS":    []string{dnsServiceAddress}, "clusterDomain": "cluster.local",
		"cgroupDriver": "cgroupfs", "cgroupRoot": "/" + filepath.Join(m.groups.name, nodeName(n)),
		"failCgroupV1": false, "failSwapOn": false, "oomScoreAdj": 0,
		"evictionHard": object{
			"memory.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%", "imagefs.inodesFree": "0%",
		},
		"imageGCHighThresholdPercent": 100, "podLogsDir": filepath.Join(dir, "logs"),
		"resolvConf": filepath.Join(dir, "resolv.conf"), "containerRuntimeEndpoint": "unix://" + filepath.Join(dir, "containerd.sock"),
		"volumePluginDir":     filepath.Join(dir, "plugins"),
		"serializeImagePulls": false, "readOnlyPort": 0, "nodeStatusUpdateFrequency": "4s",
		"crashLoopBackOff": object{"maxContainerRestartPeriod": "2s"},
		"registryPullQPS":  0, "kubeAPIQPS": 200, "kubeAPIBurst": 400, "eventRecordQPS": 0,
	}
}

func (m *machine) proxyConfig(n int) any {
	type object = map[string]any
	return object{
		"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
		"mode": "nftables", "clusterCIDR": podRange4 + "," + podRange6, "hostnameOverride": nodeName(n), "oomScoreAdj": 0,
		"clientConnection": object{"kubeconfig": m.pki.path("kube-proxy.kubeconfig")},
		"conntrack":        object{"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
		"nftables":         object{"minSyncPeriod": "0s", "syncPeriod": "30s"},
	}
}
