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
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// run carries out one command. The prefix of addresses comes first: the commands
// of the chain's messages are made with it.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if err := app.ConfigureAddresses(prefixIn(args)); err != nil {
		return err
	}
	cmd, err := command(stdin, stdout, stderr)
	if err != nil {
		return err
	}
	cmd.SetArgs(args)
	return cmd.ExecuteContext(ctx)
}

// prefixIn finds --prefix before the flags are parsed.
func prefixIn(args []string) string {
	for i, arg := range args {
		if value, ok := strings.CutPrefix(arg, "--prefix="); ok {
			return value
		}
		if arg == "--prefix" && i+1 < len(args) {
			return args[i+1]
		}
	}
	return app.DefaultAddressPrefix
}

// program holds the flags that all commands share.
type program struct {
	home    string
	backend string
	json    bool
	verbose bool
	stdin   io.Reader
	stderr  io.Writer
}

func command(stdin io.Reader, stdout, stderr io.Writer) (*cobra.Command, error) {
	p := &program{stdin: stdin, stderr: stderr}
	cmd := &cobra.Command{
		Use: "node", Short: "Run a chain node of the marketplace",
		Long: `Node runs a chain of Cosmos SDK and CometBFT that hosts the market.

  node localnet                    a chain of four validators, to try things
  node init --account moor1…=100000000uact,100000000uakt
  node start --grpc 127.0.0.1:9090
  node query market deployments    every query of every module
  node tx market close-deployment 7 --from alice`,
		SilenceUsage: true, SilenceErrors: true,
	}
	cmd.SetIn(stdin)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	f := cmd.PersistentFlags()
	f.StringVar(&p.home, "home", keycmd.DefaultHome("node"), "folder of the node")
	f.String("prefix", app.DefaultAddressPrefix, "what addresses begin with")
	f.StringVar(&p.backend, "keyring", "test", "how keys are kept: test (readable files) or file (passphrase)")
	f.BoolVar(&p.json, "json", false, "print JSON")
	f.BoolVarP(&p.verbose, "verbose", "v", false, "print what the node does, on standard error")
	cmd.AddCommand(p.initCommand(), p.startCommand(), p.statusCommand(), p.localnetCommand(), p.grantCommand(), p.revokeCommand(),
		keycmd.New(keycmd.Options{Dir: p.keyDir, Backend: &p.backend, Stdin: stdin, JSON: &p.json}))
	cmd.AddCommand(p.homeCommands()...)
	return cmd, p.addChainCommands(cmd)
}

// print prints a value as JSON, or a line of text for people.
func (p *program) print(w io.Writer, v any, format string, args ...any) error {
	if p.json {
		return json.NewEncoder(w).Encode(v)
	}
	_, err := fmt.Fprintf(w, format, args...)
	return err
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
			return p.print(cmd.OutOrStdout(), map[string]string{"chain_id": id.ChainID, "peer_id": id.PeerID, "genesis": id.Genesis},
				"chain %s\npeer  %s\ngenesis %s\n", id.ChainID, id.PeerID, id.Genesis)
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
			return p.print(cmd.OutOrStdout(), head, "chain %s\nheight %d\ntime %s\n", head.ChainID, head.Height, head.Time.Format(time.RFC3339))
		},
	}
	cmd.Flags().StringVar(&address, "node", defaultNode, "gRPC address of the node")
	return cmd
}
