// Ownmarket is a market with a rule of its own in front of a ready host: a club,
// where only members may order. Everything else is the market of the library, in
// memory, with a provider and tenants on it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/moorage-dev/moorage/cluster/memcluster"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/memmarket"
	"github.com/moorage-dev/moorage/provider"
	"github.com/moorage-dev/moorage/provider/bidengine"
)

// Club is a market whose members alone may order. Programs get a [market.Client]
// from it as from any other host.
type Club struct {
	host *memmarket.Market

	mu      sync.Mutex // guards members
	members map[market.Address]bool
}

// Admit makes an account a member.
func (c *Club) Admit(a market.Address) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.members[a] = true
}

// Client returns the market as the account sees it.
func (c *Club) Client(a market.Address) market.Client { return client{c.host.Client(a), c} }

// client is a client of the host with the club's rule in front.
type client struct {
	market.Client
	club *Club
}

// Submit implements [market.Writer]. A batch is carried out whole or not at all,
// so one order of a stranger refuses all of it.
func (c client) Submit(ctx context.Context, msgs ...market.Msg) (market.Receipt, error) {
	for _, m := range msgs {
		if _, orders := m.(market.CreateDeployment); orders && !c.club.member(m.Signer()) {
			return market.Receipt{}, market.Refuse(market.ErrUnauthorized, "club-members-only", "%s is no member of this club", m.Signer())
		}
	}
	return c.Client.Submit(ctx, msgs...)
}

func (c *Club) member(a market.Address) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.members[a]
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) (err error) {
	money := market.Coins{market.NewCoin("uact", 1_000_000)}
	host, err := memmarket.New(memmarket.Config{
		BlockPerSubmit: true,
		Balances:       map[market.Address]market.Coins{"provider": money, "member": money, "stranger": money},
	})
	if err != nil {
		return err
	}
	club := &Club{host: host, members: map[market.Address]bool{}}
	club.Admit("member")
	bids := make(chan market.Price, 1)
	p, err := provider.New(provider.Config{
		Market: club.Client("provider"), Cluster: memcluster.New(memcluster.Config{}), HostURI: "https://provider.example.com:8443",
		Pricer: bidengine.PricerFunc(func(context.Context, bidengine.Request) (market.Decimal, error) { return market.NewDecimal(3), nil }),
		Observer: provider.ObserverFunc(func(e provider.Event) {
			if e.Kind == provider.EventBid {
				bids <- e.Price
			}
		}),
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	defer func() {
		cancel()
		err = errors.Join(err, <-ended)
	}()

	_, refusal := club.Client("stranger").Submit(ctx, order("stranger"))
	if !errors.Is(refusal, market.ErrUnauthorized) {
		return fmt.Errorf("the stranger's order: %w", refusal)
	}
	fmt.Fprintln(out, "stranger:", refusal)
	if _, err := club.Client("member").Submit(ctx, order("member")); err != nil {
		return err
	}
	select {
	case price := <-bids:
		fmt.Fprintln(out, "member: the provider bids", price)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// order asks for one small container.
func order(owner market.Address) market.Msg {
	return market.CreateDeployment{
		ID:      market.DeploymentID{Owner: owner, DSeq: 1},
		Hash:    market.Hash{1}, // of the manifest that would follow
		Deposit: market.NewCoin("uact", 500_000),
		Groups: []market.GroupSpec{{Name: "web", Units: []market.ResourceUnit{{
			Resources: market.Resources{
				ID: 1, CPU: market.CPU{MilliCores: 500}, Memory: market.Memory{Bytes: 256 << 20},
				Storage: []market.Volume{{Name: "default", Bytes: 1 << 30}},
			},
			Count: 1, Price: market.Price{Denom: "uact", AmountPerBlock: market.NewDecimal(100)},
		}}}},
	}
}
