package client

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	authv1beta1 "cosmossdk.io/api/cosmos/auth/v1beta1"
	nodev1beta1 "cosmossdk.io/api/cosmos/base/node/v1beta1"
	cmtv1beta1 "cosmossdk.io/api/cosmos/base/tendermint/v1beta1"
	cryptotypes "github.com/cosmos/cosmos-sdk/crypto/types"
	txtypes "github.com/cosmos/cosmos-sdk/types/tx"
	"github.com/hashicorp/go-multierror"
	"google.golang.org/grpc"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/marketpb"
)

// Signer signs transactions for one account. Package market/chain/keys has
// implementations. Methods must be safe for concurrent use.
type Signer interface {
	// Address is the account's address in the chain's text form.
	Address() market.Address
	// PublicKey is the key by which the chain checks signatures.
	PublicKey() cryptotypes.PubKey
	// Sign signs bytes.
	Sign(message []byte) ([]byte, error)
}

// Config says how a client works. The zero value reads only, without fees.
type Config struct {
	// Signer signs transactions; nil makes a client that only reads.
	Signer Signer
	// Granter is the account for which the client acts, when Signer is only
	// allowed to: every message goes through the SDK's authorizations (x/authz),
	// and [Client.Address] is the granter. Empty acts for Signer itself.
	Granter market.Address
	// FeeGranter is the account that pays the fees, when it has granted them to
	// Signer (x/feegrant). Empty lets Signer pay.
	FeeGranter market.Address
	// GasPrice is what is paid for a unit of gas, as "0.025uakt"; empty pays
	// nothing.
	GasPrice string
	// GasPercent is what a transaction may use of gas, in percent of what the
	// node says it would; 0 is [DefaultGasPercent].
	GasPercent uint64
	// Timeout is how long a transaction may wait for its block, in the chain's
	// time; 0 is [DefaultTimeout]; at most [MaxTimeout].
	Timeout time.Duration
	// Poll is the pause between questions for the newest height; 0 is
	// [DefaultPoll].
	Poll time.Duration
	// Logger gets what the client does about failures it can handle; nil
	// discards it.
	Logger *slog.Logger
}

// Defaults and bounds of [Config].
const (
	DefaultGasPercent = 150
	DefaultTimeout    = 2 * time.Minute
	// MaxTimeout stays below the ten minutes that the SDK allows a transaction
	// without a sequence number.
	MaxTimeout  = 9 * time.Minute
	DefaultPoll = 100 * time.Millisecond
	// maxGasPercent bounds what a mistake can cost.
	maxGasPercent = 1000
)

// Client is a market on a chain. It is safe for concurrent use.
type Client struct {
	config Config
	price  gasPrice
	log    *slog.Logger

	query   marketpb.QueryClient
	blocks  cmtv1beta1.ServiceClient
	node    nodev1beta1.ServiceClient
	account authv1beta1.QueryClient
	tx      txtypes.ServiceClient

	heads  headCache
	recent blockCache

	mu       sync.Mutex
	chainID  string
	number   uint64
	numbered bool
}

var _ market.Client = (*Client)(nil)

// New makes a client over a connection, which stays the caller's. It asks
// nothing yet. The error lists all faults of the configuration.
func New(conn grpc.ClientConnInterface, c Config) (*Client, error) {
	c = c.withDefaults()
	price, err := c.check()
	if err != nil {
		return nil, err
	}
	e := newEncoded(conn)
	return &Client{
		config: c, price: price, log: c.Logger,
		query: marketpb.NewQueryClient(e), blocks: cmtv1beta1.NewServiceClient(e),
		node: nodev1beta1.NewServiceClient(e), account: authv1beta1.NewQueryClient(e), tx: txtypes.NewServiceClient(e),
		heads: headCache{turn: make(chan struct{}, 1)},
	}, nil
}

func (c Config) withDefaults() Config {
	if c.GasPercent == 0 {
		c.GasPercent = DefaultGasPercent
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Poll == 0 {
		c.Poll = DefaultPoll
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) check() (gasPrice, error) {
	var faults *multierror.Error
	price, err := parseGasPrice(c.GasPrice)
	if err != nil {
		faults = multierror.Append(faults, err)
	}
	if c.GasPercent < 100 || c.GasPercent > maxGasPercent {
		faults = multierror.Append(faults, fmt.Errorf("client: gas percent %d: %w: want 100 to %d", c.GasPercent, market.ErrInvalid, maxGasPercent))
	}
	if c.Timeout < 0 || c.Timeout > MaxTimeout {
		faults = multierror.Append(faults, fmt.Errorf("client: timeout %s: %w: want above 0 and at most %s", c.Timeout, market.ErrInvalid, MaxTimeout))
	}
	if c.Poll < 0 {
		faults = multierror.Append(faults, fmt.Errorf("client: poll %s: %w", c.Poll, market.ErrInvalid))
	}
	if c.Signer == nil && (c.Granter != "" || c.FeeGranter != "") {
		faults = multierror.Append(faults, fmt.Errorf("client: granter: %w: want a signer", market.ErrInvalid))
	}
	return price, faults.ErrorOrNil()
}

// gasPrice is what a unit of gas costs. The zero value is free.
type gasPrice struct {
	denom string
	each  market.Decimal
}

func parseGasPrice(s string) (gasPrice, error) {
	if s == "" {
		return gasPrice{}, nil
	}
	i := strings.IndexFunc(s, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if i < 0 {
		return gasPrice{}, fmt.Errorf("client: gas price %q: %w: want a number and a denomination, as 0.025uakt", s, market.ErrInvalid)
	}
	each, err := market.ParseDecimal(s[:i])
	if err == nil {
		err = market.ValidateDenom(s[i:])
	}
	if err != nil {
		return gasPrice{}, fmt.Errorf("client: gas price: %w", err)
	}
	return gasPrice{s[i:], each}, nil
}

// fee returns what an amount of gas costs, rounded up to whole units.
func (p gasPrice) fee(gas uint64) (market.Coins, error) {
	total, err := p.each.Times(gas)
	if err != nil || total.IsZero() {
		return nil, err
	}
	return market.Coins{{Denom: p.denom, Amount: total.Ceil()}}, nil
}

// Address implements [market.Writer]: the granter where there is one, otherwise
// the signer; empty for a client that only reads.
func (c *Client) Address() market.Address {
	switch {
	case c.config.Signer == nil:
		return ""
	case c.config.Granter != "":
		return c.config.Granter
	}
	return c.config.Signer.Address()
}

// Head implements [market.ChainReader].
func (c *Client) Head(ctx context.Context) (market.Head, error) {
	id, err := c.chain(ctx)
	if err != nil {
		return market.Head{}, err
	}
	h, err := c.head(ctx)
	return market.Head{ChainID: id, Height: h.height, Time: h.time}, err
}

// chain returns the chain's name, which it asks for once.
func (c *Client) chain(ctx context.Context) (string, error) {
	c.mu.Lock()
	id := c.chainID
	c.mu.Unlock()
	if id != "" {
		return id, nil
	}
	info, err := c.blocks.GetNodeInfo(ctx, &cmtv1beta1.GetNodeInfoRequest{})
	if err != nil {
		return "", fromStatus("chain", err)
	}
	id = info.GetDefaultNodeInfo().GetNetwork()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.chainID = id
	return id, nil
}
