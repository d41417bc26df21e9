// Command guestd is the program that the conformance suite runs in real
// containers; see package guest, and one more command:
// size prints the size of its terminal whenever it changes. It needs nothing but a kernel: build it with
// CGO_ENABLED=0 and make an image whose entrypoint it is.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/moorage-dev/moorage/cluster/clustertest/guest"
)

func main() {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	stop := make(chan struct{})
	go func() {
		<-term
		close(stop)
	}()
	if len(os.Args) == 2 && os.Args[1] == "size" {
		os.Exit(size()) //nolint:forbidigo // this is a program
	}
	hostname, _ := os.Hostname()
	os.Exit(guest.Main( //nolint:forbidigo // this is a program
		context.Background(), guest.Process{
			Args: os.Args, Getenv: os.Getenv, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
			Hostname: hostname, Listen: listen, ListenPacket: listenPacket, Get: get, Stop: stop,
		}))
}

func listen(port uint16) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(context.Background(), "tcp", ":"+strconv.Itoa(int(port)))
}

func listenPacket(port uint16) (net.PacketConn, error) {
	var lc net.ListenConfig
	return lc.ListenPacket(context.Background(), "udp", ":"+strconv.Itoa(int(port)))
}

func get(ctx context.Context, url string) (string, error) {
	const patience, most = 3 * time.Second, 1 << 20
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, most))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d", res.StatusCode)
	}
	return string(body), err
}
