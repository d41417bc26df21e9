// Hello is the web server of the bundled demonstration: a page that says which
// version runs where, a line in the log for every request, and an end without
// lost requests when it is asked to stop.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "hello:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) > 0 && args[0] == "whoami" {
		return whoami()
	}
	if len(args) > 1 && args[0] == "env" {
		fmt.Println(os.Getenv(args[1]))
		return nil
	}
	greeting := os.Getenv("GREETING")
	if greeting == "" {
		greeting = "Hello"
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		fmt.Printf("%s %s %s from %s\n", time.Now().UTC().Format(time.RFC3339), r.Method, r.URL.Path, r.RemoteAddr)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if peer := os.Getenv("PEER"); peer != "" {
			fmt.Fprintf(w, "<p>%s says: %s</p>\n", peer, ask(r.Context(), peer))
		}
		fmt.Fprintf(w, page, greeting, host, os.Getenv("AKASH_DEPLOYMENT_SEQUENCE"))
	})
	server := &http.Server{Addr: ":8080", Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }()
	fmt.Printf("listening on %s, greeting %q\n", server.Addr, greeting)
	if address := os.Getenv("UDP"); address != "" {
		go func() { ended <- greet(address, greeting) }()
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	fmt.Println("stopping")
	last, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(last); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// greet answers every datagram with the greeting and the client's address.
func greet(address, greeting string) error {
	conn, err := new(net.ListenConfig).ListenPacket(context.Background(), "udp", address)
	if err != nil {
		return err
	}
	buf := make([]byte, 1500)
	for {
		_, from, err := conn.ReadFrom(buf)
		if err != nil {
			return err
		}
		if _, err := conn.WriteTo(fmt.Appendf(nil, "%s, %s\n", greeting, from), from); err != nil {
			fmt.Println("udp:", err)
		}
	}
}

// ask gets a line from another service of the lease.
func ask(ctx context.Context, peer string) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+peer+"/", nil)
	if err != nil {
		return err.Error()
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close() //nolint:errcheck // the body was read, or the error counts
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<16))
	if err != nil {
		return err.Error()
	}
	_, rest, _ := strings.Cut(string(body), "<h1>")
	heading, _, _ := strings.Cut(rest, "</h1>")
	return heading
}

const page = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Moorage</title>
<style>body{font:18px/1.6 system-ui,sans-serif;max-width:34em;margin:12vh auto;padding:0 1em}small{color:#666}</style>
</head><body>
<h1>%s from a leased container</h1>
<p>A tenant asked for this page in SDL, a provider won the lease, and it is paid for block by block.</p>
<small>container %s, deployment %s</small>
</body></html>
`

// whoami shows what the container may do; it is what "exec" runs in the demo,
// whose image has no shell.
func whoami() error {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	fmt.Printf("uid %d on %s\n", os.Getuid(), host)
	for line := range strings.Lines(string(status)) {
		for _, want := range []string{"CapEff:", "NoNewPrivs:", "Seccomp:"} {
			if strings.HasPrefix(line, want) {
				fmt.Print(line)
			}
		}
	}
	return nil
}
