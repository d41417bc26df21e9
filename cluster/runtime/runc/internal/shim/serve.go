//go:build linux && cgo

package shim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/moorage-dev/moorage/cluster/runtime/runc/internal/plan"
)

const (
	// maxConns bounds agents' connections; one agent holds one, and one per command.
	maxConns = 256
	// closeTime is how long open commands may take to report after the end.
	closeTime = 2 * time.Second
	// stdioFiles is how many open files come with an exec without terminal.
	stdioFiles = 3
)

// server takes commands.
type server struct {
	keeper   *keeper
	listener *net.UnixListener
	slots    chan struct{}
	mu       sync.Mutex
	conns    map[*net.UnixConn]struct{}
	wg       sync.WaitGroup
}

// listen opens the socket, by way of the folder's descriptor as its path may be
// longer than a socket's name.
func (k *keeper) listen() (*server, error) {
	dir, err := os.Open(k.dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	_ = os.Remove(filepath.Join(k.dir, plan.SocketFile))
	name := filepath.Join("/proc/self/fd", strconv.Itoa(int(dir.Fd())), plan.SocketFile)
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: name, Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("shim socket: %w", err)
	}
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(filepath.Join(k.dir, plan.SocketFile), 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &server{keeper: k, listener: l, slots: make(chan struct{}, maxConns), conns: map[*net.UnixConn]struct{}{}}, nil
}

// serve accepts until the listener is closed.
func (s *server) serve(ctx context.Context) {
	for {
		s.slots <- struct{}{}
		c, err := s.listener.AcceptUnix()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[c] = struct{}{}
		s.mu.Unlock()
		s.wg.Go(func() {
			s.handle(ctx, c)
			_ = c.Close()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
			<-s.slots
		})
	}
}

// close ends serving: commands in flight may report, then all connections close.
func (s *server) close() {
	_ = s.listener.Close()
	_ = os.Remove(filepath.Join(s.keeper.dir, plan.SocketFile))
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(closeTime):
		s.mu.Lock()
		for c := range s.conns {
			_ = c.Close()
		}
		s.mu.Unlock()
		<-done
	}
}

func (s *server) handle(ctx context.Context, c *net.UnixConn) {
	req, files, err := receive(c)
	defer closeFiles(files)
	if err != nil {
		return
	}
	if req.Protocol != plan.Protocol {
		_ = send(c, plan.Reply{Error: fmt.Sprintf("this shim speaks protocol %d, not %d", plan.Protocol, req.Protocol)}, nil)
		return
	}
	k := s.keeper
	switch req.Op {
	case plan.OpWait:
		_ = send(c, plan.Reply{Running: k.running}, nil)
		<-k.ended
	case plan.OpStop:
		k.stop(ctx, req.Grace)
		_ = send(c, plan.Reply{}, nil)
	case plan.OpKill:
		k.stop(ctx, 0)
		_ = send(c, plan.Reply{}, nil)
	case plan.OpExec:
		k.exec(c, req, files)
	default:
		_ = send(c, plan.Reply{Error: "unknown request " + strconv.Quote(req.Op)}, nil)
	}
}

// receive reads one message and the files that came with it.
func receive(c *net.UnixConn) (req plan.Request, files []*os.File, err error) {
	data := make([]byte, plan.MaxMessage)
	oob := make([]byte, unix.CmsgSpace(stdioFiles*4))
	n, oobn, _, _, err := c.ReadMsgUnix(data, oob)
	if err != nil {
		return req, nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return req, nil, err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "stdio"))
		}
	}
	return req, files, json.Unmarshal(data[:n], &req)
}

// send writes one message, with a file if not nil.
func send(c *net.UnixConn, r plan.Reply, file *os.File) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	var oob []byte
	if file != nil {
		oob = unix.UnixRights(int(file.Fd()))
	}
	_, _, err = c.WriteMsgUnix(data, oob, nil)
	return err
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
