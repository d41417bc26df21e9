// Command echo listens on ports of its arguments with TCP and UDP and tells every
// client who it is, where the client arrived and where it came from, as one line:
// host name, port, client's address.
package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1) //nolint:forbidigo // this is a program
	}
}

func run(ports []string) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	failed := make(chan error)
	for _, text := range ports {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return err
		}
		var lc net.ListenConfig
		address := ":" + text
		stream, err := lc.Listen(context.Background(), "tcp", address)
		if err != nil {
			return err
		}
		// Answers leave from the address that was asked, which a socket for each
		// address does; a pod has few.
		if err := datagrams(name, uint16(port), failed); err != nil {
			return err
		}
		go func() { failed <- streams(stream, name, port) }()
	}
	return <-failed
}

func line(name string, port uint64, client net.Addr) []byte {
	at, _ := netip.ParseAddrPort(client.String())
	return fmt.Appendf(nil, "%s %d %s\n", name, port, at.Addr().Unmap())
}

func streams(l net.Listener, name string, port uint64) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		_, _ = c.Write(line(name, port, c.RemoteAddr()))
		_ = c.Close()
	}
}

func datagrams(name string, port uint16, failed chan<- error) error {
	own, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	for _, a := range own {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil || prefix.Addr().IsLinkLocalUnicast() {
			continue
		}
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(prefix.Addr(), port)))
		if err != nil {
			return err
		}
		go func() { failed <- answer(c, name, uint64(port)) }()
	}
	return nil
}

func answer(c *net.UDPConn, name string, port uint64) error {
	const size = 1500
	buf := make([]byte, size)
	for {
		_, client, err := c.ReadFrom(buf)
		if err != nil {
			return err
		}
		if _, err := c.WriteTo(line(name, port, client), client); err != nil {
			return err
		}
	}
}
