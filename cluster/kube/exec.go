package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/httpstream" //nolint:staticcheck // what client-go's dialers still give
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/client-go/util/exec"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/kube/internal/render"
	"github.com/moorage-dev/moorage/market"
)

// pod finds the pod of a replica.
func (d *Driver) pod(id market.LeaseID, service string, index uint32) (*corev1.Pod, error) {
	v, ok := d.view(id)
	if !ok || v.state == nil {
		return nil, driver.ErrNotFound
	}
	for _, s := range v.state.Workload.Group.Services {
		if s.Name != service {
			continue
		}
		newest, _ := podsOf(v, s)
		for _, r := range newest {
			if r.index == index && index < s.Count {
				return r.pod, nil
			}
		}
		if index < s.Count {
			return nil, fmt.Errorf("%w: replica %d of %s has not been made yet", driver.ErrNotFound, index, service)
		}
	}
	return nil, driver.ErrNotFound
}

// Exec implements [driver.Execer]. Kubernetes has no way to end a command: when
// the context ends, its streams are closed; with a terminal it is told by a
// hang-up, and without one it notices when it reads or writes.
func (d *Driver) Exec(ctx context.Context, id market.LeaseID, x driver.Exec) (int, error) {
	if err := d.check(ctx); err != nil {
		return 0, err
	}
	p, err := d.pod(id, x.Service, x.Replica)
	if err != nil {
		return 0, err
	}
	if !running(p) {
		return 0, fmt.Errorf("%w: replica %d of %s does not run", driver.ErrNotFound, x.Replica, x.Service)
	}
	ctx, cancel := d.bound(ctx)
	defer cancel()
	req := d.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(p.Namespace).Name(p.Name).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{
			Container: render.Container, Command: x.Command, TTY: x.TTY,
			Stdin: x.Stdin != nil, Stdout: true, Stderr: !x.TTY,
		}, scheme.ParameterCodec)
	stream, err := d.executor(req.URL())
	if err != nil {
		return 0, fmt.Errorf("kube: exec: %w", err)
	}
	o := remotecommand.StreamOptions{Stdin: x.Stdin, Stdout: orDiscard(x.Stdout), Tty: x.TTY}
	if !x.TTY {
		o.Stderr = orDiscard(x.Stderr)
	} else if x.Resize != nil {
		o.TerminalSizeQueue = sizes{ctx, x.Resize}
	}
	return d.exitCode(ctx, stream.StreamWithContext(ctx, o))
}

// exitCode reads how a command ended.
func (d *Driver) exitCode(ctx context.Context, err error) (int, error) {
	var exit exec.CodeExitError
	switch {
	case err == nil:
		return 0, nil
	case ctx.Err() != nil:
		select {
		case <-d.closed:
			return 0, driver.ErrClosed
		default:
			return 0, context.Cause(ctx)
		}
	case errors.As(err, &exit):
		return exit.Code, nil
	case apierrors.IsNotFound(err):
		return 0, fmt.Errorf("%w: %w", driver.ErrNotFound, err)
	}
	return 0, explain("exec", err)
}

// bound ends a context when the driver is closed.
func (d *Driver) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-d.closed:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// executor streams over websockets, and over the older way where a proxy or an
// old server does not let them through.
func (d *Driver) executor(u *url.URL) (remotecommand.Executor, error) {
	web, err := remotecommand.NewWebSocketExecutor(d.rest, http.MethodGet, u.String())
	if err != nil {
		return nil, err
	}
	old, err := remotecommand.NewSPDYExecutor(d.rest, http.MethodPost, u)
	if err != nil {
		return nil, err
	}
	return remotecommand.NewFallbackExecutor(web, old, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
}

func orDiscard(w io.Writer) io.Writer { return cmp.Or[io.Writer](w, io.Discard) }

// sizes hands on the sizes of a terminal.
type sizes struct {
	ctx context.Context //nolint:containedctx // Next has no other way to hear of the end
	in  <-chan driver.TerminalSize
}

// Next implements [remotecommand.TerminalSizeQueue].
func (s sizes) Next() *remotecommand.TerminalSize {
	select {
	case size, ok := <-s.in:
		if !ok {
			<-s.ctx.Done() // the terminal keeps the size it has
			return nil
		}
		return &remotecommand.TerminalSize{Width: size.Width, Height: size.Height}
	case <-s.ctx.Done():
		return nil
	}
}

// PortForward connects to a TCP port of a replica through the API server, so
// that an operator reaches what is not open to the world. The connection ends
// with the context at the latest. ErrNotFound as in Exec.
func (d *Driver) PortForward(ctx context.Context, id market.LeaseID, service string, index uint32, port uint16) (net.Conn, error) {
	if err := d.check(ctx); err != nil {
		return nil, err
	}
	p, err := d.pod(id, service, index)
	if err != nil {
		return nil, err
	}
	u := d.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(p.Namespace).Name(p.Name).SubResource("portforward").URL()
	dialer, err := d.forwardDialer(u)
	if err != nil {
		return nil, fmt.Errorf("kube: port-forward: %w", err)
	}
	stream, _, err := dialer.Dial(portforward.PortForwardProtocolV1Name)
	if err != nil {
		return nil, explain("port-forward", err)
	}
	return newForward(ctx, stream, port)
}

func (d *Driver) forwardDialer(u *url.URL) (httpstream.Dialer, error) {
	transport, upgrader, err := spdy.RoundTripperFor(d.rest)
	if err != nil {
		return nil, err
	}
	old := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, u)
	web, err := portforward.NewSPDYOverWebsocketDialer(u, d.rest)
	if err != nil {
		return nil, err
	}
	return portforward.NewFallbackDialer(web, old, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	}), nil
}

// forward is a connection to a port of a pod.
type forward struct {
	net.Conn
	stop func() bool
	once sync.Once
	all  httpstream.Connection
}

// newForward opens the two streams of a forwarded port: one for errors, one for
// data, joined to a pipe.
func newForward(ctx context.Context, c httpstream.Connection, port uint16) (net.Conn, error) {
	h := http.Header{}
	h.Set(corev1.PortHeader, strconv.Itoa(int(port)))
	h.Set(corev1.PortForwardRequestIDHeader, "0")
	h.Set(corev1.StreamType, corev1.StreamTypeError)
	faults, err := c.CreateStream(h)
	if err != nil {
		return nil, errors.Join(explain("port-forward", err), c.Close())
	}
	if err := faults.Close(); err != nil { // nothing is written to it
		return nil, errors.Join(explain("port-forward", err), c.Close())
	}
	h.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := c.CreateStream(h)
	if err != nil {
		return nil, errors.Join(explain("port-forward", err), c.Close())
	}
	ours, theirs := net.Pipe()
	f := &forward{Conn: ours, all: c}
	f.stop = context.AfterFunc(ctx, func() { _ = f.Close() })
	go func() { // ends when either side does
		_, _ = io.Copy(data, theirs)
		_ = data.Close()
	}()
	go func() {
		_, _ = io.Copy(theirs, data)
		_ = theirs.Close()
	}()
	return f, nil
}

// Close ends the connection. A second call does nothing.
func (f *forward) Close() error {
	var err error
	f.once.Do(func() {
		f.stop()
		err = errors.Join(f.Conn.Close(), f.all.Close())
	})
	return err
}
