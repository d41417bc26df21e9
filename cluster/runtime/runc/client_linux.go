//go:build cgo

package runc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/runc/internal/plan"
)

// shimExitTime bounds waiting for a shim to leave after its container has ended.
const shimExitTime = 15 * time.Second

// conn is a connection to a shim.
type conn struct{ *net.UnixConn }

// dial connects to the shim of a folder, or errShimGone.
func dial(ctx context.Context, dir string) (conn, error) {
	f, err := os.Open(dir)
	if err != nil {
		return conn{}, errShimGone
	}
	defer func() { _ = f.Close() }()
	var d net.Dialer
	c, err := d.DialContext(ctx, "unixpacket", filepath.Join("/proc/self/fd", strconv.Itoa(int(f.Fd())), plan.SocketFile))
	if err != nil {
		if ctx.Err() != nil {
			return conn{}, ctx.Err()
		}
		return conn{}, errShimGone
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return conn{}, errors.Join(errShimGone, c.Close())
	}
	return conn{u}, nil
}

func (c conn) send(q plan.Request, files ...*os.File) error {
	q.Protocol = plan.Protocol
	data, err := json.Marshal(q)
	if err != nil {
		return err
	}
	if len(data) > plan.MaxMessage {
		return fmt.Errorf("%w: command of %d bytes, at most %d", runtime.ErrInvalid, len(data), plan.MaxMessage)
	}
	var oob []byte
	if len(files) > 0 {
		var fds []int
		for _, f := range files {
			fds = append(fds, int(f.Fd()))
		}
		oob = unix.UnixRights(fds...)
	}
	if _, _, err = c.WriteMsgUnix(data, oob, nil); err != nil {
		return errors.Join(errShimGone, err)
	}
	return nil
}

// receive reads one reply, and a file if one came with it.
func (c conn) receive() (r plan.Reply, file *os.File, err error) {
	data := make([]byte, plan.MaxMessage)
	oob := make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := c.ReadMsgUnix(data, oob)
	if err != nil || n == 0 {
		return r, nil, errors.Join(errShimGone, err)
	}
	if messages, err := unix.ParseSocketControlMessage(oob[:oobn]); err == nil && len(messages) == 1 {
		if fds, err := unix.ParseUnixRights(&messages[0]); err == nil && len(fds) == 1 {
			unix.CloseOnExec(fds[0])
			_ = unix.SetNonblock(fds[0], true)
			file = os.NewFile(uintptr(fds[0]), "terminal")
		}
	}
	if err := json.Unmarshal(data[:n], &r); err != nil {
		return r, file, fmt.Errorf("runc: shim: %w", err)
	}
	if r.Error != "" {
		err = fmt.Errorf("runc: %s", r.Error)
		if r.Invalid {
			err = fmt.Errorf("%w: %s", runtime.ErrInvalid, r.Error)
		}
	}
	return r, file, err
}

// ask sends one request and waits for the answer or the context.
func ask(ctx context.Context, dir string, q plan.Request) error {
	c, err := dial(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	if err := c.send(q); err != nil {
		return err
	}
	_, _, err = c.receive()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// awaitShim waits until the shim has left, which is when its lock is free.
func awaitShim(ctx context.Context, dir string) error {
	deadline := now().Add(shimExitTime)
	for shimAlive(dir) {
		if now().After(deadline) {
			return fmt.Errorf("runc: the shim of %s does not leave", dir)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(killStep):
		}
	}
	return nil
}

// watch tells when a running container ends: the shim closes the connection. The
// goroutine ends then, or with Close. A shim that cannot be reached has ended: it
// may have died before its container.
func (r *Runtime) watch(name string) {
	r.watchers.Go(func() {
		defer r.hub.Publish(name)
		r.awaitEnd(name)
		if r.ctx.Err() == nil {
			r.afterEnd(name)
		}
	})
}

// awaitEnd returns when the shim of a container has ended, or with Close.
func (r *Runtime) awaitEnd(name string) {
	c, err := dial(r.ctx, r.containerDir(name))
	if err != nil {
		return
	}
	defer func() { _ = c.Close() }()
	defer context.AfterFunc(r.ctx, func() { _ = c.Close() })()
	if c.send(plan.Request{Op: plan.OpWait}) != nil {
		return
	}
	for {
		if _, _, err := c.receive(); err != nil {
			return
		}
	}
}

// afterEnd cleans up behind a shim that died before its container.
func (r *Runtime) afterEnd(name string) {
	if awaitShim(r.ctx, r.containerDir(name)) != nil {
		return
	}
	unlock, err := r.names.Lock(r.ctx, name)
	if err != nil {
		return
	}
	defer unlock()
	c, _, err := r.load(name)
	if err != nil || c.State != runtime.Exited {
		return
	}
	if err := r.bury(name, c); err != nil {
		r.log.Error("cannot clean up a lost container", "name", name, "error", err)
	}
}
