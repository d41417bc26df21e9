package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
)

// listen opens an address of the configuration. An empty one gives nil.
func listen(a namedAddress) (net.Listener, error) {
	if a.address == "" {
		return nil, nil
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", a.address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("node: %s %s: %w: stop the program that listens there, or choose another address (port 0 picks a free one)",
			a.field, a.address, ErrAddressInUse)
	} else if err != nil {
		return nil, fmt.Errorf("node: %s %s: %w", a.field, a.address, err)
	}
	return l, nil
}

// reserve resolves an address that CometBFT will listen on itself: it picks the
// port when none is given and finds out now whether it is free.
func reserve(a namedAddress) (string, error) {
	l, err := listen(a)
	if l == nil {
		return "", err
	}
	address := l.Addr().String()
	return address, l.Close()
}
