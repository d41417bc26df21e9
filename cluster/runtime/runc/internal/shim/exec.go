//go:build linux && cgo

package shim

import (
	"errors"
	"net"
	"os"

	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/utils"
	"golang.org/x/sys/unix"

	"github.com/moorage-dev/moorage/cluster/runtime/runc/internal/plan"
)

// exec runs a command in the container for one connection: the agent holds the
// other ends of its streams, or gets the terminal's master. When the connection
// closes the command is killed.
func (k *keeper) exec(c *net.UnixConn, req plan.Request, files []*os.File) {
	process := newProcess(k.plan.OCI.Process, false)
	process.Args = req.Args
	process.Env = append(append([]string(nil), process.Env...), req.Env...)
	var master *os.File
	var err error
	if req.TTY {
		master, err = k.startTerminal(process, req)
	} else {
		err = k.startPlain(process, files)
	}
	closeFiles(files)
	if err != nil {
		_ = send(c, plan.Reply{Error: err.Error(), Invalid: blamesSpec(err)}, nil)
		return
	}
	err = send(c, plan.Reply{Started: true}, master)
	if master != nil {
		_ = master.Close()
	}
	gone := make(chan struct{})
	go func() { // ends when the connection does, which the caller closes
		defer close(gone)
		if err == nil {
			_, _ = c.Read(make([]byte, 1))
		}
		_ = process.Signal(unix.SIGKILL)
	}()
	state, _ := process.Wait()
	code := -1
	if state != nil {
		code = exitCode(state)
	}
	_ = send(c, plan.Reply{ExitCode: code}, nil)
	_ = c.Close()
	<-gone
}

func (k *keeper) startPlain(p *libcontainer.Process, files []*os.File) error {
	if len(files) != stdioFiles {
		return errors.New("exec needs three open files")
	}
	for _, f := range files {
		_ = f.Chown(k.hostRoot(), k.hostRoot()) // so that /dev/stdout can be opened anew inside
	}
	p.Stdin, p.Stdout, p.Stderr = files[0], files[1], files[2]
	return k.container.Run(p)
}

func (k *keeper) startTerminal(p *libcontainer.Process, req plan.Request) (*os.File, error) {
	parent, child, err := utils.NewSockPair("console")
	if err != nil {
		return nil, err
	}
	defer func() { _, _ = parent.Close(), child.Close() }()
	p.ConsoleSocket, p.ConsoleWidth, p.ConsoleHeight = child, req.Width, req.Height
	if !hasEnv(p.Env, "TERM") {
		p.Env = append(p.Env, "TERM=xterm")
	}
	if err := k.container.Run(p); err != nil {
		return nil, err
	}
	master, err := utils.RecvFile(parent)
	if err != nil {
		_ = p.Signal(unix.SIGKILL)
		_, _ = p.Wait()
		return nil, err
	}
	return master, nil
}
