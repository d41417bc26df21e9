package node

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	cmtcfg "github.com/cometbft/cometbft/config"
	cmthttp "github.com/cometbft/cometbft/rpc/client/http"
	"github.com/hashicorp/go-multierror"
)

// StateSync says how an empty home gets a copy of the state from its peers: a
// light client checks the copy against blocks that two thirds of the validators
// signed, beginning with one that the operator trusts.
type StateSync struct {
	// Servers are RPC addresses of nodes of the chain, as "host:port"; at least
	// one, better two of different operators, which are compared.
	Servers []string
	// TrustHeight and TrustHash name a block that the operator knows to be of the
	// chain, not older than TrustPeriod. See [TrustedBlock].
	TrustHeight int64
	TrustHash   []byte
	// TrustPeriod is how long validators' signatures are trusted: less than what
	// stakes are held back for; 0 is [DefaultTrustPeriod].
	TrustPeriod time.Duration
}

// DefaultTrustPeriod is two thirds of the three weeks for which a stake can be
// slashed after it was withdrawn.
const DefaultTrustPeriod = 14 * 24 * time.Hour

// discoverFor is how long a node collects offers of copies before it chooses;
// CometBFT takes no less.
const discoverFor = 5 * time.Second

// hashSize is the length of a block's hash in bytes.
const hashSize = 32

func (s StateSync) check(peers []string) error {
	var faults *multierror.Error
	bad := func(format string, args ...any) {
		faults = multierror.Append(faults, fmt.Errorf("node: state sync: "+format, args...))
	}
	if len(s.Servers) == 0 {
		bad("want the RPC address of at least one node")
	}
	if len(peers) == 0 {
		bad("want at least one peer that gives the copy")
	}
	if s.TrustHeight <= 0 || len(s.TrustHash) != hashSize {
		bad("want the height and the hash, of %d bytes, of a block that you trust", hashSize)
	}
	if s.TrustPeriod < 0 {
		bad("trust period %s: want above 0", s.TrustPeriod)
	}
	return faults.ErrorOrNil()
}

// apply translates the configuration.
func (s StateSync) apply(c *cmtcfg.StateSyncConfig, temp string) {
	c.Enable = true
	for _, server := range s.Servers {
		c.RPCServers = append(c.RPCServers, tcp(server))
	}
	if len(c.RPCServers) == 1 {
		c.RPCServers = append(c.RPCServers, c.RPCServers[0]) // CometBFT wants a second to compare with
	}
	c.TrustHeight, c.TrustHash = s.TrustHeight, hex.EncodeToString(s.TrustHash)
	c.TrustPeriod = s.TrustPeriod
	if c.TrustPeriod == 0 {
		c.TrustPeriod = DefaultTrustPeriod
	}
	c.DiscoveryTime, c.TempDir = discoverFor, temp
}

// TrustedBlock asks a node for the newest block, as [StateSync] wants it. Ask
// only a node that you trust: whoever answers here decides which chain the new
// node takes for the true one.
func TrustedBlock(ctx context.Context, server string) (height int64, hash []byte, err error) {
	c, err := cmthttp.New(tcp(server), "/websocket")
	if err != nil {
		return 0, nil, fmt.Errorf("node: %s: %w", server, err)
	}
	commit, err := c.Commit(ctx, nil)
	if err != nil {
		return 0, nil, fmt.Errorf("node: %s: newest block: %w", server, err)
	}
	return commit.Height, commit.Commit.BlockID.Hash, nil
}
