package walkthrough_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// programs is the folder of the compiled programs: the one that the scripts and
// the quickstart use, so that what is up to date is not linked again.
var programs string

func TestMain(m *testing.M) {
	code, err := build(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// able reports whether this machine can run the containers.
func able() bool { return runtime.GOOS == "linux" && os.Geteuid() == 0 }

func build(m *testing.M) (code int, err error) {
	if !able() {
		return m.Run(), nil
	}
	if programs, err = filepath.Abs(filepath.Join(root(), ".moorage", "bin")); err != nil {
		return 1, err
	}
	cmd := exec.Command("go", "build", "-o", programs+string(filepath.Separator),
		"./examples/localnet", "./examples/node", "./examples/provider", "./examples/tenant", "./examples/registry",
		"./cluster/runtime/runc/moorage-shim")
	cmd.Dir = root()
	if out, err := cmd.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("building the programs: %w\n%s", err, out)
	}
	return m.Run(), nil
}

func root() string { return filepath.Join("..", "..", "..") }

func needContainers(t *testing.T) {
	t.Helper()
	if !able() {
		t.Skip("running containers needs root on Linux")
	}
}

// process is a running program whose output can be waited for.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{}

	mu   sync.Mutex // guards text
	text strings.Builder
}

// patience bounds every wait of these tests; on a busy machine everything takes
// longer than it should.
const patience = 3 * time.Minute

// start runs localnet.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	return spawn(t, "localnet", args...)
}

// spawn runs a program. It is killed at the end of the test if it still runs.
func spawn(t *testing.T, program string, args ...string) *process {
	t.Helper()
	p := &process{t: t, done: make(chan struct{})}
	p.cmd = exec.CommandContext(t.Context(), filepath.Join(programs, program), args...)
	out, w := io.Pipe()
	p.cmd.Stdout, p.cmd.Stderr = w, w
	require.NoError(t, p.cmd.Start())
	var wg sync.WaitGroup
	wg.Go(func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			p.mu.Lock()
			p.text.WriteString(lines.Text() + "\n")
			p.mu.Unlock()
		}
	})
	go func() {
		_ = p.cmd.Wait()
		_ = w.Close()
		wg.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
	})
	return p
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// await waits until the output matches, and returns the first group or the
// whole match.
func (p *process) await(pattern string) string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if m := re.FindStringSubmatch(p.output()); m != nil {
			return m[len(m)-1]
		}
		select {
		case <-p.done:
			if m := re.FindStringSubmatch(p.output()); m != nil {
				return m[len(m)-1]
			}
			p.t.Fatalf("ended (%s) before %q:\n%s", p.cmd.ProcessState, pattern, p.output())
		case <-deadline:
			p.t.Fatalf("%q never came:\n%s", pattern, p.output())
		case <-tick.C:
		}
	}
}

// end waits for the end and returns the exit code.
func (p *process) end() int {
	p.t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		p.t.Fatalf("does not end:\n%s", p.output())
		return -1
	}
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(s))
}

// shims lists the helper processes of containers below a folder.
func shims(t *testing.T, home string) []string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	var out []string
	for _, file := range all {
		line, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(line), "moorage-shim") && strings.Contains(string(line), home) {
			out = append(out, filepath.Base(filepath.Dir(file)))
		}
	}
	return out
}

// traces lists what localnet leaves on a machine while it runs: links and rules.
func traces(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "sh", "-c",
		"ip -br link | awk '{print $1}' | grep -E '^m[gv]' ; nft list tables | grep moorage; grep -c moorage-localnet /proc/mounts || true").CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}
