// Provider sells the capacity of this machine on a chain: it bids on orders,
// runs the containers of the leases it wins, and is paid for them.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/cluster/runtime/runc"
	"github.com/moorage-dev/moorage/examples/internal/keycmd"
	"github.com/moorage-dev/moorage/examples/internal/stack"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/app"
	"github.com/moorage-dev/moorage/market/chain/client"
	"github.com/moorage-dev/moorage/provider"
	gatewayclient "github.com/moorage-dev/moorage/provider/gateway/client"
	"github.com/moorage-dev/moorage/provider/metrics"
	"github.com/moorage-dev/moorage/provider/operator"
)

func main() {
	runc.Intercept() // a container's helper, if this process was started as one
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(os.Stdin, os.Stdout, os.Stderr).ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// program holds the flags that all commands share.
type program struct {
	home    string
	node    string
	prefix  string
	backend string
	key     string
	json    bool
	stdin   io.Reader
	stdout  io.Writer
	stderr  io.Writer
}

func command(stdin io.Reader, stdout, stderr io.Writer) *cobra.Command {
	p := &program{stdin: stdin, stdout: stdout, stderr: stderr}
	cmd := &cobra.Command{
		Use: "provider", Short: "Sell the capacity of this machine on a chain",
		Long: `This program registers a provider on a chain, bids on orders, runs the containers of the leases
it wins on this machine, and serves their tenants over HTTPS.

  provider keys add provider
  provider run --node 127.0.0.1:9090 --host provider.example.com`,
		SilenceUsage: true, SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error { return app.ConfigureAddresses(p.prefix) },
	}
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	f := cmd.PersistentFlags()
	f.StringVar(&p.home, "home", keycmd.DefaultHome("provider"), "folder of the provider")
	f.StringVar(&p.node, "node", "127.0.0.1:9090", "gRPC address of a chain node")
	f.StringVar(&p.prefix, "prefix", "moor", "what addresses begin with")
	f.StringVar(&p.backend, "keyring", "test", "how keys are kept: test (readable files) or file (passphrase)")
	f.StringVar(&p.key, "key", "provider", "name of the key to sign with")
	f.BoolVar(&p.json, "json", false, "print JSON")
	cmd.AddCommand(p.runCommand(), p.statusCommand(), keycmd.New(p.keys()))
	cmd.AddCommand(p.operatorCommands()...)
	return cmd
}

func (p *program) keys() keycmd.Options {
	return keycmd.Options{
		Dir: func() string { return filepath.Join(p.home, "keys") }, Backend: &p.backend, Stdin: p.stdin, JSON: &p.json,
	}
}

// connect opens a client that signs with the key.
func (p *program) connect() (*client.Client, *grpc.ClientConn, error) {
	ring, err := p.keys().Open()
	if err != nil {
		return nil, nil, err
	}
	key, err := ring.Load(p.key)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: make it with \"provider keys add %s\"", err, p.key)
	}
	conn, err := client.Dial(p.node, nil)
	if err != nil {
		return nil, nil, err
	}
	c, err := client.New(conn, client.Config{Signer: key})
	return c, conn, err
}

// runOptions are the flags of run.
type runOptions struct {
	gateway, http, host, domain string
	runtime                     string
	attributes                  []string
	level                       string
	// pricing is a file, operator the address of the operator's door; "" is none.
	pricing, operator string
	drain, audience   bool
	overcommit        map[string]int
	ips               stack.IPFlags
	kube              stack.KubeFlags
}

func (p *program) runCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use: "run", Short: "Bid, run containers and serve tenants until Ctrl-C", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.run(cmd.Context(), o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.gateway, "gateway", ":8443", "where tenants' programs reach the gateway")
	f.StringVar(&o.http, "http", ":80", "where deployed web pages are served")
	f.StringVar(&o.host, "host", "localhost", "name or address under which this machine is found")
	f.StringVar(&o.domain, "domain", "localhost", "domain under which deployed pages get names")
	o.kube.Bind(f)
	f.StringVar(&o.runtime, "runtime", "auto", "container runtime: auto, runc or docker")
	f.StringSliceVar(&o.attributes, "attribute", []string{"host=akash"}, "facts the provider declares, as key=value")
	o.ips.Register(f)
	f.StringVar(&o.level, "log", "info", "what to log: debug, info, warn or error")
	f.StringVar(&o.pricing, "pricing", "", "file with rates, a program or lists of tenants; none is the usual rates")
	f.StringVar(&o.operator, "operator", "", "where the operator's door listens, for example 127.0.0.1:9464; it asks for no password")
	f.BoolVar(&o.drain, "drain", false, "start without making new bids, until \"provider resume\"")
	f.BoolVar(&o.audience, "token-audience", false, "refuse tokens that do not name this provider, so that no other provider can use those it is shown")
	f.StringToIntVar(&o.overcommit, "overcommit", nil, "what may be promised, in percent of what there is, for example cpu=150,memory=90")
	return cmd
}

func (p *program) run(ctx context.Context, o runOptions) (err error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.level)); err != nil {
		return fmt.Errorf("--log %q: want debug, info, warn or error", o.level)
	}
	log := slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: level}))
	attributes, err := stack.ParseAttributes(o.attributes)
	if err != nil {
		return err
	}
	m, conn, err := p.connect()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	denoms, err := p.denoms(ctx, m)
	if err != nil {
		return err
	}
	ips, err := o.ips.Parse(denoms)
	if err != nil {
		return err
	}
	pricer, err := openPricing(o.pricing, denoms)
	if err != nil {
		return err
	}
	over, err := overcommit(o.overcommit)
	if err != nil {
		return err
	}
	shown := metrics.New()
	cluster, err := o.kube.Config(o.host, o.domain, o.http)
	if err != nil {
		return err
	}
	seller, err := stack.NewSeller(ctx, stack.SellerConfig{
		Kube:   cluster,
		Market: m, Home: p.home, Runtime: o.runtime, Gateway: o.gateway, HTTP: o.http,
		PublicHost: o.host, Domain: o.domain, Pricer: pricer, IPs: ips, Logger: log,
		Attributes: append(attributes, stack.StorageAttributes()...).Sorted(),
		Observer:   provider.Observers{shown, provider.ObserverFunc(func(e provider.Event) { logEvent(log, e) })},
		Overcommit: over, TokenAudience: o.audience,
	})
	if err != nil {
		return err
	}
	shown.Attach(seller.Provider)
	if o.drain {
		seller.Provider.Drain(true, "")
	}
	fmt.Fprintf(p.stdout, "provider %s sells %s\ngateway %s, web pages on %s, containers by %s\n",
		m.Address(), seller.Summary(), seller.HostURI(), seller.HTTPAddress(), seller.RuntimeName())
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return seller.Run(ctx) })
	g.Go(func() error { return serveOperator(ctx, o.operator, operator.New(seller.Provider, shown.Handler())) })
	return errors.Join(g.Wait(), seller.Close(false))
}

// overcommit reads the factors of --overcommit.
func overcommit(percent map[string]int) (o inventory.Overcommit, err error) {
	for name, n := range percent {
		if n < 1 || n > inventory.MaxOvercommitPercent {
			return o, fmt.Errorf("--overcommit %s=%d: want 1 to %d", name, n, inventory.MaxOvercommitPercent)
		}
		switch name {
		case "cpu":
			o.CPUPercent = uint32(n)
		case "memory":
			o.MemoryPercent = uint32(n)
		case "ephemeral":
			o.EphemeralPercent = uint32(n)
		case "persistent":
			o.PersistentPercent = uint32(n)
		default:
			return o, fmt.Errorf("--overcommit %s: want cpu, memory, ephemeral or persistent", name)
		}
	}
	return o, nil
}

// startTimeout is how long the node may take to answer.
const startTimeout = 30 * time.Second

// denoms are what the market settles in; the answer also tells that there is a
// chain.
func (p *program) denoms(ctx context.Context, m *client.Client) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	params, err := m.Params(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: is a node running with --grpc %s?", err, p.node)
	}
	var out []string
	for _, c := range params.MinDeposits {
		out = append(out, c.Denom)
	}
	return out, nil
}

// logEvent writes what an operator wants to follow.
func logEvent(log *slog.Logger, e provider.Event) {
	if e.Kind == provider.EventStatus || e.Kind == provider.EventDeclined || e.Kind == provider.EventOrderSeen {
		return // logged by the parts themselves, or too much
	}
	if e.Lease == (market.LeaseID{}) {
		log.Info("provider", "event", e.Kind.String())
		return
	}
	log.Info("provider", "event", e.Kind.String(), "lease", e.Lease, "price", e.Price.String())
}

func (p *program) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status [ADDRESS]", Short: "Ask a provider's gateway what it sells and does", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			conn, err := client.Dial(p.node, nil)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, conn.Close()) }()
			m, err := client.New(conn, client.Config{})
			if err != nil {
				return err
			}
			address, err := p.address(args)
			if err != nil {
				return err
			}
			return p.status(cmd.Context(), m, address)
		},
	}
}

// address is the argument, or the address of the key.
func (p *program) address(args []string) (market.Address, error) {
	if len(args) == 1 {
		return market.Address(args[0]), nil
	}
	ring, err := p.keys().Open()
	if err != nil {
		return "", err
	}
	key, err := ring.Load(p.key)
	if err != nil {
		return "", err
	}
	return key.Address(), nil
}

func (p *program) status(ctx context.Context, m *client.Client, address market.Address) error {
	registered, err := m.Provider(ctx, address)
	if err != nil {
		return err
	}
	gw, err := gatewayclient.New(gatewayclient.Config{Provider: address, HostURI: registered.HostURI, Market: m})
	if err != nil {
		return err
	}
	defer gw.Close()
	s, err := gw.Status(ctx)
	if err != nil {
		return err
	}
	if p.json {
		return json.NewEncoder(p.stdout).Encode(s)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "provider %s at %s\nstate %s, height %d\nleases %d, bids %d, orders %d\n",
		s.Provider, registered.HostURI, s.State, s.Height, s.Leases, s.Bids, s.Orders)
	for _, reason := range slices.Sorted(maps.Keys(s.Refusals)) {
		fmt.Fprintf(&b, "not bid on because of %s: %d\n", reason, s.Refusals[reason])
	}
	if i := s.Inventory; i != nil {
		fmt.Fprintf(&b, "available %.1f of %.1f cores, %.1f of %.1f GiB memory\n",
			float64(i.Available.MilliCores)/1000, float64(i.Allocatable.MilliCores)/1000,
			float64(i.Available.MemoryBytes)/(1<<30), float64(i.Allocatable.MemoryBytes)/(1<<30))
	}
	_, err = io.WriteString(p.stdout, b.String())
	return err
}
