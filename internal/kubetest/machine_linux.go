package kubetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/util/wait"
)

// machine is a cluster of our own on this machine.
type machine struct {
	options  Options
	dir      string
	programs string
	groups   cgroups
	lan      *namespace
	nodes    []*namespace
	pki      *authority
	api      *forwarder
	registry *http.Server
	agents   agents
	// components in the order of starting.
	components []*Component
}

func registryHost() string { return "127.0.0.1:" + strconv.Itoa(registryPort) }

func (m *machine) logFile(component string) string {
	return filepath.Join(m.dir, "log", strings.ReplaceAll(component, "/", "-")+".log")
}

// startMachine starts every program and returns when all run; the API server
// may not answer yet. After an error nothing is left.
func startMachine(ctx context.Context, options Options) (m *machine, err error) {
	programs, err := findPrograms()
	if err != nil {
		return nil, err
	}
	m = &machine{options: options, programs: programs}
	if m.dir, err = claimFolder(ctx); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.close(context.WithoutCancel(ctx)))
		}
	}()
	if err := m.prepare(ctx); err != nil {
		return m, err
	}
	m.components = m.controlPlane()
	for n := 1; n <= options.Nodes; n++ {
		node, err := m.node(n)
		if err != nil {
			return m, err
		}
		m.components = append(m.components, node...)
	}
	return m, m.startAll(ctx)
}

// startAll starts the programs; kubelet needs its containerd.
func (m *machine) startAll(ctx context.Context) error {
	for _, c := range m.components {
		if err := c.Start(); err != nil {
			return err
		}
		if filepath.Base(c.Name) != "containerd" {
			continue
		}
		socket := filepath.Join(m.dir, filepath.Dir(c.Name), "containerd.sock")
		err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, 20*time.Second, true, func(context.Context) (bool, error) {
			_, err := os.Stat(socket)
			return err == nil, nil
		})
		if err != nil {
			return fmt.Errorf("kubetest: %s does not start: %w", c.Name, err)
		}
	}
	return nil
}

// findPrograms returns the folder that scripts/kube has filled.
func findPrograms() (string, error) {
	dir := os.Getenv("MOORAGE_KUBE")
	if dir == "" {
		root, err := os.Getwd()
		if err != nil {
			return "", err
		}
		for ; root != "/"; root = filepath.Dir(root) {
			if _, err := os.Stat(filepath.Join(root, "scripts", "kube")); err == nil {
				break
			}
		}
		dir = filepath.Join(root, ".moorage", "kube")
	}
	if _, err := os.Stat(filepath.Join(dir, "stamp")); err != nil {
		return "", fmt.Errorf("kubetest: Kubernetes is not built: run scripts/kube (7 minutes, once): %w", err)
	}
	return filepath.Abs(dir)
}

// prepare makes namespaces, control groups, credentials and the registry.
func (m *machine) prepare(ctx context.Context) (err error) {
	for _, sub := range []string{"log", "net"} {
		if err := os.MkdirAll(filepath.Join(m.dir, sub), 0o755); err != nil {
			return err
		}
	}
	if m.groups, err = newCgroups(filepath.Base(m.dir)); err != nil {
		return err
	}
	if err := m.groups.make(systemGroup); err != nil {
		return err
	}
	netDir := filepath.Join(m.dir, "net")
	if m.lan, err = newLan(netDir); err != nil {
		return err
	}
	for n := 1; n <= m.options.Nodes; n++ {
		ns, err := newNodeNet(netDir, m.lan, n)
		if err != nil {
			return err
		}
		m.nodes = append(m.nodes, ns)
	}
	if err := m.linkNodes(); err != nil {
		return err
	}
	m.api, err = forward(ctx, func(ctx context.Context) (net.Conn, error) {
		return m.nodes[0].dial(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(apiPort))
	})
	if err != nil {
		return err
	}
	if m.pki, err = newAuthority(filepath.Join(m.dir, "pki"), time.Now()); err != nil {
		return err
	}
	if err := m.writeCredentials(); err != nil {
		return err
	}
	return m.serveRegistry(ctx)
}

// linkNodes lets each node send to the other's pods directly.
func (m *machine) linkNodes() error {
	for i, ns := range m.nodes {
		for n := 1; n <= len(m.nodes); n++ {
			if n == i+1 {
				continue
			}
			err := ns.do(func() error {
				return routes("eth0", map[string]string{podSubnet4(n): nodeAddress4(n) + "/24", podSubnet6(n): nodeAddress6(n) + "/64"})
			})
			if err != nil {
				return fmt.Errorf("kubetest: route to %s: %w", nodeName(n), err)
			}
		}
	}
	return nil
}

// serveRegistry opens one image registry on the loopback of every node, and puts
// in what every cluster needs.
func (m *machine) serveRegistry(ctx context.Context) error {
	m.registry = &http.Server{Handler: newRegistry(), ReadHeaderTimeout: time.Minute}
	for _, ns := range m.nodes {
		l, err := ns.listen(ctx, "tcp", registryHost())
		if err != nil {
			return fmt.Errorf("kubetest: registry: %w", err)
		}
		go func() { _ = m.registry.Serve(l) }() // ends with close
	}
	programs := []string{"pause"}
	if !m.options.NoDNS {
		programs = append(programs, "coredns")
	}
	if m.options.Router {
		programs = append(programs, "router")
	}
	if m.options.MetalLB {
		programs = append(programs, "controller", "speaker")
	}
	for _, program := range programs {
		image, err := ImageOf(filepath.Join(m.programs, "bin", program))
		if err != nil {
			return err
		}
		if _, err := m.push(ctx, program+":1", image); err != nil {
			return err
		}
	}
	return nil
}

// definitions returns the resource definitions of a kind of add-on.
func (m *machine) definitions(of string) ([]byte, error) {
	files, err := filepath.Glob(filepath.Join(m.programs, "manifests", of, "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("kubetest: no manifests of %s below %s: %w", of, m.programs, err)
	}
	var all []byte
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		all = append(append(all, "\n---\n"...), b...)
	}
	return all, nil
}

// metallb is MetalLB's own manifest with the images of our registry, asked
// whether they are ready sooner.
func (m *machine) metallb() ([]byte, error) {
	text, err := m.definitions("metallb")
	r := strings.NewReplacer("quay.io/metallb/controller:v0.15.2", registryHost()+"/controller:1",
		"quay.io/metallb/speaker:v0.15.2", registryHost()+"/speaker:1",
		"initialDelaySeconds: 10", "initialDelaySeconds: 1", "periodSeconds: 10", "periodSeconds: 2")
	return []byte(r.Replace(string(text))), err
}

func (m *machine) push(ctx context.Context, tag string, image v1.Image) (string, error) {
	transport := &http.Transport{DialContext: m.nodes[0].dial}
	defer transport.CloseIdleConnections()
	ref := registryHost() + "/" + tag
	return ref, pushTo(ctx, ref, image, remote.WithTransport(transport))
}

// close ends and removes everything, however far the start came.
func (m *machine) close(ctx context.Context) error {
	errs := []error{m.agents.end()}
	containerd := func(c *Component) bool { return filepath.Base(c.Name) == "containerd" }
	for _, c := range slices.Backward(m.components) {
		if !containerd(c) {
			errs = append(errs, c.Kill())
		}
	}
	m.endPods(ctx)
	for _, c := range m.components {
		if containerd(c) {
			errs = append(errs, c.end(unix.SIGTERM, 5*time.Second))
		}
	}
	if m.api != nil {
		m.api.close()
	}
	if m.registry != nil {
		errs = append(errs, m.registry.Close())
	}
	for _, ns := range append(slices.Clone(m.nodes), m.lan) {
		if ns != nil {
			errs = append(errs, ns.close())
		}
	}
	if m.dir != "" {
		errs = append(errs, releaseFolder(ctx, m.dir))
	}
	return errors.Join(errs...)
}

func (m *machine) processes() []int { return m.groups.members("") }

func (m *machine) killNode(n int) error {
	errs := []error{m.lan.do(func() error {
		link, err := netlink.LinkByName(nodeLink(n))
		if err != nil {
			return err
		}
		return netlink.LinkSetDown(link)
	})}
	for _, c := range m.components {
		if strings.HasPrefix(c.Name, nodeName(n)+"/") {
			errs = append(errs, c.Kill())
		}
	}
	for _, pid := range m.groups.members(nodeName(n)) {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	return errors.Join(errs...)
}

// endPods kills what runs in pods; containerd sees it and cleans up behind them,
// which takes a moment. What it does not manage removeCluster will.
func (m *machine) endPods(ctx context.Context) {
	const patience = 10 * time.Second
	_ = wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, patience, true, func(context.Context) (bool, error) {
		for n := range m.nodes {
			for _, pid := range m.groups.members(nodeName(n + 1)) {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
		running := 0
		for _, c := range m.components {
			if c.Running() {
				running++
			}
		}
		return len(m.groups.members(systemGroup)) <= running, nil
	})
}
