package kubetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Component is one program of the cluster: a test may kill it and start it again.
// Methods may be called concurrently.
type Component struct {
	// Name is what Kubernetes calls the program, with the node's name in front
	// where each node has one: "kube-apiserver", "node-1/kubelet".
	Name string

	program string
	args    []string
	env     []string
	ns      *namespace
	groups  cgroups
	log     string

	mu      sync.Mutex // guards what follows
	cmd     *exec.Cmd
	done    chan struct{} // closed when cmd has been reaped
	ended   bool          // it is meant not to run
	revived int           // how often it was started again
}

// Start starts the program. It is an error while it runs. One that ends by itself
// is started again.
func (c *Component) Start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.start()
}

// maxRevivals is how often a program is started again before it is left to lie.
const maxRevivals = 20

// revive starts a program again that has ended by itself, as a machine's own
// supervisor does: on a busy machine some give up waiting for the API server.
func (c *Component) revive() {
	const pause = time.Second
	time.Sleep(pause)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || c.running() || c.revived == maxRevivals {
		return
	}
	c.revived++
	_ = c.start() // why not is in the log
}

// start needs mu.
func (c *Component) start() error {
	if c.running() {
		return fmt.Errorf("kubetest: %s runs already", c.Name)
	}
	out, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }() // the child has its own
	cmd := exec.CommandContext(context.Background(), c.program, c.args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = out, out, filepath.Dir(c.log)
	cmd.Env = append(slices.Clone(c.env), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin", "HOME="+filepath.Dir(c.log))
	// A signal for the test's terminal is not for the cluster.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := c.ns.do(cmd.Start); err != nil {
		return fmt.Errorf("kubetest: %s: %w", c.Name, err)
	}
	c.cmd, c.done, c.ended = cmd, make(chan struct{}), false
	go func(done chan struct{}) {
		_ = cmd.Wait() // how it ended is in its log
		close(done)
		c.revive()
	}(c.done)
	if err := c.groups.enter(cmd.Process.Pid); err != nil {
		_ = cmd.Process.Kill()
		return fmt.Errorf("kubetest: %s: %w", c.Name, err)
	}
	return nil
}

// running needs mu.
func (c *Component) running() bool {
	if c.done == nil {
		return false
	}
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// Running reports whether the program runs.
func (c *Component) Running() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running()
}

// Kill ends the program as a crash would (SIGKILL) and returns once it is gone.
// A program that does not run is no error.
func (c *Component) Kill() error { return c.end(unix.SIGKILL, 0) }

// end signals the program, then kills it after patience.
func (c *Component) end(signal syscall.Signal, patience time.Duration) error {
	c.mu.Lock()
	c.ended = true
	cmd, done, running := c.cmd, c.done, c.running()
	c.mu.Unlock()
	if !running {
		return nil
	}
	if err := cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kubetest: %s: %w", c.Name, err)
	}
	if patience > 0 {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		select {
		case <-done:
			return nil
		case <-timer.C:
			_ = cmd.Process.Kill()
		}
	}
	<-done
	return nil
}

// Restart kills the program and starts it again.
func (c *Component) Restart() error {
	if err := c.Kill(); err != nil {
		return err
	}
	return c.Start()
}

// Freeze stops the program in the middle of whatever it does; it keeps its
// connections and answers nothing until [Component.Thaw].
func (c *Component) Freeze() error { return c.signal(unix.SIGSTOP) }

// Thaw lets a frozen program go on.
func (c *Component) Thaw() error { return c.signal(unix.SIGCONT) }

func (c *Component) signal(s syscall.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.running() {
		return fmt.Errorf("kubetest: %s: %w", c.Name, os.ErrProcessDone)
	}
	return c.cmd.Process.Signal(s)
}

// Log returns the file that the program writes to.
func (c *Component) Log() string { return c.log }
