package proxy

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOnlySoManyConnectionsAreAccepted(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := limit(ln, 2)
	for range 3 {
		c, err := net.Dial("tcp", ln.Addr().String())
		require.NoError(t, err)
		defer func() { _ = c.Close() }()
	}
	first, err := l.Accept()
	require.NoError(t, err)
	_, err = l.Accept()
	require.NoError(t, err)
	third := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		third <- err
	}()
	select {
	case err := <-third:
		require.NoError(t, err)
		assert.Fail(t, "a third connection was accepted")
	case <-time.After(20 * time.Millisecond):
	}
	require.NoError(t, first.Close())
	_ = first.Close() // makes room once
	require.NoError(t, <-third)
	go func() {
		_, err := l.Accept()
		third <- err
	}()
	require.NoError(t, l.Close())
	_ = l.Close()
	require.ErrorIs(t, <-third, net.ErrClosed)
}
