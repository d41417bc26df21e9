//go:build !linux

package kubetest

import (
	"context"
	"errors"
	"net"
	"net/netip"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// machine can only be on Linux; elsewhere tests use a cluster that is there.
type machine struct {
	options    Options
	dir        string
	pki        *authority
	lan        *namespace
	nodes      []*namespace
	components []*Component
	agents     agents
}

func startMachine(context.Context, Options) (*machine, error) { return nil, errors.ErrUnsupported }

func (*machine) close(context.Context) error        { return errors.ErrUnsupported }
func (*machine) processes() []int                   { return nil }
func (*machine) killNode(int) error                 { return errors.ErrUnsupported }
func (*machine) definitions(string) ([]byte, error) { return nil, errors.ErrUnsupported }
func (*machine) metallb() ([]byte, error)           { return nil, errors.ErrUnsupported }
func (*machine) push(context.Context, string, v1.Image) (string, error) {
	return "", errors.ErrUnsupported
}

// Component is one program of the cluster.
type Component struct{ Name string }

// Start is not supported here.
func (*Component) Start() error { return errors.ErrUnsupported }

// Kill is not supported here.
func (*Component) Kill() error { return errors.ErrUnsupported }

// Restart is not supported here.
func (*Component) Restart() error { return errors.ErrUnsupported }

// Freeze is not supported here.
func (*Component) Freeze() error { return errors.ErrUnsupported }

// Thaw is not supported here.
func (*Component) Thaw() error { return errors.ErrUnsupported }

// Running is never true here.
func (*Component) Running() bool { return false }

// Log is nothing here.
func (*Component) Log() string { return "" }

// namespace is the network of this process.
type namespace struct{}

func (*namespace) do(f func() error) error { return f() }

// Neighbour is not supported here.
func (*Net) Neighbour(context.Context, string, netip.Addr) (net.HardwareAddr, error) {
	return nil, errors.ErrUnsupported
}

// Add is not supported here.
func (*Net) Add(string, netip.Prefix) error { return errors.ErrUnsupported }

// Remove is not supported here.
func (*Net) Remove(string, netip.Prefix) error { return errors.ErrUnsupported }
