//go:build linux && cgo

package runc_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/runc"
)

const agentRounds = "MOORAGE_TEST_AGENT_ROUNDS"

// TestAgentThatStartsAndRemoves starts and removes containers until it is killed.
func TestAgentThatStartsAndRemoves(t *testing.T) {
	dir := os.Getenv(agentRounds)
	if dir == "" {
		t.Skip("run by another test, as a process of its own")
	}
	r, err := runc.New(runc.Config{Dir: dir, Shim: os.Getenv(agentShim)})
	require.NoError(t, err)
	im, err := r.Pull(t.Context(), runtime.PullRequest{Reference: os.Getenv(agentImage)})
	require.NoError(t, err)
	fmt.Println("ready")
	for n := 0; ; n++ {
		network := fmt.Sprint("net-", n%2)
		_, err = r.EnsureNetwork(t.Context(), network)
		require.NoError(t, err)
		name := fmt.Sprint("c-", n%3)
		_, err = r.Start(t.Context(), runtime.Spec{Name: name, Image: im.Digest, Network: network, Args: []string{"wait"}})
		require.NoError(t, err)
		require.NoError(t, r.Remove(t.Context(), fmt.Sprint("c-", (n+1)%3)))
		if n%2 == 1 {
			_ = r.DeleteNetwork(t.Context(), network)
		}
	}
}

// killAfter runs the agent and kills it some time after its first start began.
func killAfter(t *testing.T, w *workshop, dir string, delay time.Duration) {
	t.Helper()
	agent := exec.Command(os.Args[0], "-test.run=^TestAgentThatStartsAndRemoves$", "-test.v")
	agent.Env = append(os.Environ(), agentRounds+"="+dir, agentShim+"="+w.shim, agentImage+"="+w.reference)
	out, err := agent.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, agent.Start())
	seen, buf := "", make([]byte, 1024)
	for !strings.Contains(seen, "ready\n") {
		n, err := out.Read(buf)
		seen += string(buf[:n])
		require.NoError(t, err, seen)
	}
	<-time.After(delay)
	require.NoError(t, agent.Process.Kill())
	_ = agent.Wait()
}

func TestWhateverMomentTheAgentIsKilledTheNextFindsAWholeState(t *testing.T) {
	t.Parallel()
	w := needRoot(t)
	dir := t.TempDir()
	for _, ms := range []int{0, 3, 11, 24, 37, 52, 71, 90, 120, 170} {
		killAfter(t, w, dir, time.Duration(ms)*time.Millisecond)
		r, err := runc.New(runc.Config{Dir: dir, Shim: w.shim})
		require.NoError(t, err, "killed after %d ms", ms)
		list, err := r.List(t.Context())
		require.NoError(t, err)
		for _, c := range list {
			assert.Equal(t, runtime.Running, c.State, "killed after %d ms: %+v", ms, c)
			code, _, errs := run(t, r, c.Name, "hostname")
			assert.Zero(t, code, errs)
		}
		require.NoError(t, r.Close())
	}
	r := openIn(t, w, dir, nil)
	require.NoError(t, r.Purge(t.Context()))
	list, err := r.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, list)
}

func TestManyContainersAtATime(t *testing.T) {
	t.Parallel()
	w := needRoot(t)
	dir := t.TempDir()
	r := openIn(t, w, dir, nil)
	image := pulled(t, r, w.reference)
	const networks, each = 4, 5
	var wg sync.WaitGroup
	errs := make([]error, networks*each)
	for n := range networks {
		for i := range each {
			wg.Go(func() {
				network := fmt.Sprint("net-", n)
				if _, err := r.EnsureNetwork(t.Context(), network); err != nil {
					errs[n*each+i] = err
					return
				}
				_, errs[n*each+i] = r.Start(t.Context(), runtime.Spec{
					Name: fmt.Sprintf("c-%d-%d", n, i), Image: image, Network: network, Args: []string{"wait"},
				})
			})
		}
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.NoError(t, r.Close())
	r = openIn(t, w, dir, nil)
	list, err := r.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, networks*each)
	addresses := map[string]bool{}
	for _, c := range list {
		assert.Equal(t, runtime.Running, c.State)
		assert.False(t, addresses[c.Address.String()], "two have %s", c.Address)
		addresses[c.Address.String()] = true
	}
	for _, c := range list {
		wg.Go(func() { assert.NoError(t, r.Remove(t.Context(), c.Name)) })
	}
	wg.Wait()
	for n := range networks {
		require.NoError(t, r.DeleteNetwork(t.Context(), fmt.Sprint("net-", n)))
	}
}
