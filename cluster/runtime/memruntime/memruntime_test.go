package memruntime_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/memruntime"
)

func pulled(t *testing.T, m *memruntime.Machine, rt *memruntime.Runtime, im memruntime.Image) string {
	t.Helper()
	m.AddImage("app:1", im)
	got, err := rt.Pull(t.Context(), runtime.PullRequest{Reference: "app:1"})
	require.NoError(t, err)
	return got.Digest
}

func TestContainersOutliveTheRuntimeThatMadeThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memruntime.NewMachine()
		defer m.Close()
		rt := m.Open()
		digest := pulled(t, m, rt, memruntime.Image{})
		_, err := rt.Start(t.Context(), runtime.Spec{Name: "a", Image: digest})
		require.NoError(t, err)
		require.NoError(t, rt.Close())
		_, err = rt.List(t.Context())
		require.Error(t, err)

		again := m.Open()
		list, err := again.List(t.Context())
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.Equal(t, runtime.Running, list[0].State)
	})
}

func TestAStopThatIsIgnoredEndsInAKillAfterTheGraceTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memruntime.NewMachine()
		defer m.Close()
		rt := m.Open()
		digest := pulled(t, m, rt, memruntime.Image{Program: func(ctx context.Context, _ *memruntime.Process) int {
			<-ctx.Done()
			return 1
		}})
		_, err := rt.Start(t.Context(), runtime.Spec{Name: "a", Image: digest})
		require.NoError(t, err)
		before := time.Now()
		require.NoError(t, rt.Stop(t.Context(), "a", time.Minute))
		require.Equal(t, time.Minute, time.Since(before))
		c, err := rt.Inspect(t.Context(), "a")
		require.NoError(t, err)
		require.Equal(t, runtime.Exited, c.State)
		require.Equal(t, 137, c.ExitCode)
		require.Equal(t, "stopped", c.Reason)
	})
}

func TestAFaultHitsAsOftenAsAsked(t *testing.T) {
	m := memruntime.NewMachine()
	defer m.Close()
	rt := m.Open()
	digest := pulled(t, m, rt, memruntime.Image{})
	boom := errors.New("boom")
	m.Inject(memruntime.Fault{Op: memruntime.OpStart, Err: boom, Times: 1})
	m.Inject(memruntime.Fault{Op: memruntime.OpStart, Err: boom, Times: 1, After: true})
	_, err := rt.Start(t.Context(), runtime.Spec{Name: "a", Image: digest})
	require.ErrorIs(t, err, boom)
	_, err = rt.Inspect(t.Context(), "a")
	require.ErrorIs(t, err, runtime.ErrNotFound)
	_, err = rt.Start(t.Context(), runtime.Spec{Name: "a", Image: digest})
	require.ErrorIs(t, err, boom, "the answer is lost")
	_, err = rt.Inspect(t.Context(), "a")
	require.NoError(t, err, "but the work was done")
	require.Equal(t, 2, m.Calls(memruntime.OpStart))
}

func TestACrashIsReportedToWatchers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memruntime.NewMachine()
		defer m.Close()
		rt := m.Open()
		digest := pulled(t, m, rt, memruntime.Image{})
		_, err := rt.Start(t.Context(), runtime.Spec{Name: "a", Image: digest})
		require.NoError(t, err)
		seq := rt.Watch(t.Context())
		require.True(t, m.Crash("a", 137, "out of memory"))
		for name, err := range seq {
			require.NoError(t, err)
			require.Equal(t, "a", name)
			break
		}
		c, err := rt.Inspect(t.Context(), "a")
		require.NoError(t, err)
		require.Equal(t, "out of memory", c.Reason)
	})
}

// A web server in a container, reached as the machine reaches it.
func ExampleMachine_DialContext() {
	m := memruntime.NewMachine()
	defer m.Close()
	listening := make(chan struct{})
	m.AddImage("hello:1", memruntime.Image{Program: func(ctx context.Context, p *memruntime.Process) int {
		l, err := p.Listen(80)
		if err != nil {
			return 1
		}
		close(listening)
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "hello from memory")
		}))
		<-ctx.Done()
		return 0
	}})
	rt := m.Open()
	ctx := context.Background()
	image, _ := rt.Pull(ctx, runtime.PullRequest{Reference: "hello:1"})
	_, _ = rt.EnsureNetwork(ctx, "lan")
	c, _ := rt.Start(ctx, runtime.Spec{Name: "web", Image: image.Digest, Network: "lan"})

	client := http.Client{Transport: &http.Transport{DialContext: m.DialContext}}
	<-listening
	res, err := client.Get("http://" + c.Address.String() + ":80/")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = res.Body.Close() }()
	body, _ := io.ReadAll(res.Body)
	fmt.Println(string(body))
	// Output: hello from memory
}
