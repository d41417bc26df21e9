package keeper

import (
	"context"
	"fmt"
	"slices"

	"cosmossdk.io/collections"
	"cosmossdk.io/core/address"
	"cosmossdk.io/core/store"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/marketpb"
	"github.com/moorage-dev/moorage/market/machine"
)

// Names of the module. Its account holds every deposit and unpaid earning.
const (
	ModuleName = "market"
	StoreKey   = ModuleName
)

// Config is what a keeper needs of its chain. All fields are required.
type Config struct {
	Store     store.KVStoreService
	Bank      BankKeeper
	Accounts  AccountKeeper
	Addresses address.Codec
	// FeeCollector names the module account that gets the market's fee, and
	// money whose owner the bank refuses to pay.
	FeeCollector string
	// Authority may change the parameters, by custom the account of governance.
	Authority string
}

// BankKeeper is what the market needs of the bank.
type BankKeeper interface {
	SendCoinsFromAccountToModule(ctx context.Context, from sdk.AccAddress, to string, amount sdk.Coins) error
	SendCoinsFromModuleToAccount(ctx context.Context, from string, to sdk.AccAddress, amount sdk.Coins) error
	SendCoinsFromModuleToModule(ctx context.Context, from, to string, amount sdk.Coins) error
	SpendableCoins(ctx context.Context, a sdk.AccAddress) sdk.Coins
	GetAllBalances(ctx context.Context, a sdk.AccAddress) sdk.Coins
}

// AccountKeeper is what the market needs of accounts.
type AccountKeeper interface {
	GetModuleAccount(ctx context.Context, name string) sdk.ModuleAccountI
	GetModuleAddress(name string) sdk.AccAddress
}

// Keeper keeps the market's state in a store.
type Keeper struct {
	config Config
	schema collections.Schema

	params       collections.Item[market.Params]
	deployments  collections.Map[market.DeploymentID, market.Deployment]
	groups       collections.Map[market.GroupID, market.Group]
	orders       collections.Map[market.OrderID, market.Order]
	bids         collections.Map[market.BidID, market.Bid]
	leases       collections.Map[market.LeaseID, market.Lease]
	accounts     collections.Map[market.DeploymentID, market.Account]
	payments     collections.Map[market.LeaseID, market.Payment]
	providers    collections.Map[market.Address, market.Provider]
	certificates collections.Map[market.CertificateID, market.Certificate]
	audits       collections.Map[market.AuditID, market.Audit]
	timers       collections.KeySet[machine.Timer]
	refs         collections.KeySet[machine.Ref]
	retainers    collections.Map[market.RetainerID, market.Retainer]
}

// Prefixes of the collections in the store. Do not renumber.
const (
	prefixParams       = 0
	prefixDeployments  = 1
	prefixGroups       = 2
	prefixOrders       = 3
	prefixBids         = 4
	prefixLeases       = 5
	prefixAccounts     = 6
	prefixPayments     = 7
	prefixProviders    = 8
	prefixCertificates = 9
	prefixAudits       = 10
	prefixTimers       = 11
	prefixRefs         = 12
	prefixRetainers    = 13
)

// New makes a keeper. The error tells a mistake of the program.
func New(c Config) (*Keeper, error) {
	b := collections.NewSchemaBuilder(c.Store)
	k := &Keeper{
		config:       c,
		params:       collections.NewItem(b, collections.NewPrefix(prefixParams), "params", messages(marketpb.FromParams, marketpb.ToParams)),
		deployments:  rows(b, prefixDeployments, "deployment", (*keyReader).deployment, messages(marketpb.FromDeployment, marketpb.ToDeployment)),
		groups:       rows(b, prefixGroups, "group", (*keyReader).group, messages(marketpb.FromGroup, marketpb.ToGroup)),
		orders:       rows(b, prefixOrders, "order", (*keyReader).order, messages(marketpb.FromOrder, marketpb.ToOrder)),
		bids:         rows(b, prefixBids, "bid", (*keyReader).bid, messages(marketpb.FromBid, marketpb.ToBid)),
		leases:       rows(b, prefixLeases, "lease", (*keyReader).lease, messages(marketpb.FromLease, marketpb.ToLease)),
		accounts:     rows(b, prefixAccounts, "account", (*keyReader).deployment, messages(marketpb.FromAccount, marketpb.ToAccount)),
		payments:     rows(b, prefixPayments, "payment", (*keyReader).lease, messages(marketpb.FromPayment, marketpb.ToPayment)),
		providers:    rows(b, prefixProviders, "provider", (*keyReader).address, messages(marketpb.FromProvider, marketpb.ToProvider)),
		certificates: rows(b, prefixCertificates, "certificate", (*keyReader).certificate, messages(marketpb.FromCertificate, marketpb.ToCertificate)),
		audits:       rows(b, prefixAudits, "audit", (*keyReader).audit, messages(marketpb.FromAudit, marketpb.ToAudit)),
		timers:       keys(b, prefixTimers, "timer", (*keyReader).timer),
		refs:         keys(b, prefixRefs, "ref", (*keyReader).ref),
		retainers:    rows(b, prefixRetainers, "retainer", (*keyReader).retainer, messages(marketpb.FromRetainer, marketpb.ToRetainer)),
	}
	var err error
	if k.schema, err = b.Build(); err != nil {
		return nil, fmt.Errorf("keeper: %w", err)
	}
	if c.Accounts.GetModuleAddress(ModuleName) == nil {
		return nil, fmt.Errorf("keeper: the application has no module account %q", ModuleName)
	}
	return k, nil
}

func messages[V, P any, W wire[P]](from func(V) P, to func(P) (V, error)) valueCodec[V, P, W] {
	return valueCodec[V, P, W]{from, to}
}

func rows[K machine.Key, V, P any, W wire[P]](
	b *collections.SchemaBuilder, prefix int, name string, decode func(*keyReader) K, values valueCodec[V, P, W],
) collections.Map[K, V] {
	return collections.NewMap(b, collections.NewPrefix(prefix), name, keyCodec[K]{name, decode}, values)
}

func keys[K machine.Key](b *collections.SchemaBuilder, prefix int, name string, decode func(*keyReader) K) collections.KeySet[K] {
	return collections.NewKeySet(b, collections.NewPrefix(prefix), name, keyCodec[K]{name, decode})
}

// State returns the market's tables as the context sees them.
func (k *Keeper) State(ctx context.Context) machine.State {
	return machine.State{
		Deployments:  table[market.DeploymentID, market.Deployment]{ctx, k.deployments},
		Groups:       table[market.GroupID, market.Group]{ctx, k.groups},
		Orders:       table[market.OrderID, market.Order]{ctx, k.orders},
		Bids:         table[market.BidID, market.Bid]{ctx, k.bids},
		Leases:       table[market.LeaseID, market.Lease]{ctx, k.leases},
		Accounts:     table[market.DeploymentID, market.Account]{ctx, k.accounts},
		Payments:     table[market.LeaseID, market.Payment]{ctx, k.payments},
		Providers:    table[market.Address, market.Provider]{ctx, k.providers},
		Certificates: table[market.CertificateID, market.Certificate]{ctx, k.certificates},
		Audits:       table[market.AuditID, market.Audit]{ctx, k.audits},
		Timers:       keyTable[machine.Timer]{ctx, k.timers},
		Refs:         keyTable[machine.Ref]{ctx, k.refs},
		Retainers:    table[market.RetainerID, market.Retainer]{ctx, k.retainers},
	}
}

// Params returns the parameters in force.
func (k *Keeper) Params(ctx context.Context) (market.Params, error) { return k.params.Get(ctx) }

// SetParams replaces the parameters after checking them.
func (k *Keeper) SetParams(ctx context.Context, p market.Params) error {
	if err := p.Validate(); err != nil {
		return err
	}
	return k.params.Set(ctx, p)
}

// Pot returns what the module account holds.
func (k *Keeper) Pot(ctx context.Context) (market.Coins, error) {
	return marketpb.ToCoins(k.config.Bank.GetAllBalances(ctx, k.config.Accounts.GetModuleAddress(ModuleName)))
}

// Execute carries one message out in the block that ctx belongs to and emits
// its events. The caller discards the context's writes on an error. Errors have
// the form of [marketpb.WireError].
func (k *Keeper) Execute(ctx context.Context, msg market.Msg) error {
	if err := k.checkSigner(msg.Signer()); err != nil {
		return marketpb.WireError(err)
	}
	if err := k.checkListed(msg); err != nil {
		return marketpb.WireError(err)
	}
	m, err := k.machine(ctx)
	if err != nil {
		return err
	}
	events, err := m.Execute(moment(ctx), msg)
	if err != nil {
		return marketpb.WireError(err)
	}
	emit(ctx, events)
	return nil
}

// checkListed checks the addresses that the groups of a new deployment name: one
// that is written otherwise would match nobody, and exclude nobody. Providers are of
// this chain; auditors may be known under what they are called on another one, as
// published documents have them.
func (k *Keeper) checkListed(msg market.Msg) error {
	d, ok := msg.(market.CreateDeployment)
	if !ok {
		return nil
	}
	for _, g := range d.Groups {
		r := g.Requirements
		for _, a := range slices.Concat(r.SignedBy.AllOf, r.SignedBy.AnyOf) {
			if _, err := k.config.Addresses.StringToBytes(string(a)); err != nil {
				continue // of another chain
			}
			if err := k.checkSigner(a); err != nil {
				return err
			}
		}
		for _, a := range slices.Concat(r.Providers.Allowed, r.Providers.Excluded) {
			if err := k.checkSigner(a); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkSigner refuses other spellings of an address: bech32 may also be written
// in capitals, and the market compares addresses as text.
func (k *Keeper) checkSigner(a market.Address) error {
	raw, err := k.config.Addresses.StringToBytes(string(a))
	if err != nil {
		return market.Refuse(market.ErrInvalid, "address", "%s", err)
	}
	text, err := k.config.Addresses.BytesToString(raw)
	if err != nil || text != string(a) {
		return market.Refuse(market.ErrInvalid, "address", "%q must be written as %q", a, text)
	}
	return nil
}

// EndBlock does what is due at the end of the block. A thing that fails is left
// as it was, taken out of the queue and logged: one broken account must not
// stop the chain.
func (k *Keeper) EndBlock(ctx context.Context) error {
	m, err := k.machine(ctx)
	if err != nil {
		return err
	}
	due, err := m.Due(moment(ctx))
	if err != nil {
		return err
	}
	for _, t := range due {
		err := k.fire(ctx, t)
		if err == nil {
			continue
		}
		sdk.UnwrapSDKContext(ctx).Logger().Error("a due thing of the market failed and is set aside", "timer", t, "error", err)
		if err := m.Drop(t); err != nil {
			return err
		}
	}
	return nil
}

// fire does what one timer is for, whole or not at all.
func (k *Keeper) fire(ctx context.Context, t machine.Timer) error {
	cached, write := sdk.UnwrapSDKContext(ctx).CacheContext()
	m, err := k.machine(cached)
	if err != nil {
		return err
	}
	events, err := m.Fire(moment(cached), t)
	if err != nil {
		return err
	}
	emit(cached, events)
	write()
	return nil
}

func (k *Keeper) machine(ctx context.Context) (*machine.Machine, error) {
	params, err := k.params.Get(ctx)
	if err != nil {
		return nil, fmt.Errorf("keeper: parameters: %w", err)
	}
	return &machine.Machine{State: k.State(ctx), Bank: bank{ctx, k.config}, Params: params}, nil
}

// Check looks for broken invariants in the whole state; see [machine.Check].
func (k *Keeper) Check(ctx context.Context) error {
	pot, err := k.Pot(ctx)
	if err != nil {
		return err
	}
	return machine.Check(k.State(ctx), pot)
}

func moment(ctx context.Context) machine.Moment {
	c := sdk.UnwrapSDKContext(ctx)
	return machine.Moment{Height: c.BlockHeight(), Time: c.BlockTime().UTC()}
}

func emit(ctx context.Context, events []market.Event) {
	manager := sdk.UnwrapSDKContext(ctx).EventManager()
	for _, e := range events {
		kind, attributes := marketpb.FromEvent(e)
		out := sdk.NewEvent(kind)
		for _, a := range attributes {
			out = out.AppendAttributes(sdk.NewAttribute(a.Key, a.Value))
		}
		manager.EmitEvent(out)
	}
}
