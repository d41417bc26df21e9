package kubetest

import (
	"fmt"
	"path/filepath"
	"strconv"
)

// writeCredentials makes every certificate and kubeconfig of the cluster.
func (m *machine) writeCredentials() error {
	local := "https://127.0.0.1:" + strconv.Itoa(apiPort)
	outside := fmt.Sprintf("https://%s:%d", nodeAddress4(1), apiPort)
	server := m.pki.template("kube-apiserver")
	err := m.pki.issue("apiserver", server, "kubernetes", "kubernetes.default", "kubernetes.default.svc",
		"kubernetes.default.svc.cluster.local", "localhost", "127.0.0.1", "::1", apiServiceAddress,
		nodeAddress4(1), nodeAddress6(1))
	if err != nil {
		return err
	}
	if err := m.pki.issue("kubelet-client", m.pki.template("kube-apiserver-kubelet-client", "system:masters")); err != nil {
		return err
	}
	if err := m.pki.issue("service-account", m.pki.template("service-account")); err != nil {
		return err
	}
	for file, c := range map[string]struct {
		server, name string
		groups       []string
	}{
		"controller-manager": {local, "system:kube-controller-manager", nil},
		"scheduler":          {local, "system:kube-scheduler", nil},
		"kube-proxy":         {outside, "system:kube-proxy", nil},
		"addons":             {outside, "kubetest-addons", []string{"system:masters"}},
		"kubelet-1":          {outside, "system:node:" + nodeName(1), []string{"system:nodes"}},
		"kubelet-2":          {outside, "system:node:" + nodeName(2), []string{"system:nodes"}},
		"admin":              {"https://" + m.api.Addr(), "kubetest-admin", []string{"system:masters"}},
	} {
		if _, err := m.pki.kubeconfig(file, c.server, c.name, c.groups...); err != nil {
			return err
		}
	}
	return nil
}

// controlPlane lists etcd, the API server, the controllers and the scheduler, in
// the order of starting.
func (m *machine) controlPlane() []*Component {
	etcd := m.component("etcd", 1, "--name=default", "--data-dir="+filepath.Join(m.dir, "etcd"),
		"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380",
		"--initial-cluster=default=http://127.0.0.1:2380", "--unsafe-no-fsync", "--log-level=warn")
	controllers := m.component("kube-controller-manager", 1, "--kubeconfig="+m.pki.path("controller-manager.kubeconfig"),
		"--secure-port=0", "--leader-elect=false", "--use-service-account-credentials",
		"--service-account-private-key-file="+m.pki.path("service-account.key"), "--root-ca-file="+m.pki.path("ca.crt"),
		"--enable-hostpath-provisioner", "--kube-api-qps=200", "--kube-api-burst=400",
		"--node-monitor-period=2s", "--node-monitor-grace-period=20s")
	scheduler := m.component("kube-scheduler", 1, "--kubeconfig="+m.pki.path("scheduler.kubeconfig"),
		"--secure-port=0", "--leader-elect=false")
	return []*Component{etcd, m.apiServer(), controllers, scheduler}
}

// featureGates turn on what the driver uses where a cluster has it: logs that
// tell standard output from standard error.
const featureGates = "PodLogsQuerySplitStreams=true"

func (m *machine) apiServer() *Component {
	p := m.pki.path
	return m.component("kube-apiserver", 1,
		"--etcd-servers=http://127.0.0.1:2379", "--secure-port="+strconv.Itoa(apiPort), "--bind-address=::",
		"--advertise-address="+nodeAddress4(1), "--service-cluster-ip-range="+services4+","+services6,
		"--tls-cert-file="+p("apiserver.crt"), "--tls-private-key-file="+p("apiserver.key"), "--client-ca-file="+p("ca.crt"),
		"--kubelet-client-certificate="+p("kubelet-client.crt"), "--kubelet-client-key="+p("kubelet-client.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+p("service-account.pub"),
		"--service-account-signing-key-file="+p("service-account.key"),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged",
		"--cert-dir="+filepath.Join(m.dir, "apiserver"), "--profiling=false", "--feature-gates="+featureGates)
}

// component describes a program of node n's namespace without starting it.
func (m *machine) component(name string, n int, args ...string) *Component {
	return &Component{
		Name: name, program: filepath.Join(m.programs, "bin", filepath.Base(name)),
		args: append(args, m.options.Args[name]...), ns: m.nodes[n-1], groups: m.groups,
		log: m.logFile(name),
	}
}
