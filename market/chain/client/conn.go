package client

import (
	"context"
	"crypto/tls"
	"fmt"

	"github.com/cosmos/cosmos-sdk/codec"
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
)

// maxMessage bounds an answer in bytes: a block with its results.
const maxMessage = 32 << 20

// Dial connects to a node's gRPC address, as "host:port". nil for secrets means
// no encryption, fit for loopback. It does not wait for the node. The caller
// closes the connection.
func Dial(address string, secrets *tls.Config) (*grpc.ClientConn, error) {
	security := insecure.NewCredentials()
	if secrets != nil {
		security = credentials.NewTLS(secrets)
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(security))
	if err != nil {
		return nil, fmt.Errorf("client: dial %s: %w", address, err)
	}
	return conn, nil
}

// encoded makes every call use the SDK's codec, which knows both kinds of
// generated code.
type encoded struct {
	grpc.ClientConnInterface
	codec encoding.Codec
}

func newEncoded(conn grpc.ClientConnInterface) encoded {
	return encoded{conn, codec.NewProtoCodec(codectypes.NewInterfaceRegistry()).GRPCCodec()}
}

// Invoke implements [grpc.ClientConnInterface].
func (e encoded) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	opts = append(opts, grpc.ForceCodec(e.codec), grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage))
	return e.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
}
