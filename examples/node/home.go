package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	genutiltypes "github.com/cosmos/cosmos-sdk/x/genutil/types"
	"github.com/spf13/cobra"

	"github.com/moorage-dev/moorage/market/chain/node"
)

// homeCommands work on the home of a node that is not running.
func (p *program) homeCommands() []*cobra.Command {
	return []*cobra.Command{p.genesisCommand(), p.exportCommand(), p.joinCommand(), p.checkCommand()}
}

func (p *program) genesisCommand() *cobra.Command {
	return &cobra.Command{
		Use: "genesis", Short: "Print what the chain began with, to give it to nodes that join", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			raw, err := os.ReadFile(filepath.Join(p.home, "config", "genesis.json"))
			if err != nil {
				return fmt.Errorf("no chain in %s: make one with \"node init\": %w", p.home, err)
			}
			_, err = cmd.OutOrStdout().Write(raw)
			return err
		},
	}
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

func (p *program) joinCommand() *cobra.Command {
	return &cobra.Command{
		Use: "join GENESIS", Short: "Make the keys of a node of a chain that others have begun", Args: cobra.ExactArgs(1),
		Long: `Join gives a new home its keys and the genesis of a chain. Start it with the
peers that it is to talk to:

  node join genesis.json
  node start --peers ID@HOST:PORT`,
		RunE: func(cmd *cobra.Command, args []string) error {
			genesis, err := genutiltypes.AppGenesisFromFile(args[0])
			if err != nil {
				return err
			}
			id, err := node.InitKeys(p.home)
			if err != nil {
				return err
			}
			if err := node.Join(p.home, genesis); err != nil {
				return err
			}
			return p.print(cmd.OutOrStdout(), map[string]string{"chain_id": genesis.ChainID, "peer_id": id.PeerID, "genesis": id.Genesis},
				"chain %s\npeer  %s\ngenesis %s\n", genesis.ChainID, id.PeerID, id.Genesis)
		},
	}
}

func (p *program) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "Look for broken invariants in the state of a stopped node", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			height, err := node.Check(node.Config{Home: p.home, Logger: p.logger()})
			if err != nil {
				return err
			}
			return p.print(cmd.OutOrStdout(), map[string]int64{"height": height}, "height %d: every invariant holds\n", height)
		},
	}
}
