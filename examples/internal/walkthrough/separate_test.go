package walkthrough_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/examples/internal/demo"
	"github.com/moorage-dev/moorage/provider/gateway/api"
)

// site is where the containers of a market run, and how it is reached.
type site struct {
	image string
	pages string   // where web pages are served
	flags []string // of the provider, besides the usual
	// dial connects as a client on the site's network does.
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	// running names what runs for leases; what is started anew has another name.
	running func(s *separate) []string
}

// separate is a market of separate processes: a node, a provider and a registry,
// and the commands of a tenant.
type separate struct {
	site
	t              *testing.T
	dir            string
	grpc           string
	gateway        string
	node, provider *process
}

// newSeparate starts a market whose containers run on this host.
func newSeparate(t *testing.T, providerFlags ...string) *separate {
	t.Helper()
	needContainers(t)
	registry, err := demo.Start(t.Context(), t.TempDir(), "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, registry.Close()) })
	return newMarket(t, site{
		image: registry.Image(), pages: freePort(t), flags: providerFlags, dial: new(net.Dialer).DialContext,
		running: func(s *separate) []string { return shims(s.t, s.home("provider")) },
	})
}

// newMarket starts node and provider and waits for both.
func newMarket(t *testing.T, at site) *separate {
	t.Helper()
	s := &separate{site: at, t: t, dir: t.TempDir(), grpc: freePort(t), gateway: freePort(t)}
	s.tenant("keys", "add", "tenant")
	s.run("provider", "--home", s.home("provider"), "keys", "add", "provider")
	money := "=1000000000uact,1000000000uakt"
	s.run("node", "--home", s.home("node"), "init",
		"--account", strings.TrimSpace(s.tenant("keys", "show", "tenant"))+money,
		"--account", strings.TrimSpace(s.run("provider", "--home", s.home("provider"), "keys", "show", "provider"))+money)
	s.startNode()
	s.startProvider()
	t.Cleanup(s.clean)
	return s
}

// clean ends the provider and takes down what still runs.
func (s *separate) clean() {
	if s.provider != nil {
		_ = s.provider.cmd.Process.Kill()
		<-s.provider.done
	}
	assert.Empty(s.t, s.running(s), "every container is gone")
}

// awaitEmpty waits until nothing runs any more.
func (s *separate) awaitEmpty() {
	s.t.Helper()
	s.eventually("the containers are gone", func() bool { return len(s.running(s)) == 0 })
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { assert.NoError(t, l.Close()) }()
	return l.Addr().String()
}

func (s *separate) home(of string) string { return filepath.Join(s.dir, of) }

// run runs a program to its end and returns what it prints.
func (s *separate) run(program string, args ...string) string {
	s.t.Helper()
	out, err := s.try(program, args...)
	require.NoError(s.t, err, "%s %v: %s", program, args, out)
	return out
}

func (s *separate) try(program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	var out, problems bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(programs, program), args...)
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return out.String() + problems.String(), err
	}
	return out.String(), nil
}

func (s *separate) tenantArgs(args ...string) []string {
	return append([]string{"--home", s.home("tenant"), "--node", s.grpc}, args...)
}

func (s *separate) tenant(args ...string) string {
	s.t.Helper()
	return s.run("tenant", s.tenantArgs(args...)...)
}

func (s *separate) startNode() {
	s.t.Helper()
	s.node = spawn(s.t, "node", "--home", s.home("node"), "start", "--grpc", s.grpc, "--block-time", "300ms")
	s.eventually("the node answers", func() bool {
		_, err := s.try("node", "status", "--node", s.grpc)
		return err == nil
	})
}

func (s *separate) startProvider() {
	s.t.Helper()
	args := []string{"--home", s.home("provider"), "--node", s.grpc, "run", "--gateway", s.gateway, "--http", s.pages}
	s.provider = spawn(s.t, "provider", append(args, s.flags...)...)
	s.provider.await(`sells`)
}

// kill ends a process as a crash does.
func (s *separate) kill(p *process) {
	s.t.Helper()
	p.signal(syscall.SIGKILL)
	p.end()
}

// eventually waits; every look is a process or a request.
func (s *separate) eventually(what string, ok func() bool) {
	s.t.Helper()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-deadline:
			s.t.Fatalf("never happened: %s\nprovider:\n%s", what, s.provider.output())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// document writes the demo's document with a greeting.
func (s *separate) document(greeting string, hosts ...string) string {
	s.t.Helper()
	text := string(demo.SDL(s.image, greeting))
	if len(hosts) > 0 {
		require.Contains(s.t, text, "as: 80\n")
		text = strings.Replace(text, "as: 80\n", "as: 80\n        accept: ["+strings.Join(hosts, ", ")+"]\n", 1)
	}
	file := filepath.Join(s.t.TempDir(), "app.yaml")
	require.NoError(s.t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// status asks the provider through the tenant's program.
func (s *separate) status(dseq string) (api.LeaseStatus, bool) {
	out, err := s.try("tenant", s.tenantArgs("--json", "status", dseq)...)
	var list []api.LeaseStatus
	if err != nil || json.Unmarshal([]byte(out), &list) != nil || len(list) != 1 {
		return api.LeaseStatus{}, false
	}
	return list[0], true
}

func (s *separate) awaitActive(dseq string) api.LeaseStatus {
	s.t.Helper()
	var st api.LeaseStatus
	s.eventually("deployment "+dseq+" is active", func() bool {
		var ok bool
		st, ok = s.status(dseq)
		return ok && st.Phase == api.PhaseActive
	})
	return st
}

// page fetches a deployed page by its name.
func (s *separate) page(name string) string {
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+s.pages+"/", nil)
	require.NoError(s.t, err)
	req.Host = name
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(resp.Body)
	return string(body)
}

func hostOf(t *testing.T, st api.LeaseStatus) string {
	t.Helper()
	require.NotEmpty(t, st.Services)
	require.NotEmpty(t, st.Services[0].URIs)
	u, err := url.Parse(st.Services[0].URIs[0])
	require.NoError(t, err)
	return u.Hostname()
}

func TestEachStepOfADeploymentIsACommandOfItsOwn(t *testing.T) {
	s := newSeparate(t)
	file := s.document("Hello")
	s.tenant("create", file, "--dseq", "7")
	s.eventually("there is a bid", func() bool { return strings.Contains(s.tenant("bids", "7"), "uact/block") })
	assert.Contains(t, s.tenant("lease", "7"), "7/1/1")
	assert.Contains(t, s.tenant("status", "7"), "awaiting-manifest")
	s.tenant("send-manifest", "7", file, "--wait")
	st := s.awaitActive("7")
	assert.Contains(t, s.page(hostOf(t, st)), "Hello from a leased container")

	s.tenant("restart", "7", "web")
	s.eventually("the container is a new one", func() bool {
		now, ok := s.status("7")
		return ok && now.Phase == api.PhaseActive && len(now.Services[0].Replicas) == 1 &&
			now.Services[0].Replicas[0].StartedAt.After(st.Services[0].Replicas[0].StartedAt)
	})
	assert.Empty(t, s.tenant("logs", "7", "--replica", "9"))
	assert.Contains(t, s.tenant("logs", "7", "--since", "1h"), "listening on")

	events := spawn(t, "tenant", s.tenantArgs("--json", "events", "7")...)
	events.await(`"phase-changed"`)
	events.signal(syscall.SIGINT)
	assert.Zero(t, events.end(), events.output())

	token := strings.TrimSpace(s.tenant("token", "--scope", "logs", "--scope", "status", "--valid", "10m"))
	t.Setenv("MOORAGE_TOKEN", token)
	holder := []string{"--home", s.home("nobody"), "--node", s.grpc}
	assert.Contains(t, s.run("tenant", append(holder, "logs", "7")...), "listening on")
	out, err := s.try("tenant", append(holder, "exec", "7", "--", "/hello", "whoami")...)
	require.Error(t, err, "the token does not allow shells")
	assert.Contains(t, out, "shell")
	t.Setenv("MOORAGE_TOKEN", "")

	serial := strings.Fields(strings.Split(s.tenant("certificates", "list"), "\n")[1])[0]
	s.tenant("certificates", "create")
	s.tenant("certificates", "revoke", serial)
	assert.Contains(t, s.tenant("certificates", "list"), "revoked")
	assert.Contains(t, s.tenant("status", "7"), "active", "the new certificate is good")
	assert.Contains(t, s.tenant("close", "7"), "closed at height")
	s.awaitEmpty()
}

func TestAHostnameIsMigratedBetweenDeployments(t *testing.T) {
	s := newSeparate(t)
	s.tenant("deploy", s.document("Old", "shop.example"), "--dseq", "1")
	s.tenant("deploy", s.document("Young", "shop.example"), "--dseq", "2")
	assert.Contains(t, s.page("shop.example"), "Old from a leased container")
	assert.Contains(t, s.tenant("status", "2"), "withheld")
	out, err := s.try("tenant", s.tenantArgs("migrate-hostnames", "2", "shop.example", "other.example")...)
	require.Error(t, err, "one of the names is not asked for")
	assert.Contains(t, out, "does not ask for host name other.example")
	s.eventually("the young deployment answers", func() bool {
		return strings.Contains(s.page("shop.example"), "Young from a leased container")
	})
	s.tenant("close", "2")
	s.eventually("the name goes back", func() bool {
		return strings.Contains(s.page("shop.example"), "Old from a leased container")
	})
	s.tenant("close", "1")
	s.awaitEmpty()
}

func TestALeaseIsScaledWithinWhatWasOrdered(t *testing.T) {
	s := newSeparate(t)
	s.tenant("deploy", s.document("Hello"), "--dseq", "5", "--scale", "web=1..3")
	before := s.tenant("balance", "5")
	assert.Contains(t, s.tenant("scale", "5", "web=2"), "web=2")
	s.eventually("there are two containers", func() bool {
		st, ok := s.status("5")
		return ok && st.Phase == api.PhaseActive && st.Services[0].Ready == 2 && len(s.running(s)) == 2
	})
	assert.NotEqual(t, price(t, before), price(t, s.tenant("balance", "5")))
	out, err := s.try("tenant", s.tenantArgs("scale", "5", "web=4")...)
	require.Error(t, err)
	assert.Contains(t, out, "ordered were 1 to 3")
	out, err = s.try("tenant", s.tenantArgs("scale", "5", "web=3", "--max-price", "0.1uact")...)
	require.Error(t, err)
	assert.Contains(t, out, "scale-price-over-max")
	s.tenant("close", "5")
	s.awaitEmpty()

	me := strings.TrimSpace(s.run("provider", "--home", s.home("provider"), "keys", "show", "provider"))
	out, err = s.try("tenant", s.tenantArgs("deploy", s.document("Hello"), "--exclude-provider", me)...)
	require.Error(t, err)
	assert.Contains(t, out, "bid-provider-listed")
}

// price finds the price in what "tenant balance" prints.
func price(t *testing.T, balance string) string {
	t.Helper()
	for line := range strings.Lines(balance) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name == "price" {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("no price in %s", balance)
	return ""
}

func TestAPersonChoosesAmongBids(t *testing.T) {
	s := newSeparate(t)
	cmd := exec.CommandContext(t.Context(), filepath.Join(programs, "tenant"), s.tenantArgs("deploy", "--ask", s.document("Hello"), "--dseq", "3")...)
	cmd.Stdin = strings.NewReader("7\nx\n1\n")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	for _, want := range []string{"1 bid(s) on order 3/1/1", "host=akash", `"7" is none of the numbers`, "active"} {
		assert.Contains(t, string(out), want)
	}
	cmd = exec.CommandContext(t.Context(), filepath.Join(programs, "tenant"), s.tenantArgs("deploy", "--ask", s.document("Hello"), "--dseq", "4")...)
	cmd.Stdin = strings.NewReader("\n")
	out, err = cmd.CombinedOutput()
	require.Error(t, err, string(out))
	assert.Contains(t, string(out), "none of the 1 bids")
	s.tenant("close", "3")
	s.awaitEmpty()
}

func TestAKillInAnyPhaseIsAPauseForTheTenant(t *testing.T) {
	newSeparate(t).killInAnyPhase()
}

// killInAnyPhase kills the provider in each phase of a lease, and the node, and
// goes on.
func (s *separate) killInAnyPhase() {
	t := s.t
	t.Helper()
	file := s.document("Hello")

	s.tenant("create", file, "--dseq", "7")
	s.eventually("there is a bid", func() bool { return strings.Contains(s.tenant("bids", "7"), "open") })
	s.kill(s.provider) // with a bid on the market
	s.tenant("lease", "7")
	s.startProvider()
	s.eventually("the lease won while it was down is served", func() bool {
		st, ok := s.status("7")
		return ok && st.Phase == api.PhaseAwaitingManifest
	})
	s.kill(s.provider) // without a manifest
	s.startProvider()
	s.eventually("the manifest is taken", func() bool {
		_, err := s.try("tenant", s.tenantArgs("send-manifest", "7", file)...)
		return err == nil
	})
	s.kill(s.provider) // with a manifest accepted and nothing running, or half of it
	s.startProvider()
	st := s.awaitActive("7")
	running := s.running(s)
	require.Len(t, running, 1)

	s.kill(s.provider) // while it runs
	require.Equal(t, running, s.running(s), "the container goes on")
	s.startProvider()
	again := s.awaitActive("7")
	require.Equal(t, running, s.running(s), "the container was not started twice")
	require.Equal(t, st.Services[0].Replicas[0].StartedAt, again.Services[0].Replicas[0].StartedAt)
	s.eventually("the page is there again", func() bool {
		return strings.Contains(s.page(hostOf(t, again)), "Hello from a leased container")
	})

	s.kill(s.node) // the market is away: what runs goes on
	assert.Contains(t, s.page(hostOf(t, again)), "Hello from a leased container")
	s.startNode()

	update := spawn(t, "tenant", s.tenantArgs("update", "7", s.document("Changed"))...)
	update.await(`accepted by`)
	s.kill(s.provider) // in the middle of an update
	s.startProvider()
	update.end()
	s.eventually("the new version answers", func() bool {
		return strings.Contains(s.page(hostOf(t, again)), "Changed from a leased container")
	})

	s.kill(s.provider)
	s.tenant("close", "7") // while it is down
	s.startProvider()
	s.awaitEmpty()

	s.tenant("deploy", file, "--dseq", "8")
	s.tenant("close", "8")
	s.kill(s.provider) // perhaps in the middle of taking it down
	s.startProvider()
	s.awaitEmpty()
}
