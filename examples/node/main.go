// Node runs a chain node of the marketplace.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/moorage-dev/moorage/examples/internal/keycmd"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/app"
	"github.com/moorage-dev/moorage/market/chain/client"
	"github.com/moorage-dev/moorage/market/chain/node"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(os.Stdin, os.Stdout, os.Stderr).ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// program holds the flags that all commands share.
type program struct {
	home    string
	prefix  string
	backend string
	json    bool
	verbose bool
	stderr  io.Writer
}

func command(stdin io.Reader, stdout, stderr io.Writer) *cobra.Command {
	p := &program{stderr: stderr}
	cmd := &cobra.Command{
		Use: "node", Short: "Run a chain node of the marketplace",
		Long: `Node runs a chain of Cosmos SDK and CometBFT that hosts the market.

  node init --account moor1…=100000000uact,100000000uakt
  node start --grpc 127.0.0.1:9090`,
		SilenceUsage: true, SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error { return app.ConfigureAddresses(p.prefix) },
	}
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	f := cmd.PersistentFlags()
	f.StringVar(&p.home, "home", keycmd.DefaultHome("node"), "folder of the node")
	f.StringVar(&p.prefix, "prefix", "moor", "what addresses begin with")
	f.StringVar(&p.backend, "keyring", "test", "how keys are kept: test (readable files) or file (passphrase)")
	f.BoolVar(&p.json, "json", false, "print JSON")
	f.BoolVarP(&p.verbose, "verbose", "v", false, "print what the node does, on standard error")
	cmd.AddCommand(p.initCommand(), p.startCommand(), p.statusCommand(), p.exportCommand(), keycmd.New(keycmd.Options{
		Dir: func() string { return filepath.Join(p.home, "keys") }, Backend: &p.backend, Stdin: stdin, JSON: &p.json,
	}))
	return cmd
}

func (p *program) initCommand() *cobra.Command {
	var chainID string
	var accounts, denoms []string
	cmd := &cobra.Command{
		Use: "init", Short: "Make the keys and the genesis of a new chain", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			genesis := app.Genesis{ChainID: chainID, Market: market.DefaultParams(denoms...)}
			for _, text := range accounts {
				a, err := parseAccount(text)
				if err != nil {
					return err
				}
				genesis.Accounts = append(genesis.Accounts, a)
			}
			id, err := node.Init(node.Config{Home: p.home, Genesis: genesis})
			if err != nil {
				return err
			}
			if p.json {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]string{
					"chain_id": id.ChainID, "peer_id": id.PeerID, "genesis": id.Genesis,
				})
			}
			fmt.Fprintf(cmd.OutOrStdout(), "chain %s\npeer  %s\ngenesis %s\n", id.ChainID, id.PeerID, id.Genesis)
			return nil
		},
	}
	cmd.Flags().StringVar(&chainID, "chain-id", "moorage-1", "name of the chain")
	cmd.Flags().StringArrayVar(&accounts, "account", nil, "account with money, as ADDRESS=100uact,200uakt; may be repeated")
	cmd.Flags().StringSliceVar(&denoms, "denoms", []string{"uact", "uakt"}, "denominations that the market settles in")
	return cmd
}

func parseAccount(text string) (app.Account, error) {
	address, list, ok := strings.Cut(text, "=")
	if !ok {
		return app.Account{}, fmt.Errorf("--account %q: want ADDRESS=COINS", text)
	}
	a := app.Account{Address: market.Address(address)}
	for one := range strings.SplitSeq(list, ",") {
		c, err := market.ParseCoin(one)
		if err != nil {
			return app.Account{}, fmt.Errorf("--account %q: %w", text, err)
		}
		if a.Coins, err = a.Coins.Add(c); err != nil {
			return app.Account{}, err
		}
	}
	return a, a.Address.Validate()
}

func (p *program) startCommand() *cobra.Command {
	c := node.Config{}
	cmd := &cobra.Command{
		Use: "start", Short: "Make blocks until Ctrl-C", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c.Home, c.Logger = p.home, p.logger()
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
	f.StringVar(&c.GRPCAddress, "grpc", "127.0.0.1:9090", "where providers and tenants connect; empty for nowhere")
	f.StringVar(&c.RESTAddress, "rest", "", "where the REST gateway listens; empty for nowhere")
	f.StringVar(&c.RPCAddress, "rpc", "", "where CometBFT's RPC listens; empty for nowhere")
	f.StringVar(&c.P2PAddress, "p2p", "", "where other nodes connect; empty is a free port on loopback")
	f.StringSliceVar(&c.Peers, "peers", nil, "nodes to stay connected to, as id@host:port")
	f.StringVar(&c.MinGasPrices, "min-gas-prices", "", "what this node asks for gas, as 0.025uakt; empty asks nothing")
	f.StringVar(&c.Moniker, "moniker", "", "name of the node for people")
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
	a := n.Addresses()
	fmt.Fprintf(w, "chain %s makes blocks, height %d\n", n.ChainID(), n.Height())
	for _, s := range [][2]string{{"gRPC", a.GRPC}, {"REST", a.REST}, {"RPC", a.RPC}, {"P2P", a.P2P}} {
		if s[1] != "" {
			fmt.Fprintf(w, "%s on %s\n", s[0], s[1])
		}
	}
	err := <-ended
	if err == nil {
		fmt.Fprintf(w, "stopped at height %d\n", n.Height())
	}
	return err
}

func (p *program) logger() *slog.Logger {
	if !p.verbose {
		return nil
	}
	return slog.New(slog.NewTextHandler(p.stderr, nil))
}

func (p *program) statusCommand() *cobra.Command {
	var address string
	cmd := &cobra.Command{
		Use: "status", Short: "Ask a running node for its newest block", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			conn, err := client.Dial(address, nil)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, conn.Close()) }()
			c, err := client.New(conn, client.Config{})
			if err != nil {
				return err
			}
			head, err := c.Head(cmd.Context())
			if err != nil {
				return fmt.Errorf("%w: is a node running with --grpc %s?", err, address)
			}
			if p.json {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(head)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "chain %s\nheight %d\ntime %s\n", head.ChainID, head.Height, head.Time.Format(time.RFC3339))
			return nil
		},
	}
	cmd.Flags().StringVar(&address, "node", "127.0.0.1:9090", "gRPC address of the node")
	return cmd
}

func (p *program) exportCommand() *cobra.Command {
	var chainID string
	cmd := &cobra.Command{
		Use: "export", Short: "Print the state of a stopped node as a genesis for a new chain", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			genesis, err := node.Export(node.Config{Home: p.home, Logger: p.logger()}, chainID)
			if err != nil {
				return err
			}
			out := json.NewEncoder(cmd.OutOrStdout())
			out.SetIndent("", "  ")
			return out.Encode(genesis)
		},
	}
	cmd.Flags().StringVar(&chainID, "chain-id", "moorage-2", "name of the new chain")
	return cmd
}
