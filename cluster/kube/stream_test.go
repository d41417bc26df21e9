package kube_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/clustertest/guest"
	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/kube"
	"github.com/moorage-dev/moorage/market"
)

// execute runs a command and returns what it printed.
func execute(ctx context.Context, d driver.Execer, id market.LeaseID, service string, command ...string) (string, int, error) {
	var out, errs bytes.Buffer
	code, err := d.Exec(ctx, id, driver.Exec{Service: service, Command: command, Stdout: &out, Stderr: &errs})
	return out.String() + errs.String(), code, err
}

func TestATerminalHasItsSizeAndAnExitCode(t *testing.T) {
	r := realCluster(t)
	s := r.start(t, r.service("web", "hi"))
	resize := make(chan driver.TerminalSize, 1)
	resize <- driver.TerminalSize{Width: 91, Height: 17}
	out, in := io.Pipe()
	ended := make(chan error, 1)
	code := 0
	go func() {
		var err error
		code, err = s.d.Exec(t.Context(), s.id, driver.Exec{
			Service: "web", Command: []string{"/guestd", "size"}, TTY: true, Stdout: in, Resize: resize,
		})
		_ = in.Close()
		ended <- err
	}()
	lines := bufio.NewScanner(out)
	next := func() string {
		require.True(t, lines.Scan(), "the command has ended")
		return strings.TrimSpace(lines.Text())
	}
	for next() != "91x17" { // it may begin with another size
	}
	resize <- driver.TerminalSize{Width: 40, Height: 10}
	for next() != "40x10" {
	}
	resize <- driver.TerminalSize{Width: 7, Height: 7} // the size at which it ends with code 7
	go func() { _, _ = io.Copy(io.Discard, out) }()
	require.NoError(t, <-ended)
	assert.Equal(t, 7, code)
}

func TestAPortIsReachedThroughTheServer(t *testing.T) {
	r := realCluster(t)
	s := r.start(t, r.service("web", "through the server"))
	conn, err := s.d.PortForward(t.Context(), s.id, "web", 0, 8080)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Equal(t, "through the server", string(body))
	_, err = s.d.PortForward(t.Context(), s.id, "web", 3, 8080)
	require.ErrorIs(t, err, driver.ErrNotFound)
}

func TestEventsSayWhatHappened(t *testing.T) {
	r := realCluster(t)
	s := r.start(t, r.service("web", "hi"))
	events, err := s.d.Events(t.Context(), s.id)
	require.NoError(t, err)
	assert.True(t, slices.ContainsFunc(events, func(e kube.Event) bool { return e.Kind == "Pod" && e.Reason == "Started" && !e.Time.IsZero() }), "%+v", events)
	_, err = s.d.Events(t.Context(), lease("nobody", 1))
	require.ErrorIs(t, err, driver.ErrNotFound)
}

func TestTheLogGoesOnOverRestarts(t *testing.T) {
	r := realCluster(t)
	s := r.start(t, r.service("web", "hi"))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	hellos := make(chan struct{}, 10)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for l, err := range s.d.Logs(ctx, s.id, driver.LogOptions{Follow: true, Tail: -1}) {
			if err == nil && strings.HasPrefix(l.Text, guest.Hello) {
				hellos <- struct{}{}
			}
		}
	}()
	wait := func(what string) {
		select {
		case <-hellos:
		case <-ctx.Done():
			t.Fatal(what + " did not say hello")
		}
	}
	wait("the first container")
	uri := ready(t, s.d, s.id, 1).Services[0].URIs[0]
	eventually(t, func() error { _, err := r.get(ctx, uri+"/exit?code=1"); return err })
	wait("the container after a restart")
	select {
	case <-hellos:
		t.Fatal("what the first container said came twice")
	case <-time.After(time.Second):
	}
	eventually(t, func() error {
		st, err := s.d.Status(ctx, s.id)
		if err == nil && st.Services[0].Replicas[0].Restarts != 1 {
			err = fmt.Errorf("%d restarts", st.Services[0].Replicas[0].Restarts)
		}
		return err
	})
	eventually(t, func() error { // a node that is busy may say once that it cannot read the log
		n := 0
		var all []string
		for l, err := range s.d.Logs(ctx, s.id, driver.LogOptions{Tail: -1}) {
			require.NoError(t, err)
			all = append(all, l.Time.Format(time.RFC3339Nano)+" "+l.Text)
			if strings.HasPrefix(l.Text, guest.Hello) {
				n++
			}
		}
		if n != 2 {
			return fmt.Errorf("the log of the container before is read too: %d hellos in %q", n, all)
		}
		return nil
	})
	cancel()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("the stream goes on without its context")
	}
}
