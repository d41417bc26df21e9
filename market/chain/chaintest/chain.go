package chaintest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/crypto/ed25519"
	cmttypes "github.com/cometbft/cometbft/types"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/cosmos/cosmos-sdk/server"
	sdk "github.com/cosmos/cosmos-sdk/types"
	genutiltypes "github.com/cosmos/cosmos-sdk/x/genutil/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/moorage-dev/moorage/market/chain/app"
	"github.com/moorage-dev/moorage/market/chain/node"
)

// Config says what a chain begins with.
type Config struct {
	// Genesis is as for a real chain; without a chain id it is "chaintest",
	// without validators there is one with a fixed key, and a validator without a
	// key gets that key.
	Genesis app.Genesis
	// Export, when set, is what the chain goes on from instead of Genesis; see
	// [app.App.Export].
	Export *genutiltypes.AppGenesis
	// BlockTime is how far the block time moves from block to block; 0 is a
	// second.
	BlockTime time.Duration
	// Manual leaves transactions in the pool until [Chain.Advance]; otherwise
	// each gets a block of its own at once.
	Manual bool
	// App is passed on to [app.New].
	App app.Config
}

// pipeSize is the buffer of an in-process connection in bytes.
const pipeSize = 256 << 10

// Chain is a running chain. It is safe for concurrent use.
type Chain struct {
	config Config
	app    *app.App
	abci   abci.Application
	key    ed25519.PrivKey
	server *grpc.Server
	pipe   *bufconn.Listener
	served chan error
	// votes is set when the fixed key is a validator's.
	votes bool

	mu     sync.Mutex
	height int64
	first  int64
	time   time.Time
	pool   [][]byte
	blocks []made
}

// made is a block with its results.
type made struct {
	block   *cmttypes.Block
	results *abci.ResponseFinalizeBlock
}

// New makes a chain with its first block. Close it.
func New(c Config) (*Chain, error) {
	if c.BlockTime == 0 {
		c.BlockTime = time.Second
	}
	if c.Genesis.ChainID == "" {
		c.Genesis.ChainID = "chaintest"
	}
	if c.Export != nil {
		c.Genesis.ChainID = c.Export.ChainID
	}
	c.App.ChainID = c.Genesis.ChainID
	a, err := app.New(dbm.NewMemDB(), c.App)
	if err != nil {
		return nil, err
	}
	out := &Chain{
		config: c, app: a, abci: server.NewCometABCIWrapper(a), key: ed25519.GenPrivKeyFromSecret([]byte("chaintest")),
		pipe: bufconn.Listen(pipeSize), served: make(chan error, 1),
	}
	if err := out.begin(); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	node.RegisterServices(a, c.Genesis.ChainID, rpc{chain: out})
	out.server = node.NewServer(a)
	go func() { out.served <- out.server.Serve(out.pipe) }() // Close waits for it
	return out, nil
}

// begin hands the genesis to the application and makes the first block.
func (c *Chain) begin() error {
	genesis, err := c.genesis()
	if err != nil {
		return err
	}
	doc, err := genesis.ToGenesisDoc()
	if err != nil {
		return fmt.Errorf("chaintest: genesis: %w", err)
	}
	params := doc.ConsensusParams.ToProto()
	validators := make([]abci.ValidatorUpdate, len(doc.Validators))
	for i, v := range doc.Validators {
		validators[i] = cmttypes.TM2PB.ValidatorUpdate(cmttypes.NewValidator(v.PubKey, v.Power))
	}
	_, err = c.abci.InitChain(context.Background(), &abci.RequestInitChain{
		Time: doc.GenesisTime, ChainId: doc.ChainID, ConsensusParams: &params, Validators: validators,
		AppStateBytes: doc.AppState, InitialHeight: doc.InitialHeight,
	})
	if err != nil {
		return fmt.Errorf("chaintest: genesis: %w", err)
	}
	c.time = doc.GenesisTime
	c.height = doc.InitialHeight - 1
	c.first = doc.InitialHeight
	return c.Advance(1)
}

func (c *Chain) genesis() (*genutiltypes.AppGenesis, error) {
	if c.config.Export != nil {
		g := *c.config.Export
		if g.GenesisTime.IsZero() {
			g.GenesisTime = time.Now().UTC()
		}
		return &g, nil
	}
	g := c.config.Genesis
	g.Validators = slices.Clone(g.Validators)
	if len(g.Validators) == 0 {
		g.Validators = []app.Validator{{Moniker: "chaintest"}}
	}
	for i := range g.Validators {
		if len(g.Validators[i].Key) == 0 {
			g.Validators[i].Key = c.key.PubKey().Bytes()
			c.votes = true
		}
	}
	return c.app.NewGenesis(g)
}

// Advance makes n blocks. Transactions in the pool go into the first.
func (c *Chain) Advance(n int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for range n {
		if err := c.makeBlock(); err != nil {
			return err
		}
	}
	return nil
}

// AdvanceTime makes one block whose time is later by d instead of by
// [Config.BlockTime].
func (c *Chain) AdvanceTime(d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.time = c.time.Add(d - c.config.BlockTime)
	return c.makeBlock()
}

// makeBlock finalizes and commits what is in the pool. The lock is held.
func (c *Chain) makeBlock() error {
	next := c.height + 1
	now := c.time.Add(c.config.BlockTime)
	txs := c.pool
	proposer := c.key.PubKey().Address()
	results, err := c.abci.FinalizeBlock(context.Background(), &abci.RequestFinalizeBlock{
		Height: next, Time: now, Txs: txs, ProposerAddress: proposer,
		DecidedLastCommit: abci.CommitInfo{Votes: c.lastVotes(proposer)},
	})
	if err != nil {
		return fmt.Errorf("chaintest: block %d: %w", next, err)
	}
	if _, err := c.abci.Commit(context.Background(), &abci.RequestCommit{}); err != nil {
		return fmt.Errorf("chaintest: commit of block %d: %w", next, err)
	}
	block := cmttypes.MakeBlock(next, cmttypes.ToTxs(txs), &cmttypes.Commit{}, nil)
	block.Header.ChainID, block.Header.Time, block.Header.ProposerAddress = c.config.Genesis.ChainID, now, proposer
	block.Header.AppHash = results.AppHash
	c.blocks = append(c.blocks, made{block, results})
	c.height, c.time, c.pool = next, now, nil
	return nil
}

// Forget empties the pool, as a node does that starts again.
func (c *Chain) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pool = nil
}

// Pooled returns how many transactions wait for a block.
func (c *Chain) Pooled() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pool)
}

// lastVotes says that the validator with the fixed key has signed the block
// before.
func (c *Chain) lastVotes(validator cmttypes.Address) []abci.VoteInfo {
	if c.height < c.first || !c.votes {
		return nil
	}
	return []abci.VoteInfo{{Validator: abci.Validator{Address: validator, Power: 1}}}
}

// App returns the application.
func (c *Chain) App() *app.App { return c.app }

// Height returns the newest height.
func (c *Chain) Height() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.height
}

// Time returns the time of the newest block.
func (c *Chain) Time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.time
}

// AppHash returns the hash of the newest state.
func (c *Chain) AppHash() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.blocks[len(c.blocks)-1].results.AppHash
}

// Context returns a context on the newest state, for reading with keepers. What
// is written with it is lost.
func (c *Chain) Context() (sdk.Context, error) {
	ctx, err := c.app.CreateQueryContext(0, false)
	if err != nil {
		return sdk.Context{}, fmt.Errorf("chaintest: %w", err)
	}
	return ctx, nil
}

// Check looks for broken invariants of the market in the newest state.
func (c *Chain) Check() error {
	ctx, err := c.Context()
	if err != nil {
		return err
	}
	return c.app.Market().Check(ctx)
}

// Dial connects a client. The caller closes the connection.
func (c *Chain) Dial() (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient("passthrough:///chaintest",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return c.pipe.DialContext(ctx) }))
	if err != nil {
		return nil, fmt.Errorf("chaintest: dial: %w", err)
	}
	return conn, nil
}

// Close ends the chain.
func (c *Chain) Close() error {
	c.server.Stop()
	err := <-c.served
	if errors.Is(err, grpc.ErrServerStopped) {
		err = nil
	}
	return errors.Join(err, c.app.Close())
}
