package gatewaytest

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway"
	"github.com/moorage-dev/moorage/provider/gateway/client"
	"github.com/moorage-dev/moorage/provider/gateway/mtls"
)

// Accounts of a [Server].
const (
	Provider market.Address = "provider1"
	Tenant   market.Address = "tenant1"
	Stranger market.Address = "stranger1"
)

// Lease returns the lease of a tenant that a [Server]'s back end has.
func Lease(tenant market.Address) market.LeaseID {
	group := market.GroupID{DeploymentID: market.DeploymentID{Owner: tenant, DSeq: 7}, GSeq: 1}
	return market.LeaseID{OrderID: market.OrderID{GroupID: group, OSeq: 1}, Provider: Provider}
}

// Server is a gateway on loopback, with TLS, and all around it.
type Server struct {
	Gateway  *gateway.Gateway
	Registry *Registry
	Backend  *Backend
	// Network carries connections to the gateway until it is cut.
	Network *Network
	// Direct is the address of the gateway itself.
	Direct string
	// Cert is the provider's certificate, TenantCert the tenant's; both are published.
	Cert, TenantCert tls.Certificate
	// CertID and TenantCertID name them.
	CertID, TenantCertID market.CertificateID

	stop func()
}

// TTL is how long verifiers of a [Server] remember.
const TTL = 50 * time.Millisecond

// Start serves until the test ends. Provider, Backend and Certificates of the
// configuration are filled in where they are not set.
func Start(tb testing.TB, cfg gateway.Config) *Server {
	tb.Helper()
	s := &Server{Registry: NewRegistry(), Backend: NewBackend(Lease(Tenant))}
	s.Cert, s.TenantCert = Certificate(tb, Provider), Certificate(tb, Tenant)
	s.CertID, s.TenantCertID = s.Registry.Publish(tb, s.Cert), s.Registry.Publish(tb, s.TenantCert)
	cfg.Provider = Provider
	if cfg.Backend == nil {
		cfg.Backend = s.Backend
	}
	if cfg.Certificates == nil {
		v, err := mtls.NewVerifier(s.Registry, mtls.Config{TTL: TTL})
		require.NoError(tb, err)
		cfg.Certificates = v
	}
	var err error
	s.Gateway, err = gateway.New(cfg)
	require.NoError(tb, err)
	l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	s.Direct = l.Addr().String()
	s.Network = NewNetwork(tb, s.Direct)
	s.serve(tb, l)
	return s
}

func (s *Server) serve(tb testing.TB, l net.Listener) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	served := make(chan error, 1)
	go func() { served <- s.Gateway.Serve(ctx, l, s.Cert) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(tb, <-served)
	})
	tb.Cleanup(s.stop)
}

// Stop stops the gateway and waits for that.
func (s *Server) Stop() { s.stop() }

// URI is where the gateway is.
func (s *Server) URI() string { return "https://" + s.Network.Addr() }

// Client returns a client of the tenant.
func (s *Server) Client(tb testing.TB) *client.Client {
	tb.Helper()
	return s.ClientWith(tb, s.TenantCert)
}

// ClientWith returns a client with this certificate, none if it is zero.
func (s *Server) ClientWith(tb testing.TB, cert tls.Certificate) *client.Client {
	tb.Helper()
	c, err := client.New(client.Config{Provider: Provider, HostURI: s.URI(), Market: s.Registry, Certificate: cert})
	require.NoError(tb, err)
	tb.Cleanup(c.Close)
	return c
}

// Network passes TCP connections on to an address and can break them.
type Network struct {
	target   string
	listener net.Listener
	wg       sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
	down  bool
	made  int
}

// NewNetwork listens on loopback until the test ends.
func NewNetwork(tb testing.TB, target string) *Network {
	tb.Helper()
	l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	n := &Network{target: target, listener: l, conns: map[net.Conn]bool{}}
	n.wg.Go(func() { n.accept(context.WithoutCancel(tb.Context())) })
	tb.Cleanup(func() {
		_ = l.Close()
		n.Cut()
		n.wg.Wait()
	})
	return n
}

// Addr is where clients connect.
func (n *Network) Addr() string { return n.listener.Addr().String() }

// Connections counts the connections made so far.
func (n *Network) Connections() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.made
}

// Cut breaks all connections without a word; what was under way is lost.
func (n *Network) Cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
}

// SetDown makes new connections fail, or work again.
func (n *Network) SetDown(down bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = down
}

func (n *Network) accept(ctx context.Context) {
	for {
		in, err := n.listener.Accept()
		if err != nil {
			return
		}
		out, err := new(net.Dialer).DialContext(ctx, "tcp", n.target)
		if err != nil || !n.add(in, out) {
			_ = in.Close()
			if out != nil {
				_ = out.Close()
			}
			continue
		}
		n.wg.Go(func() { n.carry(in, out) })
		n.wg.Go(func() { n.carry(out, in) })
	}
}

func (n *Network) add(conns ...net.Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.made++
	if n.down {
		return false
	}
	for _, c := range conns {
		n.conns[c] = true
	}
	return true
}

func (n *Network) carry(dst, src net.Conn) {
	_, err := io.Copy(dst, src)
	if err == nil || errors.Is(err, io.EOF) {
		if tcp, ok := dst.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
		return
	}
	_ = dst.Close()
	_ = src.Close()
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, src)
	delete(n.conns, dst)
}
