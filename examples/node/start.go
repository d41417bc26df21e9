package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/moorage-dev/moorage/market/chain/node"
)

func (p *program) startCommand() *cobra.Command {
	c, sync := node.Config{}, syncing{}
	cmd := &cobra.Command{
		Use: "start", Short: "Make blocks until Ctrl-C", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c.Home, c.Logger = p.home, p.logger()
			if err := sync.apply(cmd.Context(), &c); err != nil {
				return err
			}
			if _, err := os.Stat(filepath.Join(p.home, "config", "genesis.json")); err != nil {
				return fmt.Errorf("no chain in %s: make one with \"node init\"", p.home)
			}
			n, err := node.New(c)
			if err != nil {
				return err
			}
			return start(cmd.Context(), n, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.DurationVar(&c.BlockInterval, "block-time", node.DefaultBlockInterval, "pause between blocks")
	f.StringVar(&c.GRPCAddress, "grpc", defaultNode, "where providers and tenants connect; empty for nowhere")
	f.StringVar(&c.RESTAddress, "rest", "", "where the REST gateway listens; empty for nowhere")
	f.StringVar(&c.RPCAddress, "rpc", "", "where CometBFT's RPC listens; empty for nowhere")
	f.StringVar(&c.P2PAddress, "p2p", "", "where other nodes connect; empty is a free port on loopback")
	f.StringSliceVar(&c.Peers, "peers", nil, "nodes to stay connected to, as id@host:port")
	f.StringVar(&c.MinGasPrices, "min-gas-prices", "", "what this node asks for gas, as 0.025uakt; empty asks nothing")
	f.StringVar(&c.Moniker, "moniker", "", "name of the node for people")
	f.Uint64Var(&c.SnapshotEvery, "snapshot-every", 0, "take a copy of the state each so many blocks, for new nodes; 0 takes none")
	f.Uint64Var(&c.CheckEvery, "check-every", 0, "look for broken invariants each so many blocks, and stop if there are any; 0 never looks")
	sync.flags(f)
	return cmd
}

// start runs the node and says when it is ready and when it stops.
func start(ctx context.Context, n *node.Node, w io.Writer) error {
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	select {
	case err := <-ended:
		return err
	case <-n.Ready():
	}
	fmt.Fprintf(w, "chain %s makes blocks, height %d\n", n.ChainID(), n.Height())
	printAddresses(w, n.Addresses())
	fmt.Fprintf(w, "peers name it %s\n", n.PeerID())
	err := <-ended
	if err == nil {
		fmt.Fprintf(w, "stopped at height %d\n", n.Height())
	}
	return err
}

func printAddresses(w io.Writer, a node.Addresses) {
	for _, s := range [][2]string{{"gRPC", a.GRPC}, {"REST", a.REST}, {"RPC", a.RPC}, {"P2P", a.P2P}} {
		if s[1] != "" {
			fmt.Fprintf(w, "%s on %s\n", s[0], s[1])
		}
	}
}

// syncing are the flags of a start from a copy of the state.
type syncing struct {
	servers []string
	height  int64
	hash    string
}

func (s *syncing) flags(f *pflag.FlagSet) {
	f.StringSliceVar(&s.servers, "sync-from", nil, "RPC addresses of nodes; an empty home then starts from a copy of the state that --peers give")
	f.Int64Var(&s.height, "trust-height", 0, "height of a block that you know to be of the chain; 0 believes the first of --sync-from")
	f.StringVar(&s.hash, "trust-hash", "", "hash of that block, hexadecimal")
}

func (s *syncing) apply(ctx context.Context, c *node.Config) (err error) {
	if len(s.servers) == 0 {
		return nil
	}
	c.StateSync = &node.StateSync{Servers: s.servers, TrustHeight: s.height}
	if s.height == 0 {
		c.StateSync.TrustHeight, c.StateSync.TrustHash, err = node.TrustedBlock(ctx, s.servers[0])
		return err
	}
	if c.StateSync.TrustHash, err = hex.DecodeString(s.hash); err != nil {
		return fmt.Errorf("--trust-hash: %w", err)
	}
	return nil
}
