package tenant

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// Gateway is what a tenant needs of a provider's front door. The client of
// package provider/gateway/client is one.
type Gateway interface {
	// PutManifest sends the manifest of a deployment.
	PutManifest(ctx context.Context, id market.DeploymentID, m manifest.Manifest) error
	// LeaseStatus reports where a lease stands.
	LeaseStatus(ctx context.Context, id market.LeaseID) (api.LeaseStatus, error)
	// Screen asks what the provider would bid.
	Screen(ctx context.Context, groups []market.GroupSpec) ([]api.Offer, error)
}

// Dialer gives the gateway of a provider. It is asked for each use and may hand
// out the same value again.
type Dialer func(p market.Provider) (Gateway, error)

// Policy chooses one of the bids on an order, at least one; false takes none.
type Policy func(order market.OrderID, bids []market.Bid) (market.Bid, bool)

// Cheapest is the [Policy] that takes the lowest price; of equal ones the
// earliest bid, then the provider first by name.
func Cheapest(_ market.OrderID, bids []market.Bid) (market.Bid, bool) {
	return slices.MinFunc(bids, func(a, b market.Bid) int {
		return cmp.Or(a.Price.AmountPerBlock.Cmp(b.Price.AmountPerBlock),
			cmp.Compare(a.CreatedAt, b.CreatedAt), cmp.Compare(a.ID.Provider, b.ID.Provider))
	}), true
}

// Defaults of [Config].
const (
	DefaultBidTimeout     = 30 * time.Second
	DefaultAskAfter       = 5 * time.Second
	DefaultReadyTimeout   = 5 * time.Minute
	DefaultFailingTimeout = 30 * time.Second
	DefaultPollInterval   = 250 * time.Millisecond
)

// Config joins what a tenant needs. Market and Dial are required.
type Config struct {
	// Market signs for the tenant's account.
	Market market.Client
	// Dial finds gateways.
	Dial Dialer
	// BidTimeout is how long to wait for a first bid on every order.
	BidTimeout time.Duration
	// AskAfter is how long to wait for a bid before the providers are asked whether
	// they would bid at all; the wait ends when none would.
	AskAfter time.Duration
	// BidGrace is how long to wait for more bids after every order has one; 0
	// takes the first.
	BidGrace time.Duration
	// ReadyTimeout is how long the workload may take to run.
	ReadyTimeout time.Duration
	// FailingTimeout is how long the workload may be failing, without a better
	// moment, before the wait for it ends early.
	FailingTimeout time.Duration
	// PollInterval is how often a gateway is asked for a status.
	PollInterval time.Duration
	// Choose picks among bids; nil means [Cheapest].
	Choose Policy
	// Progress is told of each step; nil is silence. It must return at once.
	Progress func(Step)
}

// Tenant deploys on a market. It is safe for concurrent use.
type Tenant struct{ cfg Config }

// New checks the configuration. It starts nothing.
func New(cfg Config) (*Tenant, error) {
	if cfg.Market == nil || cfg.Dial == nil {
		return nil, errors.New("tenant: config: Market and Dial are required")
	}
	cfg.BidTimeout = cmp.Or(cfg.BidTimeout, DefaultBidTimeout)
	cfg.AskAfter = cmp.Or(cfg.AskAfter, DefaultAskAfter)
	cfg.ReadyTimeout = cmp.Or(cfg.ReadyTimeout, DefaultReadyTimeout)
	cfg.FailingTimeout = cmp.Or(cfg.FailingTimeout, DefaultFailingTimeout)
	cfg.PollInterval = cmp.Or(cfg.PollInterval, DefaultPollInterval)
	if cfg.Choose == nil {
		cfg.Choose = Cheapest
	}
	if cfg.Progress == nil {
		cfg.Progress = func(Step) {}
	}
	return &Tenant{cfg}, nil
}

// Plan is what to deploy: the result of compiling SDL, and the money.
type Plan struct {
	Groups   []market.GroupSpec
	Manifest manifest.Manifest
	Hash     market.Hash
	// Deposit goes into escrow. The zero value means the least the market takes,
	// in the denomination of the prices.
	Deposit market.Coin
	// DSeq numbers the deployment; 0 means the height of the newest block.
	DSeq uint64
	// Reclamation is the notice that a provider must give before it ends a lease,
	// as SDL's reclamation has it; 0 is none. It becomes a number of blocks at the
	// pace of the newest ones, rounded up. Groups that ask for blocks keep theirs.
	Reclamation time.Duration
}

// StepKind says which step was done.
type StepKind uint8

// Steps, in order.
const (
	StepCreated  StepKind = 1 // the deployment and its orders are on the market
	StepBids     StepKind = 2 // every order has a bid
	StepLeased   StepKind = 3 // leases were made
	StepManifest StepKind = 4 // a provider accepted the manifest
	StepStatus   StepKind = 5 // a lease's status changed
	StepReady    StepKind = 6 // everything runs
	StepClosed   StepKind = 7 // the deployment was closed again
)

// Step is told to [Config.Progress]. Fields that the kind does not call for are
// zero.
type Step struct {
	Kind       StepKind
	Deployment market.DeploymentID
	Height     int64
	Orders     []market.Order
	Bids       []market.Bid
	Leases     []market.LeaseID
	Status     api.LeaseStatus
}

// Running is a deployment whose leases were made.
type Running struct {
	Deployment market.DeploymentID
	// Leases are one per group, in the order of the groups.
	Leases []market.LeaseID
	// Status is of each lease when all ran.
	Status []api.LeaseStatus
}

// Deploy brings a plan from nothing to running. On failure the deployment, if
// it was made, is closed again; the error says what failed and matches
// [*NoBidsError], [*NotReadyError] or a sentinel of package market.
func (t *Tenant) Deploy(ctx context.Context, p Plan) (Running, error) {
	id, orders, err := t.Create(ctx, p)
	if err != nil {
		return Running{}, err
	}
	r, err := t.fill(ctx, p, id, orders)
	if err != nil {
		return r, t.giveBack(ctx, id, err)
	}
	return r, nil
}

// fill does the steps after the creation.
func (t *Tenant) fill(ctx context.Context, p Plan, id market.DeploymentID, orders []market.Order) (Running, error) {
	r := Running{Deployment: id}
	bids, err := t.AwaitBids(ctx, orders)
	if err != nil {
		return r, err
	}
	if r.Leases, err = t.Accept(ctx, bids); err != nil {
		return r, err
	}
	if err := t.SendManifest(ctx, r.Leases, p.Manifest); err != nil {
		return r, err
	}
	r.Status, err = t.AwaitReady(ctx, r.Leases, p.Hash)
	return r, err
}

// closeTimeout is how long a failed deployment is given to close again, also
// when the caller's context has ended.
const closeTimeout = 30 * time.Second

// giveBack closes a deployment that failed.
func (t *Tenant) giveBack(ctx context.Context, id market.DeploymentID, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if err := t.Close(ctx, id); err != nil {
		return errors.Join(cause, fmt.Errorf("tenant: closing deployment %s again failed, close it by hand: %w", id, err))
	}
	return cause
}

// maxDSeqTries bounds the numbers tried when the caller leaves the choice.
const maxDSeqTries = 16

// Create puts the deployment on the market and returns its orders, one per
// group in the order of the groups.
func (t *Tenant) Create(ctx context.Context, p Plan) (market.DeploymentID, []market.Order, error) {
	m := t.cfg.Market
	head, err := m.Head(ctx)
	if err != nil {
		return market.DeploymentID{}, nil, err
	}
	id := market.DeploymentID{Owner: m.Address(), DSeq: cmp.Or(p.DSeq, uint64(head.Height))}
	deposit, err := t.deposit(ctx, p)
	if err != nil {
		return id, nil, err
	}
	groups, err := t.withNotice(ctx, p, head)
	if err != nil {
		return id, nil, err
	}
	msg := market.CreateDeployment{ID: id, Groups: groups, Hash: p.Hash, Deposit: deposit}
	receipt, err := m.Submit(ctx, msg)
	for tries := 1; p.DSeq == 0 && tries < maxDSeqTries && errors.Is(err, market.ErrExists); tries++ {
		msg.ID.DSeq++ // another deployment of this block has the number
		receipt, err = m.Submit(ctx, msg)
	}
	id = msg.ID
	if err != nil {
		return id, nil, fmt.Errorf("tenant: create deployment: %w", err)
	}
	orders, err := t.openOrders(ctx, id)
	if err != nil {
		return id, nil, t.giveBack(ctx, id, err)
	}
	t.cfg.Progress(Step{Kind: StepCreated, Deployment: id, Height: receipt.Height, Orders: orders})
	return id, orders, nil
}

// deposit is what goes into escrow.
func (t *Tenant) deposit(ctx context.Context, p Plan) (market.Coin, error) {
	if p.Deposit != (market.Coin{}) {
		return t.affordable(ctx, p.Deposit, "")
	}
	if len(p.Groups) == 0 || len(p.Groups[0].Units) == 0 {
		return market.Coin{}, fmt.Errorf("tenant: %w: a plan without groups", market.ErrInvalid)
	}
	return t.affordable(ctx, p.Deposit, p.Groups[0].Units[0].Price.Denom)
}

// affordable is a deposit, the zero one being the least that the market takes in
// a denomination, checked against the balance so that the refusal names both.
func (t *Tenant) affordable(ctx context.Context, c market.Coin, denom string) (market.Coin, error) {
	if c == (market.Coin{}) {
		params, err := t.cfg.Market.Params(ctx)
		if err != nil {
			return market.Coin{}, err
		}
		c = market.Coin{Denom: denom, Amount: params.MinDeposits.Of(denom)}
	}
	balances, err := t.cfg.Market.Balances(ctx, t.cfg.Market.Address())
	if err != nil {
		return market.Coin{}, err
	}
	if have := balances.Of(c.Denom); have.Cmp(c.Amount) < 0 {
		return market.Coin{}, fmt.Errorf("tenant: account %s has %s%s and the deposit is %s: %w: send it money, or choose a smaller deposit",
			t.cfg.Market.Address(), have, c.Denom, c, market.ErrInsufficientFunds)
	}
	return c, nil
}

// withNotice is the plan's groups with the notice that it asks for in blocks.
func (t *Tenant) withNotice(ctx context.Context, p Plan, head market.Head) ([]market.GroupSpec, error) {
	if p.Reclamation <= 0 {
		return p.Groups, nil
	}
	pace := t.pace(ctx, head)
	if pace <= 0 {
		return nil, fmt.Errorf("tenant: %w: the market has too few blocks to tell how many a notice of %s is: ask for a number of blocks", market.ErrUnavailable, p.Reclamation)
	}
	blocks := int64((p.Reclamation + pace - 1) / pace)
	groups := slices.Clone(p.Groups)
	for i := range groups {
		groups[i].ReclaimBlocks = cmp.Or(groups[i].ReclaimBlocks, blocks)
	}
	return groups, nil
}

func (t *Tenant) openOrders(ctx context.Context, id market.DeploymentID) ([]market.Order, error) {
	list := func(page market.Page) ([]market.Order, string, error) {
		return t.cfg.Market.Orders(ctx, market.OrderFilter{Owner: id.Owner, DSeq: id.DSeq, State: market.OrderOpen}, page)
	}
	var orders []market.Order
	for o, err := range market.All(list) {
		if err != nil {
			return nil, err
		}
		orders = append(orders, o)
	}
	return orders, nil
}

// Accept makes a lease of each bid, all or none.
func (t *Tenant) Accept(ctx context.Context, bids []market.Bid) ([]market.LeaseID, error) {
	msgs := make([]market.Msg, len(bids))
	leases := make([]market.LeaseID, len(bids))
	for i, b := range bids {
		msgs[i] = market.CreateLease{ID: b.ID}
		leases[i] = b.ID.Lease()
	}
	receipt, err := t.cfg.Market.Submit(ctx, msgs...)
	if err != nil {
		return nil, fmt.Errorf("tenant: create lease: %w", err)
	}
	t.cfg.Progress(Step{Kind: StepLeased, Height: receipt.Height, Leases: leases, Bids: bids})
	return leases, nil
}

// Close closes the deployment; what is left in escrow comes back.
func (t *Tenant) Close(ctx context.Context, id market.DeploymentID) error {
	receipt, err := t.cfg.Market.Submit(ctx, market.CloseDeployment{ID: id})
	if err != nil {
		return fmt.Errorf("tenant: close deployment: %w", err)
	}
	t.cfg.Progress(Step{Kind: StepClosed, Deployment: id, Height: receipt.Height})
	return nil
}

// Update replaces what a deployment runs by the plan's manifest and waits until
// the new version runs. Groups must be as they were. If the providers refuse
// the manifest, the hash on the market is the new one all the same: call Update
// again with a manifest that they take.
func (t *Tenant) Update(ctx context.Context, id market.DeploymentID, p Plan) (Running, error) {
	r := Running{Deployment: id}
	leases, err := t.Leases(ctx, id)
	if err != nil {
		return r, err
	}
	r.Leases = leases
	if _, err := t.cfg.Market.Submit(ctx, market.UpdateDeployment{ID: id, Hash: p.Hash}); err != nil {
		return r, fmt.Errorf("tenant: update deployment: %w", err)
	}
	if err := t.SendManifest(ctx, leases, p.Manifest); err != nil {
		return r, err
	}
	r.Status, err = t.AwaitReady(ctx, leases, p.Hash)
	return r, err
}

// Leases returns the leases of a deployment that are not closed, those under
// notice too, in the order of its groups.
func (t *Tenant) Leases(ctx context.Context, id market.DeploymentID) ([]market.LeaseID, error) {
	list := func(page market.Page) ([]market.Lease, string, error) {
		return t.cfg.Market.Leases(ctx, market.LeaseFilter{Owner: id.Owner, DSeq: id.DSeq, Live: true}, page)
	}
	var out []market.LeaseID
	for l, err := range market.All(list) {
		if err != nil {
			return nil, err
		}
		out = append(out, l.ID)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("tenant: deployment %s has no active lease: %w", id, market.ErrNotFound)
	}
	return out, nil
}
