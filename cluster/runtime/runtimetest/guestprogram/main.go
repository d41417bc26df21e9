// Command guestprogram is the guest as a program: what the conformance suite puts
// into an image. It also has commands that look at the walls of its container.
package main

import (
	"context"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/runtimetest/guest"
)

// dialTime is how long a blocked connection is tried.
const dialTime = 2 * time.Second

func main() {
	if code, ok := probe(os.Args[1:]); ok {
		os.Exit(code) //nolint:forbidigo // a program
	}
	stop, stopped := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		<-stop
		close(stopped)
	}()
	dialer := net.Dialer{Timeout: dialTime}
	code := guest.Run(context.Background(), guest.World{
		Args: os.Args[1:], Env: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Stop: stopped, Resize: resizes(),
		Hostname: func() string { h, _ := os.Hostname(); return h },
		Lookup:   guest.HostsLookup("/etc/hosts"),
		Listen: func(port uint16) (net.Listener, error) {
			var c net.ListenConfig
			return c.Listen(context.Background(), "tcp4", ":"+strconv.Itoa(int(port)))
		},
		Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", to.String())
		},
	})
	os.Exit(code) //nolint:forbidigo // a program
}

// resizes gives the terminal's size at once and at each change.
func resizes() <-chan runtime.TerminalSize {
	out := make(chan runtime.TerminalSize)
	changes := make(chan os.Signal, 1)
	signal.Notify(changes, syscall.SIGWINCH)
	go func() {
		for {
			if s, ok := terminalSize(); ok {
				out <- s
			}
			<-changes
		}
	}()
	return out
}
