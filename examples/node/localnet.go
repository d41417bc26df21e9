package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/moorage-dev/moorage/examples/internal/keycmd"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/app"
	"github.com/moorage-dev/moorage/market/chain/node"
)

// localnet is a chain with several validators in this process.
type localnet struct {
	program    *program
	validators int
	keep       bool
	chainID    string
	denoms     []string
	config     node.Config
}

func (p *program) localnetCommand() *cobra.Command {
	l := &localnet{program: p}
	cmd := &cobra.Command{
		Use: "localnet", Short: "Run a chain of several validators until Ctrl-C", Args: cobra.NoArgs,
		Long: `Localnet runs a chain with several validators on this machine, in one process:
each has its own home, key and database, and they talk over loopback.

  node localnet --validators 4
  node status --node 127.0.0.1:9090
  node tx bank send faucet moor1… 1000uakt --yes

The account "faucet" in the keyring has money of every denomination. Without
--keep the chain is deleted at the end.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return l.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	f := cmd.Flags()
	f.IntVar(&l.validators, "validators", 4, "how many, 1 to "+strconv.Itoa(node.MaxValidators))
	f.BoolVar(&l.keep, "keep", false, "keep the chain below the home, and go on with one that is there")
	f.StringVar(&l.chainID, "chain-id", "localnet-1", "name of the chain")
	f.StringSliceVar(&l.denoms, "denoms", []string{"uact", "uakt"}, "denominations that the market settles in")
	f.DurationVar(&l.config.BlockInterval, "block-time", node.DefaultBlockInterval, "pause between blocks")
	f.StringVar(&l.config.GRPCAddress, "grpc", defaultNode, "where the first validator serves gRPC; port 0 picks a free one")
	f.StringVar(&l.config.RESTAddress, "rest", "", "where it serves REST; empty for nowhere")
	f.StringVar(&l.config.RPCAddress, "rpc", "", "where it serves CometBFT's RPC; empty for nowhere")
	return cmd
}

// faucetFunds is what the faucet has of each denomination.
const faucetFunds = 1_000_000_000_000

func (l *localnet) run(ctx context.Context, w io.Writer) (err error) {
	faucet, err := l.faucet()
	if err != nil {
		return err
	}
	dir := filepath.Join(l.program.home, "localnet")
	if !l.keep {
		if dir, err = os.MkdirTemp("", "moorage-localnet-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	l.config.Logger = l.program.logger()
	l.config.Genesis = l.genesis(faucet)
	configs, err := node.Validators(dir, l.validators, l.config)
	if err != nil {
		return err
	}
	l.say(w, "%d validators below %s", l.validators, dir)
	return l.serve(ctx, w, configs, faucet)
}

func (l *localnet) faucet() (market.Address, error) {
	ring, err := keycmd.Options{Dir: l.program.keyDir, Backend: &l.program.backend, Stdin: l.program.stdin}.Open()
	if err != nil {
		return "", err
	}
	k, _, err := ring.LoadOrCreate("faucet")
	if err != nil {
		return "", err
	}
	return k.Address(), nil
}

func (l *localnet) genesis(faucet market.Address) app.Genesis {
	g := app.Genesis{ChainID: l.chainID, Market: market.DefaultParams(l.denoms...)}
	coins := market.Coins{}
	for _, denom := range append([]string{app.DefaultStakeDenom}, l.denoms...) {
		if coins.Of(denom).IsZero() {
			coins, _ = coins.Add(market.NewCoin(denom, faucetFunds)) // cannot overflow
		}
	}
	g.Accounts = []app.Account{{Address: faucet, Coins: coins}}
	return g
}

// serve runs every validator until the context ends or one fails.
func (l *localnet) serve(ctx context.Context, w io.Writer, configs []node.Config, faucet market.Address) error {
	began := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	nodes := make([]*node.Node, len(configs))
	for i, c := range configs {
		n, err := node.New(c)
		if err != nil {
			return err
		}
		nodes[i] = n
		g.Go(func() error { return n.Run(ctx) })
	}
	g.Go(func() error {
		for i, n := range nodes {
			select {
			case <-n.Ready():
				l.say(w, "validator %d of %d makes blocks", i+1, len(nodes))
			case <-ctx.Done():
				return nil
			}
		}
		l.ready(w, nodes[0], faucet, time.Since(began))
		return nil
	})
	if err := g.Wait(); err != nil {
		return err
	}
	l.say(w, "stopped at height %d", nodes[0].Height())
	return nil
}

// say prints progress, which is not part of JSON output.
func (l *localnet) say(w io.Writer, format string, args ...any) {
	if l.program.json {
		w = l.program.stderr
	}
	fmt.Fprintf(w, format+"\n", args...)
}

func (l *localnet) ready(w io.Writer, first *node.Node, faucet market.Address, after time.Duration) {
	a := first.Addresses()
	if l.program.json {
		_ = json.NewEncoder(w).Encode(map[string]string{ // the reader may have gone
			"chain_id": first.ChainID(), "grpc": a.GRPC, "rest": a.REST, "rpc": a.RPC, "faucet": string(faucet),
		})
		return
	}
	fmt.Fprintf(w, "chain %s is ready after %.1f s, height %d; Ctrl-C ends it\n", first.ChainID(), after.Seconds(), first.Height())
	printAddresses(w, a)
	fmt.Fprintf(w, "faucet %s\n", faucet)
}
