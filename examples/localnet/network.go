package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/moorage-dev/moorage/examples/internal/console"
	"github.com/moorage-dev/moorage/examples/internal/demo"
	"github.com/moorage-dev/moorage/examples/internal/stack"
	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/app"
	"github.com/moorage-dev/moorage/market/chain/client"
	"github.com/moorage-dev/moorage/market/chain/keys"
	"github.com/moorage-dev/moorage/market/chain/node"
	"github.com/moorage-dev/moorage/provider"
)

// chainID names the local chain.
const chainID = "localnet-1"

// network is the running marketplace.
type network struct {
	o    options
	con  *console.Console
	log  *slog.Logger
	home string
	temp bool

	node     *node.Node
	conn     *grpc.ClientConn
	seller   *stack.Seller
	provider *client.Client
	tenant   *client.Client
	registry *demo.Registry
	buyer    *stack.Buyer
	source   []byte // of the user's document
	before   balances
	parts    *errgroup.Group
	steps    *breakdown
}

// run starts everything, does the tenant's work, and stops everything. The
// parts outlive ctx, so that what was begun can be ended in order when it ends.
func run(ctx context.Context, o options, con *console.Console, log *slog.Logger) error {
	n := &network{o: o, con: con, log: log, steps: newBreakdown()}
	if o.file != "" { // a faulty document needs no chain to be told so
		var err error
		if n.source, err = stack.ReadFile(o.file); err != nil {
			return err
		}
		if _, _, err := stack.CompilePlan(o.file, n.source); err != nil {
			return err
		}
	}
	if err := n.openHome(); err != nil {
		return err
	}
	alive, kill := context.WithCancel(context.WithoutCancel(ctx))
	defer kill()
	n.parts, alive = errgroup.WithContext(alive)
	ctx, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(alive, cancel)() // no work without the parts
	err := n.start(ctx, alive)
	if err == nil {
		err = n.work(ctx, alive)
	}
	if alive.Err() != nil || errors.Is(err, context.Canceled) {
		err = nil // the part that failed says why, or Ctrl-C was pressed
	}
	kill()
	ended := n.parts.Wait()
	if errors.Is(ended, context.Canceled) {
		ended = nil
	}
	return errors.Join(err, ended, n.close())
}

// openHome makes the folder, or a temporary one.
func (n *network) openHome() error {
	if n.o.home == "" {
		dir, err := os.MkdirTemp("", "moorage-localnet-*")
		n.home, n.temp = dir, true
		return err
	}
	dir, err := filepath.Abs(n.o.home)
	if err != nil {
		return err
	}
	n.home = dir
	return os.MkdirAll(dir, 0o700)
}

// start brings up the chain, and then registry, provider and tenant together:
// each waits for blocks of its own.
func (n *network) start(ctx, alive context.Context) error {
	if err := n.startChain(ctx, alive); err != nil {
		return err
	}
	var err error
	if n.before, err = n.balances(ctx); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	if n.o.file == "" && n.o.image == "" {
		g.Go(func() error { return n.startRegistry(ctx) })
	}
	g.Go(func() error { return n.startTenant(ctx) })
	g.Go(func() error { return n.startProvider(ctx, alive) })
	return g.Wait()
}

// startTenant puts the tenant's certificate on the chain.
func (n *network) startTenant(ctx context.Context) (err error) {
	n.buyer, err = stack.NewBuyer(ctx, stack.BuyerConfig{
		Market: n.tenant, Home: n.home, BidTimeout: max(bidTimeout, 10*n.o.blockTime), Progress: n.progress,
	})
	if err == nil {
		n.con.Step("tenant", "%s owns %s", short(n.tenant.Address()), coinsText(n.before.tenant))
	}
	return err
}

func coinsText(cs market.Coins) string {
	parts := make([]string, len(cs))
	for i, c := range cs {
		parts[i] = c.Amount.String() + " " + c.Denom
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

// startChain starts the node and the clients of provider and tenant.
func (n *network) startChain(ctx, alive context.Context) error {
	ring, err := keys.Open(filepath.Join(n.home, "keys"), keys.Test, nil)
	if err != nil {
		return err
	}
	seller, _, err := ring.LoadOrCreate("provider")
	if err != nil {
		return err
	}
	buyer, _, err := ring.LoadOrCreate("tenant")
	if err != nil {
		return err
	}
	genesis, err := n.genesis(seller.Address(), buyer.Address())
	if err != nil {
		return err
	}
	n.node, err = node.New(node.Config{
		Home: filepath.Join(n.home, "chain"), Genesis: genesis, BlockInterval: n.o.blockTime,
		GRPCAddress: n.o.grpc, RPCAddress: n.o.rpc, Logger: n.log.With("part", "chain"),
	})
	if err != nil {
		return err
	}
	n.parts.Go(func() error { return explainHome(n.node.Run(alive), n.home) })
	select {
	case <-n.node.Ready():
	case <-ctx.Done(): // Ctrl-C, or the node has failed and says why
		return ctx.Err()
	}
	if n.conn, err = n.node.Dial(); err != nil {
		return err
	}
	if n.provider, err = client.New(n.conn, client.Config{Signer: seller}); err != nil {
		return err
	}
	if n.tenant, err = client.New(n.conn, client.Config{Signer: buyer}); err != nil {
		return err
	}
	head, err := n.tenant.Head(ctx)
	if err != nil {
		return err
	}
	n.con.SetHeight(head.Height)
	n.steps.mark("chain makes blocks")
	n.con.Step("chain", "%s makes blocks every %s%s", head.ChainID, n.o.blockTime, n.listening())
	n.parts.Go(func() error { return n.followHeights(alive) })
	return nil
}

// explainHome adds to an error of a second instance what to do.
func explainHome(err error, home string) error {
	if errors.Is(err, node.ErrHomeInUse) {
		return fmt.Errorf("%w: another localnet runs on %s: stop it, or give this one another --home", err, home)
	}
	return err
}

func (n *network) listening() string {
	a := n.node.Addresses()
	var parts []string
	if a.GRPC != "" {
		parts = append(parts, "gRPC on "+a.GRPC)
	}
	if a.RPC != "" {
		parts = append(parts, "RPC on "+a.RPC)
	}
	if len(parts) == 0 {
		return ""
	}
	return ", " + strings.Join(parts, ", ")
}

// genesis is how a new chain begins: provider and tenant have money.
func (n *network) genesis(seller, buyer market.Address) (app.Genesis, error) {
	tenantCoins, err := coins(n.o.funds, n.o.denoms)
	if err != nil {
		return app.Genesis{}, err
	}
	providerCoins, err := coins(providerFunds, n.o.denoms)
	if err != nil {
		return app.Genesis{}, err
	}
	attributes, err := n.attributes()
	if err != nil {
		return app.Genesis{}, err
	}
	g := app.Genesis{
		ChainID: chainID, Market: market.DefaultParams(n.o.denoms...),
		Accounts: []app.Account{{Address: seller, Coins: providerCoins}, {Address: buyer, Coins: tenantCoins}},
	}
	for _, auditor := range n.o.auditors {
		g.Audits = append(g.Audits, market.Audit{
			ID: market.AuditID{Provider: seller, Auditor: market.Address(auditor)}, Attributes: attributes,
		})
	}
	return g, nil
}

// providerFunds pay the deposits of bids.
const providerFunds = 100_000_000

// attributes are what the provider declares: the flags, and the storage that
// the fleet has.
func (n *network) attributes() (market.Attributes, error) {
	out, err := stack.ParseAttributes(n.o.attribute)
	if err != nil {
		return nil, err
	}
	ips, err := n.o.ips.Parse(n.o.denoms)
	if err != nil {
		return nil, err
	}
	return slices.Concat(out, stack.StorageAttributes(), iplease.AttributesOf(iplease.Config{Pools: ips.Pools})).Sorted(), nil
}

func (n *network) followHeights(ctx context.Context) error {
	for b, err := range n.tenant.Watch(ctx, 0) {
		if err != nil {
			return err
		}
		n.con.SetHeight(b.Height)
	}
	return nil
}

// startRegistry serves the demo image where it was served before, so that a
// deployment that is found again finds its image too.
func (n *network) startRegistry(ctx context.Context) error {
	file := filepath.Join(n.home, "demo", "address")
	address := "127.0.0.1:0"
	if before, err := os.ReadFile(file); err == nil {
		address = string(before)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var err error
	if n.registry, err = demo.Start(ctx, demoCache(n.home, n.temp), address); err != nil {
		if address == "127.0.0.1:0" {
			return err
		}
		n.log.Warn("the demo registry's old port is taken", "address", address, "err", err)
		if n.registry, err = demo.Start(ctx, demoCache(n.home, n.temp), "127.0.0.1:0"); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	n.steps.mark("demo image is built and served")
	n.con.Step("image", "built %s on the spot", n.registry.Image())
	return os.WriteFile(file, []byte(n.registry.Address()), 0o600)
}

// demoCache is where the compiled demo is kept. A temporary home shares the
// cache of the account, so that it is not compiled each time.
func demoCache(home string, temp bool) string {
	if cache, err := os.UserCacheDir(); temp && err == nil {
		return filepath.Join(cache, "moorage", "demo")
	}
	return filepath.Join(home, "demo")
}

// startProvider starts cluster, provider and gateway.
func (n *network) startProvider(ctx, alive context.Context) error {
	attributes, err := n.attributes()
	if err != nil {
		return err
	}
	pricer, err := stack.DefaultPricer(n.o.denoms...)
	if err != nil {
		return err
	}
	ips, err := n.o.ips.Parse(n.o.denoms)
	if err != nil {
		return err
	}
	cluster, err := n.o.kube.Config(n.o.host, "localhost", n.o.http)
	if err != nil {
		return err
	}
	n.seller, err = stack.NewSeller(ctx, stack.SellerConfig{
		IPs:    ips,
		Kube:   cluster,
		Market: n.provider, Home: filepath.Join(n.home, "provider"), Runtime: n.o.runtime,
		Gateway: n.o.gateway, HTTP: n.o.http, Attributes: attributes, Pricer: pricer,
		Observer: provider.ObserverFunc(n.observe), Logger: n.log,
	})
	if err != nil {
		return err
	}
	n.parts.Go(func() error { return n.seller.Run(alive) })
	n.steps.mark("provider is up")
	n.con.Step("provider", "%s sells %s", short(n.provider.Address()), n.seller.Summary())
	n.con.Info("provider", "gateway %s, web pages on http://%s, containers by %s",
		n.seller.HostURI(), n.seller.HTTPAddress(), n.seller.RuntimeName())
	return nil
}

// close ends what has no Run, and removes a temporary home with all that runs
// in it.
func (n *network) close() error {
	var err error
	if n.seller != nil {
		err = n.seller.Close(n.temp)
	}
	if n.registry != nil {
		err = errors.Join(err, n.registry.Close())
	}
	if n.conn != nil {
		err = errors.Join(err, n.conn.Close())
	}
	if n.temp {
		err = errors.Join(err, os.RemoveAll(n.home))
	}
	return err
}

// short is an address as people compare them.
func short(a market.Address) string {
	if len(a) <= 16 {
		return string(a)
	}
	return string(a[:9]) + "…" + string(a[len(a)-4:])
}
