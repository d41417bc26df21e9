package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/moorage-dev/moorage/cluster/runtime"
)

// probe runs a command that only makes sense in a real container.
func probe(args []string) (code int, ok bool) {
	if len(args) == 0 {
		return 0, false
	}
	commands := map[string]func(args []string) error{
		"cat": cat, "write": write, "fill": fill, "eat": eat, "fork": fork, "mount": mount, "spin": spin,
		"mkdirs": mkdirs, "stat": stat, "unshare": unshare, "sethostname": sethostname, "listfds": listFDs, "sleep": sleep,
	}
	run := commands[args[0]]
	if run == nil {
		return 0, false
	}
	if err := run(args[1:]); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		return 3, true
	}
	return 0, true
}

func cat(args []string) error {
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	_, err = io.Copy(os.Stdout, f)
	return err
}

func write(args []string) error { return os.WriteFile(args[0], []byte(args[1]), 0o644) }

// fill writes megabytes to a file and stays.
func fill(args []string) error {
	f, err := os.Create(args[0])
	if err != nil {
		return err
	}
	n, _ := strconv.Atoi(args[1])
	for range n {
		if _, err := f.Write(bytes.Repeat([]byte("x"), 1<<20)); err != nil {
			return err
		}
	}
	_, _ = fmt.Fprintln(os.Stdout, "filled")
	time.Sleep(time.Hour)
	return nil
}

// eat touches megabytes of memory and stays.
func eat(args []string) error {
	n, _ := strconv.Atoi(args[0])
	var kept [][]byte
	for range n {
		b := bytes.Repeat([]byte{1}, 1<<20)
		kept = append(kept, b)
	}
	_, _ = fmt.Fprintln(os.Stdout, "ate", len(kept))
	time.Sleep(time.Hour)
	return nil
}

// fork starts copies that sleep, and says how many could be.
func fork(args []string) error {
	n, _ := strconv.Atoi(args[0])
	started := 0
	var last error // prints: what ended it
	for range n {
		cmd := exec.CommandContext(context.Background(), "/proc/self/exe", "sleep")
		if last = cmd.Start(); last != nil {
			break
		}
		started++
	}
	_, _ = fmt.Fprintln(os.Stdout, started, last)
	return nil //nolint:nilerr // how far it came is the answer
}

func sleep([]string) error {
	time.Sleep(time.Hour)
	return nil
}

func mount([]string) error {
	if err := os.MkdirAll("/tmp/m", 0o755); err != nil {
		return err
	}
	return unix.Mount("none", "/tmp/m", "tmpfs", 0, "")
}

func unshare([]string) error { return unix.Unshare(unix.CLONE_NEWUSER | unix.CLONE_NEWNS) }

func sethostname([]string) error { return unix.Sethostname([]byte("other")) }

func spin(args []string) error {
	n, _ := strconv.Atoi(args[0])
	var before, after unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &before)
	for end := time.Now().Add(time.Duration(n) * time.Millisecond); time.Now().Before(end); {
	}
	_ = unix.Getrusage(unix.RUSAGE_SELF, &after)
	used := time.Duration(after.Utime.Nano()+after.Stime.Nano()-before.Utime.Nano()-before.Stime.Nano()) * time.Nanosecond
	_, _ = fmt.Fprintln(os.Stdout, used.Milliseconds())
	return nil
}

// mkdirs nests folders.
func mkdirs(args []string) error {
	n, _ := strconv.Atoi(args[0])
	return os.MkdirAll("/tmp/"+strings.Repeat("d/", n), 0o755)
}

func stat(args []string) error {
	var st unix.Stat_t
	if err := unix.Lstat(args[0], &st); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(os.Stdout, "%d:%d %o\n", st.Uid, st.Gid, st.Mode&0o7777)
	return nil
}

// listFDs prints what open files lead to.
func listFDs([]string) error {
	entries, err := os.ReadDir("/proc/1/fd")
	if err != nil {
		return err
	}
	for _, e := range entries {
		target, _ := os.Readlink("/proc/1/fd/" + e.Name())
		_, _ = fmt.Fprintln(os.Stdout, e.Name(), target)
	}
	return nil
}

func terminalSize() (runtime.TerminalSize, bool) {
	ws, err := unix.IoctlGetWinsize(1, unix.TIOCGWINSZ)
	if err != nil {
		return runtime.TerminalSize{}, false
	}
	return runtime.TerminalSize{Width: ws.Col, Height: ws.Row}, true
}
