// Package guest is the program that the conformance suite runs in containers.
// It does what the suite asks for, so that a driver is judged by what a workload
// sees and not by what the driver says.
//
// Command guestd is the program for real containers; a driver in memory calls
// [Main] itself.
package guest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// DefaultPort is where the guest serves HTTP unless PORT says otherwise.
const DefaultPort = 8080

// Process is the guest's view of its container. All fields but ListenPacket are needed.
type Process struct {
	// Args has the program first, then the command.
	Args           []string
	Getenv         func(name string) string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Hostname is the name of the container.
	Hostname string
	// Listen opens a TCP port of the container.
	Listen func(port uint16) (net.Listener, error)
	// ListenPacket opens a UDP port of the container; nil leaves it shut.
	ListenPacket func(port uint16) (net.PacketConn, error)
	// Get fetches a URL from inside the container.
	Get func(ctx context.Context, url string) (string, error)
	// Stop is closed when the container is asked to end.
	Stop <-chan struct{}
}

// Exit codes of its own.
const (
	codeUsage   = 64
	codeFailed  = 1
	codeKilled  = 137
	codeUnknown = 127
)

// Main runs a command and returns its exit code:
//
//	serve         print, then answer HTTP, and datagrams with the GREETING, until
//	              stopped (also without a command);
//	              LINES=n prints n lines, QUIET=1 nothing to stderr, EXIT=n ends
//	              at once with code n, PORT=n serves there, PORT=none nowhere
//	exit N        end with code N
//	echo WORDS    print the words
//	err WORDS     print the words to stderr
//	cat           copy stdin to stdout
//	env NAME      print an environment entry
//	hostname      print the name of the container
//	get URL       fetch a URL and print the body; code 1 when that fails
//	read FILE     print a file; code 1 when that fails
//	write FILE W  write the word to a file; code 1 when that fails
//	hang          do nothing until killed
func Main(ctx context.Context, p Process) int {
	args := []string{"serve"}
	if len(p.Args) > 1 {
		args = p.Args[1:]
	}
	switch args[0] {
	case "serve":
		return p.serve(ctx)
	case "hang":
		return p.hang(ctx)
	case "exit":
		return number(strings.Join(args[1:], ""), codeUsage)
	case "echo":
		fmt.Fprintln(p.Stdout, strings.Join(args[1:], " "))
	case "err":
		fmt.Fprintln(p.Stderr, strings.Join(args[1:], " "))
	case "cat":
		_, err := io.Copy(p.Stdout, p.Stdin)
		return p.fail(err)
	case "hostname":
		fmt.Fprintln(p.Stdout, p.Hostname)
	case "env", "get", "read":
		return p.show(ctx, args)
	case "write":
		const words = 3
		if len(args) != words {
			return codeUsage
		}
		return p.fail(os.WriteFile(args[1], []byte(args[2]), 0o600))
	default:
		return codeUnknown
	}
	return 0
}

// show prints what a name stands for.
func (p Process) show(ctx context.Context, args []string) int {
	if len(args) != 2 {
		return codeUsage
	}
	var text string
	var err error
	switch args[0] {
	case "env":
		text = p.Getenv(args[1])
	case "get":
		text, err = p.Get(ctx, args[1])
	case "read":
		var b []byte
		b, err = os.ReadFile(args[1])
		text = string(b)
	}
	if err == nil {
		fmt.Fprintln(p.Stdout, strings.TrimSuffix(text, "\n"))
	}
	return p.fail(err)
}

func (p Process) fail(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(p.Stderr, err)
	return codeFailed
}

func number(s string, otherwise int) int {
	if n, err := strconv.Atoi(s); err == nil {
		return n
	}
	return otherwise
}

func (p Process) hang(ctx context.Context) int {
	select {
	case <-p.Stop:
		return 0
	case <-ctx.Done():
		return codeKilled
	}
}

// Greetings are what the guest prints when it starts: first to stdout, second to
// stderr.
const (
	Hello   = "guest: hello"
	Warning = "guest: this goes to stderr"
)

// Print prints what the guest says when it starts.
func (p Process) Print() {
	fmt.Fprintln(p.Stdout, Hello, p.Getenv("GREETING"))
	if p.Getenv("QUIET") == "" {
		fmt.Fprintln(p.Stderr, Warning)
	}
	for i := range number(p.Getenv("LINES"), 0) {
		fmt.Fprintf(p.Stdout, "line %d\n", i)
	}
}

func (p Process) serve(ctx context.Context) int {
	p.Print()
	if code := p.Getenv("EXIT"); code != "" {
		return number(code, codeUsage)
	}
	if p.Getenv("PORT") == "none" {
		return p.hang(ctx)
	}
	port := uint16(number(p.Getenv("PORT"), DefaultPort))
	ln, err := p.Listen(port)
	if err != nil {
		return p.fail(err)
	}
	if p.ListenPacket != nil {
		pc, err := p.ListenPacket(port)
		if err != nil {
			_ = ln.Close()
			return p.fail(err)
		}
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			p.answer(pc)
		}()
		defer func() {
			_ = pc.Close()
			<-answered
		}()
	}
	exit := make(chan int, 1)
	srv := &http.Server{Handler: p.Handler(func(code int) {
		select {
		case exit <- code:
		default:
		}
	}), ReadHeaderTimeout: time.Minute}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Serve(ln) // ends with Close or Shutdown
	}()
	defer func() {
		_ = srv.Close()
		<-served
	}()
	select {
	case code := <-exit:
		return code
	case <-ctx.Done():
		return codeKilled
	case <-p.Stop:
	}
	end, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_ = srv.Shutdown(end) // requests that were accepted are answered
	return 0
}

// answer answers datagrams until the port is closed.
func (p Process) answer(pc net.PacketConn) {
	var b [1]byte
	for {
		_, from, err := pc.ReadFrom(b[:])
		if err != nil {
			return
		}
		_, _ = pc.WriteTo([]byte(p.Getenv("GREETING")), from) // who asks again is answered again
	}
}

// Ask sends a datagram to a guest and returns the answer. It closes the connection
// and waits no longer than a second: datagrams may be lost.
func Ask(ctx context.Context, to net.Conn) (string, error) {
	defer func() { _ = to.Close() }()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = to.Close() })()
	if _, err := to.Write([]byte("?")); err != nil {
		return "", err
	}
	b := make([]byte, 1<<10)
	n, err := to.Read(b)
	return string(b[:n]), err
}

// Handler answers HTTP: "/" with the environment's GREETING, "/env?name=" with an
// entry, "/hostname", "/get?url=" with what a URL says, "/echo" with the request
// body, "/status?code=" with a status, "/slow?ms=" after a time, "/print?text="
// by printing, "/header?name=" with a request header, "/exit?code=" by ending.
func (p Process) Handler(exit func(code int)) http.Handler {
	m := http.NewServeMux()
	text := func(path string, f func(r *http.Request) string) {
		m.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, f(r)) })
	}
	text("/{$}", func(*http.Request) string { return p.Getenv("GREETING") })
	text("/hostname", func(*http.Request) string { return p.Hostname })
	text("/env", func(r *http.Request) string { return p.Getenv(r.FormValue("name")) })
	text("/header", func(r *http.Request) string { return r.Header.Get(r.FormValue("name")) })
	text("/print", func(r *http.Request) string {
		fmt.Fprintln(p.Stdout, r.FormValue("text"))
		return "printed"
	})
	text("/exit", func(r *http.Request) string {
		exit(number(r.FormValue("code"), 0))
		return "bye"
	})
	m.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	m.HandleFunc("/status", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(number(r.FormValue("code"), http.StatusOK))
	})
	m.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		t := time.NewTimer(time.Duration(number(r.FormValue("ms"), 0)) * time.Millisecond)
		defer t.Stop()
		select {
		case <-t.C:
			fmt.Fprint(w, p.Getenv("GREETING"))
		case <-r.Context().Done():
		}
	})
	m.HandleFunc("/get", func(w http.ResponseWriter, r *http.Request) {
		body, err := p.Get(r.Context(), r.FormValue("url"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		fmt.Fprint(w, body)
	})
	return m
}
