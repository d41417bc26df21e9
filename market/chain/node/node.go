package node

import (
	"context"
	"fmt"
	"net"
	"sync"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cosmos/cosmos-sdk/codec"
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
)

// Node is one node of a chain. Its methods are safe for concurrent use.
type Node struct {
	config Config
	inner  *bufconn.Listener
	ready  chan struct{}

	mu      sync.Mutex
	ran     bool
	running *running
	// wrap, when set by a test, stands between the engine and the application.
	wrap func(abci.Application) abci.Application
}

// pipeSize is the buffer of an in-process connection in bytes.
const pipeSize = 256 << 10

// New checks the configuration. It starts nothing and touches no file. The
// error lists all faults.
func New(c Config) (*Node, error) {
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return nil, err
	}
	return &Node{config: c, inner: bufconn.Listen(pipeSize), ready: make(chan struct{})}, nil
}

// Run runs the node until the context ends, which gives nil, or until it cannot
// go on. Errors wrap [ErrHomeInUse], [ErrAddressInUse] or [ErrFault] where they
// apply. A node runs once.
func (n *Node) Run(ctx context.Context) (err error) {
	n.mu.Lock()
	if n.ran {
		n.mu.Unlock()
		return fmt.Errorf("node: a node runs only once: make a new one")
	}
	n.ran = true
	n.mu.Unlock()
	r := &running{config: n.config, inner: n.inner, ready: n.ready, made: make(chan struct{}), wrap: n.wrap}
	defer func() {
		if stop := r.stop(); err == nil {
			err = stop
		}
	}()
	if err := r.open(); err != nil {
		return err
	}
	if err := r.start(); err != nil {
		return err
	}
	n.mu.Lock()
	n.running = r
	n.mu.Unlock()
	return r.wait(ctx)
}

// Ready is closed once the node has made or received its first block in this
// run. A node that fails before never closes it: select on the end of Run too.
func (n *Node) Ready() <-chan struct{} { return n.ready }

// Addresses returns where the running node listens; all empty before
// [Node.Ready].
func (n *Node) Addresses() Addresses {
	if r := n.current(); r != nil {
		return r.addresses
	}
	return Addresses{}
}

// ChainID returns the name of the chain; empty before [Node.Ready].
func (n *Node) ChainID() string {
	if r := n.current(); r != nil {
		return r.genesis.ChainID
	}
	return ""
}

// Height returns the newest height that the application has committed, 0 before
// the first.
func (n *Node) Height() int64 {
	if r := n.current(); r != nil {
		return r.app.LastBlockHeight()
	}
	return 0
}

// PeerID returns how other nodes name this one: "id@host:port"; empty before
// [Node.Ready].
func (n *Node) PeerID() string {
	if r := n.current(); r != nil {
		return string(r.nodeKey.ID()) + "@" + r.addresses.P2P
	}
	return ""
}

func (n *Node) current() *running {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.running
}

// Dial connects to the node inside the process, without a network. Calls made
// before [Node.Ready] wait for the server. The caller closes the connection.
func (n *Node) Dial() (*grpc.ClientConn, error) { return dialPipe(n.inner) }

func dialPipe(l *bufconn.Listener) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient("passthrough:///in-process",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }),
		grpc.WithDefaultCallOptions(
			grpc.ForceCodec(codec.NewProtoCodec(codectypes.NewInterfaceRegistry()).GRPCCodec()),
			grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
	)
	if err != nil {
		return nil, fmt.Errorf("node: dial: %w", err)
	}
	return conn, nil
}
