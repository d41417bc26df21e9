// Package guest is the program inside the conformance suite's containers. It is
// written against [World], so that the same commands run as a process in a real
// container and as a function in a runtime in memory.
package guest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/moorage-dev/moorage/cluster/runtime"
)

// World is what the program sees.
type World struct {
	// Args are the command's words after the program's name.
	Args, Env      []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Stop is closed when asked to end.
	Stop <-chan struct{}
	// Resize gives sizes of the terminal as they come, the first at once.
	Resize   <-chan runtime.TerminalSize
	Hostname func() string
	Lookup   func(name string) []netip.Addr
	Listen   func(port uint16) (net.Listener, error)
	Dial     func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
}

// Exit codes of its own.
const (
	Failed  = 3
	Unknown = 127
)

type command func(ctx context.Context, w World) int

// Run runs the command in w.Args and returns its exit code.
func Run(ctx context.Context, w World) int {
	commands := map[string]command{
		"wait": wait, "stubborn": stubborn, "exit": exit, "print": printLines, "mixed": mixed,
		"serve": serve, "fetch": fetch, "lookup": lookup, "env": env, "args": args, "hostname": hostname,
		"echo": echo, "sizes": sizes, "tick": tick,
	}
	if len(w.Args) == 0 {
		return wait(ctx, w)
	}
	run, ok := commands[w.Args[0]]
	if !ok {
		return Unknown
	}
	return run(ctx, w)
}

func (w World) arg(n int) string {
	if n < len(w.Args) {
		return w.Args[n]
	}
	return ""
}

func (w World) number(n int) int {
	v, _ := strconv.Atoi(w.arg(n))
	return v
}

func (w World) println(a ...any) { _, _ = fmt.Fprintln(w.Stdout, a...) }

func (w World) fail(err error) int {
	_, _ = fmt.Fprintln(w.Stderr, err)
	return Failed
}

// wait says "ready" and ends well when asked.
func wait(ctx context.Context, w World) int {
	w.println("ready")
	select {
	case <-w.Stop:
		return 0
	case <-ctx.Done():
		return Failed
	}
}

// stubborn does not end when asked.
func stubborn(ctx context.Context, w World) int {
	w.println("ready")
	<-ctx.Done()
	return Failed
}

func exit(_ context.Context, w World) int { return w.number(1) }

// printLines prints lines "0" to n-1, each followed by a text.
func printLines(_ context.Context, w World) int {
	for i := range w.number(1) {
		w.println(i, w.arg(2))
	}
	return 0
}

// mixed prints on both streams.
func mixed(_ context.Context, w World) int {
	w.println("to stdout")
	_, _ = fmt.Fprintln(w.Stderr, "to stderr")
	return 0
}

// tick prints a number for each line that arrives on port n, until asked to end.
func tick(ctx context.Context, w World) int {
	return listen(ctx, w, func(n int, _ net.Conn) { w.println("tick", n) })
}

// serve answers each connection to a port with a text.
func serve(ctx context.Context, w World) int {
	return listen(ctx, w, func(_ int, c net.Conn) { _, _ = fmt.Fprintln(c, w.arg(2)) })
}

func listen(ctx context.Context, w World, on func(n int, c net.Conn)) int {
	l, err := w.Listen(uint16(w.number(1)))
	if err != nil {
		return w.fail(err)
	}
	end := func() { _ = l.Close() }
	defer context.AfterFunc(ctx, end)()
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-w.Stop:
		case <-done:
		}
		end()
	}()
	w.println("ready")
	for n := 0; ; n++ {
		c, err := l.Accept()
		if err != nil {
			return 0
		}
		on(n, c)
		_ = c.Close()
	}
}

// fetch connects to a name or address and port and prints what comes.
func fetch(ctx context.Context, w World) int {
	addr, err := netip.ParseAddr(w.arg(1))
	if err != nil {
		found := w.Lookup(w.arg(1))
		if len(found) == 0 {
			return w.fail(fmt.Errorf("unknown name %s", w.arg(1)))
		}
		addr = found[0]
	}
	c, err := w.Dial(ctx, netip.AddrPortFrom(addr, uint16(w.number(2))))
	if err != nil {
		return w.fail(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := io.Copy(w.Stdout, c); err != nil {
		return w.fail(err)
	}
	return 0
}

func lookup(_ context.Context, w World) int {
	found := w.Lookup(w.arg(1))
	for _, a := range found {
		w.println(a)
	}
	if len(found) == 0 {
		return Failed
	}
	return 0
}

// env prints a variable's last value.
func env(_ context.Context, w World) int {
	value, ok := "", false
	for _, e := range w.Env {
		if name, v, _ := strings.Cut(e, "="); name == w.arg(1) {
			value, ok = v, true
		}
	}
	if !ok {
		return Failed
	}
	w.println(value)
	return 0
}

func args(_ context.Context, w World) int {
	for _, a := range w.Args[1:] {
		w.println(a)
	}
	return 0
}

func hostname(_ context.Context, w World) int {
	w.println(w.Hostname())
	return 0
}

// echo copies input to output, and its first word to errors.
func echo(_ context.Context, w World) int {
	_, _ = fmt.Fprint(w.Stderr, w.arg(1))
	if _, err := io.Copy(w.Stdout, w.Stdin); err != nil {
		return w.fail(err)
	}
	return 0
}

// sizes prints the terminal's sizes until one is as wide as asked for.
func sizes(ctx context.Context, w World) int {
	for {
		select {
		case s, ok := <-w.Resize:
			if !ok {
				return Failed
			}
			w.println(fmt.Sprintf("%dx%d", s.Width, s.Height))
			if int(s.Width) == w.number(1) {
				return 0
			}
		case <-ctx.Done():
			return Failed
		}
	}
}

// HostsLookup resolves by a file in the form of /etc/hosts.
func HostsLookup(path string) func(name string) []netip.Addr {
	return func(name string) (out []netip.Addr) {
		f, err := os.Open(path)
		if err != nil {
			return nil
		}
		defer func() { _ = f.Close() }()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			fields := strings.Fields(lines.Text())
			for _, n := range fields[min(1, len(fields)):] {
				if a, err := netip.ParseAddr(fields[0]); err == nil && n == name {
					out = append(out, a)
				}
			}
		}
		return out
	}
}
