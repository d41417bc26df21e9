//go:build unix

package script

import (
	"os/exec"
	"syscall"
)

// inGroup gives the program a process group of its own, and has all of it killed
// when the time is up.
func inGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
