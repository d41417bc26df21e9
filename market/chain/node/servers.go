package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/cosmos/cosmos-sdk/client"
	"github.com/cosmos/cosmos-sdk/client/flags"
	"github.com/cosmos/cosmos-sdk/client/grpc/cmtservice"
	nodeservice "github.com/cosmos/cosmos-sdk/client/grpc/node"
	"github.com/cosmos/cosmos-sdk/codec"
	"github.com/cosmos/cosmos-sdk/server"
	serverconfig "github.com/cosmos/cosmos-sdk/server/config"
	authtx "github.com/cosmos/cosmos-sdk/x/auth/tx"
	gateway "github.com/cosmos/gogogateway"
	"github.com/grpc-ecosystem/grpc-gateway/runtime"
	"google.golang.org/grpc"

	"github.com/moorage-dev/moorage/market/chain/app"
)

// Bounds of the servers.
const (
	// maxMessage bounds a gRPC message: a block with its results.
	maxMessage = 32 << 20
	// headerTimeout is how long a REST client may take for its headers.
	headerTimeout = 10 * time.Second
	// maxHeader bounds a REST client's headers.
	maxHeader = 64 << 10
	// drain is how long open requests may take when the node stops.
	drain = 2 * time.Second
)

// RegisterServices makes an application answer queries about blocks,
// transactions and the node, with rpc as the source of blocks. Call it once per
// application, before [NewServer].
func RegisterServices(a *app.App, chainID string, rpc client.CometRPC) client.Context {
	c := client.Context{}.
		WithCodec(a.Codec()).WithInterfaceRegistry(a.InterfaceRegistry()).WithTxConfig(a.TxConfig()).
		WithLegacyAmino(a.Amino()).WithChainID(chainID).WithBroadcastMode(flags.BroadcastSync).WithClient(rpc)
	authtx.RegisterTxService(a.GRPCQueryRouter(), c, a.Simulate, a.InterfaceRegistry())
	cmtservice.RegisterTendermintService(c, a.GRPCQueryRouter(), a.InterfaceRegistry(), server.NewCometABCIWrapper(a).Query)
	nodeservice.RegisterNodeService(c, a.GRPCQueryRouter(), *serverconfig.DefaultConfig(), func() int64 {
		return a.CommitMultiStore().EarliestVersion()
	})
	return c
}

// NewServer returns a gRPC server with every query service of an application.
func NewServer(a *app.App) *grpc.Server {
	s := grpc.NewServer(
		grpc.ForceServerCodec(codec.NewProtoCodec(a.InterfaceRegistry()).GRPCCodec()),
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage),
	)
	// The check of the block header can fail while a block is being committed,
	// although the state that is read is whole.
	a.RegisterGRPCServerWithSkipCheckHeader(s, true)
	return s
}

// stopServer lets open calls end for a moment, then ends them.
func stopServer(s *grpc.Server) {
	done := make(chan struct{})
	go func() {
		s.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(drain):
		s.Stop()
		<-done
	}
}

// newREST returns the server of REST queries, which asks the gRPC server.
func newREST(a *app.App, c client.Context) *http.Server {
	mux := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, &gateway.JSONPb{
			EmitDefaults: true, OrigName: true, AnyResolver: a.InterfaceRegistry(),
		}),
		runtime.WithProtoErrorHandler(runtime.DefaultHTTPProtoErrorHandler),
	)
	authtx.RegisterGRPCGatewayRoutes(c, mux)
	cmtservice.RegisterGRPCGatewayRoutes(c, mux)
	nodeservice.RegisterGRPCGatewayRoutes(c, mux)
	a.Basics().RegisterGRPCGatewayRoutes(c, mux)
	return &http.Server{Handler: mux, ReadHeaderTimeout: headerTimeout, MaxHeaderBytes: maxHeader}
}

// serveREST serves until the context ends.
func serveREST(ctx context.Context, s *http.Server, l net.Listener) error {
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		stopped <- s.Shutdown(end)
	}()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("node: REST server: %w", err)
	}
	if err := <-stopped; err != nil {
		_ = s.Close() // some requests did not end in time
	}
	return nil
}
