//go:build linux && cgo

package fleet_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/fleet"
	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/runc"
)

// childVariable holds the configuration of a test process that is an agent to be
// killed.
const childVariable = "MOORAGE_TEST_FLEET_CHILD"

type childConfig struct{ RuntimeDir, StateDir, Shim, Image, Ingress string }

// request and answer are lines of JSON between the test and the agent.
type request struct {
	Op       string
	Revision uint64
	Greeting string
	Replicas uint32
}

type answer struct {
	Error      string
	Status     *driver.Status // nil without a workload
	Containers []runtime.Container
}

// childMain is the agent: it does what is asked until it is killed.
func childMain(text string) error {
	var c childConfig
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	rt, err := runc.New(runc.Config{Dir: c.RuntimeDir, Shim: c.Shim})
	if err != nil {
		return err
	}
	f, err := fleet.New(fleet.Config{
		Runtime: rt, StateDir: c.StateDir, Node: node(), IngressAddr: c.Ingress, StopTime: 2 * time.Second, DrainTime: time.Second,
	})
	if err != nil {
		return err
	}
	go func() { _ = f.Run(context.Background()) }()
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var q request
		if err := in.Decode(&q); err != nil {
			return err
		}
		if err := out.Encode(serveChild(f, rt, c.Image, q)); err != nil {
			return err
		}
	}
}

func serveChild(f *fleet.Fleet, rt runtime.Runtime, image string, q request) (a answer) {
	ctx := context.Background()
	var err error
	switch q.Op {
	case "apply":
		s := replicas(web("web", q.Greeting), q.Replicas)
		s.Image = image
		err = f.Apply(ctx, workload(1, q.Revision, s))
	case "delete":
		err = f.Delete(ctx, lease(1))
	}
	if err == nil {
		if s, err := f.Status(ctx, lease(1)); err == nil {
			a.Status = &s
		}
		a.Containers, err = rt.List(ctx)
	}
	if err != nil {
		a.Error = err.Error()
	}
	return a
}

// child is a running agent process.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

func startChild(t *testing.T, c childConfig) *child {
	t.Helper()
	text, err := json.Marshal(c)
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	return &child{cmd, in, json.NewDecoder(bufio.NewReader(out))}
}

// kill is kill -9.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// send asks without waiting for the answer.
func (c *child) send(q request) error { return json.NewEncoder(c.in).Encode(q) }

func (c *child) ask(t *testing.T, q request) answer {
	t.Helper()
	require.NoError(t, c.send(q))
	var a answer
	require.NoError(t, c.out.Decode(&a))
	require.Empty(t, a.Error)
	return a
}

// until asks until the answer is as wanted.
func (c *child) until(t *testing.T, ok func(answer) bool) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		a := c.ask(t, request{Op: "look"})
		if ok(a) {
			return a
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			require.FailNow(t, "never came", "%+v", a)
		}
	}
}

func running(cs []runtime.Container) map[string]time.Time {
	out := make(map[string]time.Time)
	for _, c := range cs {
		if c.State == runtime.Running {
			out[c.Name] = c.StartedAt
		}
	}
	return out
}

// TestAnAgentThatIsKilledFindsItsContainers kills the process of the fleet with
// SIGKILL at any moment of updates, and once between them.
func TestAnAgentThatIsKilledFindsItsContainers(t *testing.T) {
	y := needContainers(t)
	cfg := childConfig{RuntimeDir: t.TempDir(), StateDir: t.TempDir(), Shim: y.shim, Image: y.image, Ingress: "127.0.0.1:" + freePort(t)}
	t.Cleanup(func() {
		rt, err := runc.New(runc.Config{Dir: cfg.RuntimeDir, Shim: cfg.Shim})
		require.NoError(t, err)
		require.NoError(t, rt.Purge(context.Background()))
		require.NoError(t, rt.Close())
	})
	random := rand.New(rand.NewPCG(1, 2))
	c := startChild(t, cfg)
	defer func() { c.kill() }()
	c.ask(t, request{Op: "apply", Revision: 1, Greeting: "hello 1", Replicas: 2})
	ready := func(revision uint64) func(answer) bool {
		return func(a answer) bool {
			return a.Status != nil && a.Status.State == driver.Ready && a.Status.Revision == revision && len(running(a.Containers)) == 2
		}
	}
	before := c.until(t, ready(1))

	c.kill()
	c = startChild(t, cfg)
	after := c.until(t, ready(1))
	assert.Equal(t, running(before.Containers), running(after.Containers), "the same containers go on")

	for revision := uint64(2); revision < 8; revision++ {
		require.NoError(t, c.send(request{Op: "apply", Revision: revision, Greeting: fmt.Sprint("hello ", revision), Replicas: 2}))
		wait := time.NewTimer(time.Duration(random.IntN(1500)) * time.Millisecond)
		<-wait.C
		c.kill()
		c = startChild(t, cfg)
		a := c.ask(t, request{Op: "look"})
		if a.Status == nil || a.Status.Revision < revision { // killed before it was accepted
			c.ask(t, request{Op: "apply", Revision: revision, Greeting: fmt.Sprint("hello ", revision), Replicas: 2})
		}
		a = c.until(t, ready(revision))
		body, err := localGet(t.Context(), a.Status.Services[0].URIs[0]+"/")
		require.NoError(t, err)
		assert.Equal(t, fmt.Sprint("hello ", revision), body)
	}

	require.NoError(t, c.send(request{Op: "delete"}))
	wait := time.NewTimer(100 * time.Millisecond)
	<-wait.C
	c.kill()
	c = startChild(t, cfg)
	c.until(t, func(a answer) bool { return len(a.Containers) == 0 && a.Status == nil })
}
