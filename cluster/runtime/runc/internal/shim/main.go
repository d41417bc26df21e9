//go:build linux && cgo

package shim

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"syscall"

	_ "github.com/opencontainers/cgroups/devices" // lets cgroup managers set device rules
	"github.com/opencontainers/runc/libcontainer"
	_ "github.com/opencontainers/runc/libcontainer/nsenter" // enters namespaces before Go starts
	"github.com/opencontainers/runc/libcontainer/seccomp"
	"golang.org/x/sys/unix"

	"github.com/moorage-dev/moorage/cluster/runtime/runc/internal/plan"
)

// Name is what the process calls itself, args[0].
const Name = "moorage-shim"

// Verbs, args[1].
const (
	verbInit  = "init" // of libcontainer, inside a new container
	verbHold  = "hold" // keeps a user namespace open
	VerbProbe = "probe"
	VerbSpawn = "spawn" // becomes the parent of run and leaves
	verbRun   = "run"
)

// startPipe is where run reports that the container runs, or why not.
const startPipe = 3

// IsInit reports whether this process is libcontainer's first process in a
// container and not what its name says.
func IsInit(args []string) bool {
	return len(args) > 1 && args[1] == verbInit && os.Getenv("_LIBCONTAINER_INITPIPE") != ""
}

// Main runs the verb in args and returns the exit code.
func Main(args []string) int {
	if IsInit(args) {
		libcontainer.Init() // does not return
	}
	if len(args) < 2 {
		return explain()
	}
	switch {
	case args[1] == verbHold:
		_, _ = os.Stdin.Read(make([]byte, 1))
		return 0
	case args[1] == VerbProbe && len(args) == 3:
		return probe(args[2])
	case args[1] == VerbSpawn && len(args) == 3:
		return report(spawn(args[2]))
	case args[1] == verbRun && len(args) == 3:
		lean()
		return report(run(args[2]))
	}
	return explain()
}

func explain() int {
	_, _ = fmt.Fprintln(os.Stderr, "moorage-shim stands beside one container of Moorage's embedded runc; the agent starts it.")
	return 2
}

func report(err error) int {
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// lean keeps the heap small: a machine has one shim for each container.
func lean() {
	const percent, limit = 25, 24 << 20
	debug.SetGCPercent(percent)
	debug.SetMemoryLimit(limit)
}

// spawn starts run in a session and a mount namespace of its own and leaves it
// to the machine's first process.
func spawn(dir string) error {
	cmd := exec.CommandContext(context.Background(), "/proc/self/exe", verbRun, dir)
	cmd.Args[0] = Name
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{os.NewFile(startPipe, "start")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: unix.CLONE_NEWNS}
	return cmd.Start()
}

// probe prints what this shim can do on this machine with images in dir.
func probe(dir string) int {
	p := plan.Probe{Protocol: plan.Protocol, Seccomp: seccomp.Enabled}
	if err := tryIDMap(dir); err != nil {
		p.UserNS = err.Error()
	}
	return report(json.NewEncoder(os.Stdout).Encode(p))
}
