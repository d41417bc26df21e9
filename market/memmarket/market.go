package memmarket

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/machine"
)

// Defaults of [Config].
const (
	// DefaultChainID names a market that is not named.
	DefaultChainID = "memmarket"
	// DefaultBlockTime is between the times written in two blocks.
	DefaultBlockTime = time.Second
	// DefaultHistory is how many blocks are kept for [Client.Watch].
	DefaultHistory = 10_000
)

// Config describes a market. The zero value works: an empty market that settles
// in uakt and uact, in which nobody has money.
type Config struct {
	// ChainID names the market; default [DefaultChainID].
	ChainID string
	// Params are the rules; the zero value means those of [market.DefaultParams]
	// for uakt and uact.
	Params market.Params
	// Balances are what accounts own at the beginning.
	Balances map[market.Address]market.Coins
	// Genesis is the state at the beginning; what it holds in escrow is added to
	// the pot.
	Genesis machine.Genesis
	// Start is the time in the first block; the zero time means now.
	Start time.Time
	// BlockTime is added to it with each block; default [DefaultBlockTime].
	BlockTime time.Duration
	// BlockPerSubmit makes a block with each submission, so that
	// [Client.Submit] returns at once.
	BlockPerSubmit bool
	// History is how many blocks are kept for watchers, at least; default
	// [DefaultHistory].
	History int
	// Machine, if set, may change the machine before the first block, for
	// instance wrap a table or the bank with something broken. For tests.
	Machine func(*machine.Machine)
}

func (c *Config) defaults() {
	if c.ChainID == "" {
		c.ChainID = DefaultChainID
	}
	if c.Params.MinDeposits == nil && c.Params.BidDeposits == nil && c.Params.MaxBids == 0 {
		c.Params = market.DefaultParams("uakt", "uact")
	}
	if c.Start.IsZero() {
		c.Start = time.Now()
	}
	if c.BlockTime <= 0 {
		c.BlockTime = DefaultBlockTime
	}
	if c.History <= 0 {
		c.History = DefaultHistory
	}
}

// Market is a market in memory. All methods are safe for concurrent use. It
// needs no closing.
type Market struct {
	cfg Config

	mu      sync.RWMutex // guards everything below
	state   machine.State
	bank    *bank
	journal *journal
	machine machine.Machine
	head    market.Head
	blocks  []market.Block // the newest, cfg.History or more
	queue   []*submission
	changed chan struct{} // closed and replaced with each block
}

// submission is a batch of messages that waits for a block.
type submission struct {
	msgs   []market.Msg
	height int64 // not before this block
	done   chan struct{}
	// set before done is closed:
	receipt market.Receipt
	err     error
}

// New makes a market. Its first block, at height 1, is empty. The error wraps
// [market.ErrInvalid] when the parameters or the genesis are wrong.
func New(cfg Config) (*Market, error) {
	cfg.defaults()
	if err := cfg.Params.Validate(); err != nil {
		return nil, err
	}
	j := &journal{}
	m := &Market{
		cfg:     cfg,
		state:   newState(j),
		bank:    &bank{accounts: make(map[market.Address]market.Coins), journal: j},
		journal: j,
		head:    market.Head{ChainID: cfg.ChainID, Height: 1, Time: cfg.Start.UTC()},
		changed: make(chan struct{}),
	}
	m.blocks = []market.Block{{Height: 1, Time: m.head.Time}}
	if err := m.genesis(); err != nil {
		return nil, err
	}
	j.mark()
	m.machine = machine.Machine{State: m.state, Bank: m.bank, Params: cfg.Params}
	if cfg.Machine != nil {
		cfg.Machine(&m.machine)
	}
	return m, nil
}

func (m *Market) genesis() error {
	for a, coins := range m.cfg.Balances {
		if err := m.bank.fund(a, coins); err != nil {
			return err
		}
	}
	if err := machine.Import(m.state, cloneGenesis(m.cfg.Genesis)); err != nil {
		return err
	}
	held, err := machine.Held(m.state)
	if err != nil {
		return err
	}
	m.bank.pot = held
	if err := machine.Check(m.state, held); err != nil {
		return fmt.Errorf("memmarket: genesis: %w: %w", market.ErrInvalid, err)
	}
	return nil
}

func newState(j *journal) machine.State {
	return machine.State{
		Deployments:  newTable[market.DeploymentID, market.Deployment]("deployment", j),
		Groups:       newTable[market.GroupID, market.Group]("group", j),
		Orders:       newTable[market.OrderID, market.Order]("order", j),
		Bids:         newTable[market.BidID, market.Bid]("bid", j),
		Leases:       newTable[market.LeaseID, market.Lease]("lease", j),
		Accounts:     newTable[market.DeploymentID, market.Account]("account", j),
		Payments:     newTable[market.LeaseID, market.Payment]("payment", j),
		Retainers:    newTable[market.RetainerID, market.Retainer]("retainer", j),
		Providers:    newTable[market.Address, market.Provider]("provider", j),
		Certificates: newTable[market.CertificateID, market.Certificate]("certificate", j),
		Audits:       newTable[market.AuditID, market.Audit]("audit", j),
		Timers:       newTable[machine.Timer, machine.Timer]("timer", j),
		Refs:         newTable[machine.Ref, machine.Ref]("ref", j),
	}
}

// Advance makes n blocks. Submissions that wait are carried out in the first of
// them. An error means that the market is broken: it comes from EndBlock, whose
// changes are undone.
func (m *Market) Advance(n int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for range n {
		if err := m.block(); err != nil {
			return err
		}
	}
	return nil
}

// Run makes a block every interval until the context ends, and returns nil
// then. It returns the error of [Market.Advance] otherwise.
func (m *Market) Run(ctx context.Context, interval time.Duration) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if err := m.Advance(1); err != nil {
				return err
			}
		}
	}
}

// block makes a block. m.mu is held.
func (m *Market) block() error {
	at := machine.Moment{Height: m.head.Height + 1, Time: m.head.Time.Add(m.cfg.BlockTime)}
	b := market.Block{Height: at.Height, Time: at.Time}
	for i, s := range m.ready(at.Height) {
		events, err := m.deliver(at, s.msgs)
		if err == nil {
			b.Events = append(b.Events, events...)
			s.receipt = market.Receipt{TxID: fmt.Sprintf("%d-%d", at.Height, i), Height: at.Height}
		}
		s.err = err
		close(s.done)
	}
	events, err := m.machine.EndBlock(at)
	if err != nil {
		m.journal.rollback()
		return fmt.Errorf("memmarket: end of block %d: %w", at.Height, err)
	}
	m.journal.mark()
	b.Events = append(b.Events, events...)
	m.commit(b)
	return nil
}

// ready takes the submissions out of the queue that may go into a block.
func (m *Market) ready(height int64) []*submission {
	var now, later []*submission
	for _, s := range m.queue {
		if s.height <= height {
			now = append(now, s)
		} else {
			later = append(later, s)
		}
	}
	m.queue = later
	return now
}

// deliver carries messages out together: all or none.
func (m *Market) deliver(at machine.Moment, msgs []market.Msg) ([]market.Event, error) {
	var all []market.Event
	for _, msg := range msgs {
		events, err := m.machine.Execute(at, msg)
		if err != nil {
			m.journal.rollback()
			return nil, err
		}
		all = append(all, events...)
	}
	m.journal.mark()
	return all, nil
}

// commit makes a block the head and wakes the watchers.
func (m *Market) commit(b market.Block) {
	m.head.Height, m.head.Time = b.Height, b.Time
	m.blocks = append(m.blocks, b)
	if len(m.blocks) >= 2*m.cfg.History {
		m.blocks = slices.Clone(m.blocks[len(m.blocks)-m.cfg.History:])
	}
	close(m.changed)
	m.changed = make(chan struct{})
}

// SetParams changes the rules from the next message on, as governance does on a
// chain. The error wraps [market.ErrInvalid].
func (m *Market) SetParams(p market.Params) error {
	if err := p.Validate(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	p.MinDeposits, p.BidDeposits = slices.Clone(p.MinDeposits), slices.Clone(p.BidDeposits)
	m.cfg.Params, m.machine.Params = p, p
	return nil
}

// Fund gives an account new money.
func (m *Market) Fund(a market.Address, coins ...market.Coin) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.bank.fund(a, coins)
}

// Pot returns what the market holds for others.
func (m *Market) Pot() market.Coins {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.Clone(m.bank.pot)
}

// Fees returns what the market has earned.
func (m *Market) Fees() market.Coins {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.Clone(m.bank.fees)
}

// Check looks for broken invariants; see [machine.Check].
func (m *Market) Check() error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return machine.Check(m.state, m.bank.pot)
}

// Export returns the whole state.
func (m *Market) Export() (machine.Genesis, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	g, err := machine.Export(m.state)
	return cloneGenesis(g), err
}

// cloneGenesis copies everything that shares memory.
func cloneGenesis(g machine.Genesis) machine.Genesis {
	g.Deployments = slices.Clone(g.Deployments)
	g.Groups = cloneAll(g.Groups, market.Group.Clone)
	g.Orders = cloneAll(g.Orders, market.Order.Clone)
	g.Bids = cloneAll(g.Bids, market.Bid.Clone)
	g.Leases = cloneAll(g.Leases, market.Lease.Clone)
	g.Accounts = cloneAll(g.Accounts, market.Account.Clone)
	g.Payments = slices.Clone(g.Payments)
	g.Retainers = slices.Clone(g.Retainers)
	g.Providers = cloneAll(g.Providers, market.Provider.Clone)
	g.Certificates = cloneAll(g.Certificates, market.Certificate.Clone)
	g.Audits = cloneAll(g.Audits, market.Audit.Clone)
	return g
}

// cloneAll copies a list and each of its rows.
func cloneAll[T any](list []T, clone func(T) T) []T {
	out := slices.Clone(list)
	for i := range out {
		out[i] = clone(out[i])
	}
	return out
}
