package node

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/go-multierror"

	"github.com/moorage-dev/moorage/market/chain/app"
)

// Errors of [Node.Run]. Match them with [errors.Is].
var (
	// ErrHomeInUse means that another process runs a node on the same home.
	ErrHomeInUse = errors.New("home is in use")
	// ErrAddressInUse means that something else listens on an address.
	ErrAddressInUse = errors.New("address is in use")
	// ErrFault means that the application or the consensus engine failed; no
	// more blocks are made.
	ErrFault = errors.New("the chain has stopped")
)

// Config says how a node runs.
type Config struct {
	// Home is the folder for keys, genesis and data, made when missing. Empty
	// keeps everything in memory (and a write-ahead log in a temporary folder).
	Home string
	// Genesis starts a new chain when the home has none; a home that has one
	// goes on with its own, and only the chain id, if given here, must agree.
	// Without Validators the node's own key is the only one, owned by the account
	// that Validators would have named.
	Genesis app.Genesis
	// Moniker names the node for people; empty is "moorage".
	Moniker string
	// BlockInterval is the pause after each block, so that blocks come about as
	// often; 0 is [DefaultBlockInterval].
	BlockInterval time.Duration
	// MinGasPrices is what this node asks for gas, for example "0.025uakt"; empty
	// asks nothing, fit for a private chain.
	MinGasPrices string
	// GRPCAddress, RESTAddress and RPCAddress are where the servers listen, as
	// "127.0.0.1:9090"; port 0 picks a free one (see [Node.Addresses]). Empty
	// starts no such server.
	GRPCAddress, RESTAddress, RPCAddress string
	// P2PAddress is where other nodes connect; empty is a free port on loopback.
	P2PAddress string
	// Peers are nodes to keep connected to, as "id@host:port".
	Peers []string
	// KeepStates is how many heights the application keeps its state of, for
	// queries about the past; 0 is [DefaultKeepStates]. Blocks are all kept.
	KeepStates uint64
	// NoTxIndex leaves out the index of transactions by hash. Moorage's client
	// does not need it; explorers do.
	NoTxIndex bool
	// SnapshotEvery takes a copy of the state each so many blocks, for new nodes
	// to start from; 0 takes none.
	SnapshotEvery uint64
	// SnapshotKeep is how many copies are kept; 0 is [app.DefaultKeepSnapshots].
	SnapshotKeep uint32
	// StateSync starts an empty home from a copy that the peers have; nil carries
	// out every block instead. A home that has blocks goes on with its own.
	StateSync *StateSync
	// Releases are upgrades that this program brings beside those of package app.
	Releases []app.Release
	// CheckEvery looks for broken invariants each so many blocks and stops the
	// node if there are any; 0 never looks. See [app.Config.CheckEvery].
	CheckEvery uint64
	// Logger gets the node's messages; nil discards them. What the chain reports
	// of each block comes at level Debug.
	Logger *slog.Logger
}

// DefaultBlockInterval is the pause between blocks.
const DefaultBlockInterval = time.Second

// DefaultKeepStates is some four days of blocks of a second.
const DefaultKeepStates = 362_880

// maxBlockInterval bounds the pause: a typo must not stop a chain for a day.
const maxBlockInterval = time.Hour

func (c Config) withDefaults() Config {
	if c.BlockInterval == 0 {
		c.BlockInterval = DefaultBlockInterval
	}
	if c.KeepStates == 0 {
		c.KeepStates = DefaultKeepStates
	}
	if c.Moniker == "" {
		c.Moniker = app.Name
	}
	if c.P2PAddress == "" {
		c.P2PAddress = "127.0.0.1:0"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) check() error {
	var faults *multierror.Error
	if c.BlockInterval < 0 || c.BlockInterval > maxBlockInterval {
		faults = multierror.Append(faults, fmt.Errorf("node: block interval %s: want above 0 and at most %s", c.BlockInterval, maxBlockInterval))
	}
	for _, a := range c.addresses() {
		if _, _, err := net.SplitHostPort(a.address); a.address != "" && err != nil {
			faults = multierror.Append(faults, fmt.Errorf("node: %s %q: want host:port: %w", a.field, a.address, err))
		}
	}
	if c.StateSync != nil {
		faults = multierror.Append(faults, c.StateSync.check(c.Peers))
	}
	return faults.ErrorOrNil()
}

type namedAddress struct{ field, address string }

func (c Config) addresses() []namedAddress {
	return []namedAddress{
		{"GRPCAddress", c.GRPCAddress}, {"RESTAddress", c.RESTAddress},
		{"RPCAddress", c.RPCAddress}, {"P2PAddress", c.P2PAddress},
	}
}

// Addresses are where a running node listens; empty for servers it does not
// have.
type Addresses struct{ GRPC, REST, RPC, P2P string }
