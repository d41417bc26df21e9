package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"cosmossdk.io/client/v2/autocli"
	coretypes "github.com/cometbft/cometbft/rpc/core/types"
	cmttypes "github.com/cometbft/cometbft/types"
	dbm "github.com/cosmos/cosmos-db"
	sdkclient "github.com/cosmos/cosmos-sdk/client"
	"github.com/cosmos/cosmos-sdk/client/flags"
	"github.com/cosmos/cosmos-sdk/client/grpc/cmtservice"
	"github.com/cosmos/cosmos-sdk/codec"
	"github.com/cosmos/cosmos-sdk/codec/address"
	sdk "github.com/cosmos/cosmos-sdk/types"
	txtypes "github.com/cosmos/cosmos-sdk/types/tx"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/moorage-dev/moorage/examples/internal/keycmd"
	"github.com/moorage-dev/moorage/market/chain/app"
)

// defaultNode is where "node start" serves gRPC.
const defaultNode = "127.0.0.1:9090"

// addChainCommands adds "tx" and "query" with a command for every message and
// query of every module.
func (p *program) addChainCommands(root *cobra.Command) error {
	a, err := app.New(dbm.NewMemDB(), app.Config{})
	if err != nil {
		return err
	}
	prefixes := sdk.GetConfig()
	options := autocli.AppOptions{
		Modules:               a.Commands(),
		AddressCodec:          address.NewBech32Codec(prefixes.GetBech32AccountAddrPrefix()),
		ValidatorAddressCodec: address.NewBech32Codec(prefixes.GetBech32ValidatorAddrPrefix()),
		ConsensusAddressCodec: address.NewBech32Codec(prefixes.GetBech32ConsensusAddrPrefix()),
		ClientCtx:             sdkclient.Context{}.WithInterfaceRegistry(a.InterfaceRegistry()),
	}
	if err := options.EnhanceRootCommand(root); err != nil {
		return fmt.Errorf("commands of messages and queries: %w", err)
	}
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "tx":
			cmd.Short = "Send a message of any module, signed with --from"
		case "query":
			cmd.Short = "Ask a running node about any module"
			cmd.AddCommand(p.txQuery())
		default:
			continue
		}
		cmd.PersistentFlags().String(flagAt, defaultNode, "gRPC address of the node")
		cmd.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return p.connect(cmd, a) }
	}
	return nil
}

// flagAt is called --grpc-addr, as in the SDK's own programs, whose --node is
// the address of CometBFT's RPC.
const flagAt = flags.FlagGRPC

// connect gives a command what the SDK's command code looks for in its context.
func (p *program) connect(cmd *cobra.Command, a *app.App) error {
	at, err := cmd.Flags().GetString(flagAt)
	if err != nil || at == "" {
		at = defaultNode
	}
	conn, err := grpc.NewClient(at, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(codec.NewProtoCodec(a.InterfaceRegistry()).GRPCCodec())))
	if err != nil {
		return fmt.Errorf("node %s: %w", at, err)
	}
	ring, err := keycmd.Options{Dir: p.keyDir, Backend: &p.backend, Stdin: cmd.InOrStdin()}.Open()
	if err != nil {
		return err
	}
	c := sdkclient.Context{}.
		WithCodec(a.Codec()).WithInterfaceRegistry(a.InterfaceRegistry()).WithTxConfig(a.TxConfig()).WithLegacyAmino(a.Amino()).
		WithAccountRetriever(authtypes.AccountRetriever{}).WithBroadcastMode(flags.BroadcastSync).
		WithInput(cmd.InOrStdin()).WithOutput(cmd.OutOrStdout()).WithHomeDir(p.home).WithKeyringDir(p.keyDir()).
		WithKeyring(ring.Keyring()).WithGRPCClient(conn).WithClient(broadcaster{tx: txtypes.NewServiceClient(conn)})
	if p.json {
		c = c.WithOutputFormat("json")
	}
	if offline, _ := cmd.Flags().GetBool(flags.FlagOffline); cmd.Flags().Lookup(flags.FlagFrom) != nil && !offline {
		info, err := cmtservice.NewServiceClient(conn).GetNodeInfo(cmd.Context(), &cmtservice.GetNodeInfoRequest{})
		if err != nil {
			return fmt.Errorf("%w: is a node running with --grpc %s?", err, at)
		}
		c = c.WithChainID(info.DefaultNodeInfo.Network)
	}
	// The connection is the one above, whatever the flag says.
	if f := cmd.Flags().Lookup(flagAt); f != nil {
		f.Changed = false
	}
	cmd.SetContext(context.WithValue(cmd.Context(), sdkclient.ClientContextKey, &c))
	return nil
}

// broadcaster sends transactions over gRPC. The embedded interface is nil:
// nothing else is asked.
type broadcaster struct {
	sdkclient.CometRPC
	tx txtypes.ServiceClient
}

// BroadcastTxSync implements [sdkclient.CometRPC].
func (b broadcaster) BroadcastTxSync(ctx context.Context, tx cmttypes.Tx) (*coretypes.ResultBroadcastTx, error) {
	r, err := b.tx.BroadcastTx(ctx, &txtypes.BroadcastTxRequest{TxBytes: tx, Mode: txtypes.BroadcastMode_BROADCAST_MODE_SYNC})
	if err != nil {
		return nil, err
	}
	if r.TxResponse == nil {
		return nil, errors.New("the node gave no answer")
	}
	hash, err := hex.DecodeString(r.TxResponse.TxHash)
	return &coretypes.ResultBroadcastTx{
		Code: r.TxResponse.Code, Codespace: r.TxResponse.Codespace, Log: r.TxResponse.RawLog, Hash: hash,
	}, err
}

// txQuery asks what became of a transaction.
func (p *program) txQuery() *cobra.Command {
	cmd := &cobra.Command{
		Use: "tx HASH", Short: "What became of a transaction", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := sdkclient.GetClientQueryContext(cmd)
			if err != nil {
				return err
			}
			r, err := txtypes.NewServiceClient(c).GetTx(cmd.Context(), &txtypes.GetTxRequest{Hash: strings.TrimPrefix(args[0], "0x")})
			if err != nil {
				return err
			}
			return c.PrintProto(r.TxResponse)
		},
	}
	return cmd
}

func (p *program) keyDir() string { return filepath.Join(p.home, "keys") }
