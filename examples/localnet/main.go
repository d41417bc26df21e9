// Localnet is the whole marketplace in one process: a chain with one validator,
// a provider that runs real containers on this machine, and a funded tenant who
// deploys an SDL document. It prints every step, opens the page, follows the
// log, and goes on until Ctrl-C; with --once it runs the whole cycle and ends
// with a balance sheet.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/moorage-dev/moorage/cluster/runtime/runc"
	"github.com/moorage-dev/moorage/examples/internal/console"
	"github.com/moorage-dev/moorage/examples/internal/stack"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/app"
)

func main() {
	runc.Intercept() // a container's helper, if this process was started as one
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(os.Stdout, os.Stderr).ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// addressPrefix is what addresses of the local chain begin with.
const addressPrefix = "moor"

// options are the flags.
type options struct {
	file      string
	once      bool
	home      string
	blockTime time.Duration
	denoms    []string
	funds     uint64
	deposit   string
	http      string
	gateway   string
	grpc      string
	rpc       string
	runtime   string
	attribute []string
	auditors  []string
	exec      []string
	verbose   bool
	ips       stack.IPFlags
	kube      stack.KubeFlags
	image     string
	host      string
}

func command(stdout, stderr io.Writer) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "localnet [SDL-FILE]",
		Short: "Run a compute marketplace on this machine: a chain, a provider, a tenant",
		Long: `Localnet runs a chain with one validator, a provider and a funded tenant in one
process. The tenant deploys the SDL file (or a bundled hello-world), and the
provider runs its containers on this machine.

Without --once it follows the log until Ctrl-C. With --home the chain, the
containers and the images are kept and found again at the next start, also
after kill -9. Without it everything is temporary.`,
		Example: `  localnet                          # the bundled hello-world, until Ctrl-C
  localnet --once                   # the whole cycle, with a balance sheet
  localnet my-app.yaml              # a document of your own
  localnet --home ~/.moorage        # keep everything
  localnet --cluster kube --kube-ingress nginx --http 192.0.2.7:80 --image registry.example/hello:1`,
		Args:          cobra.MaximumNArgs(1),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.file = args[0]
			}
			if err := app.ConfigureAddresses(addressPrefix); err != nil {
				return err
			}
			level := slog.LevelError + 4 // nothing
			if o.verbose {
				level = slog.LevelInfo
			}
			log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
			err := run(cmd.Context(), o, console.New(stdout), log)
			if cmd.Context().Err() != nil && errors.Is(err, context.Canceled) {
				err = nil // Ctrl-C is how it is meant to end
			}
			return err
		},
	}
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	f := cmd.Flags()
	f.BoolVar(&o.once, "once", false, "deploy, reach, log, exec, update, close, and show the balance sheet")
	f.StringVar(&o.home, "home", "", "folder to keep everything in; empty is temporary")
	f.DurationVar(&o.blockTime, "block-time", time.Second, "pause between blocks")
	f.StringSliceVar(&o.denoms, "denoms", []string{"uact", "uakt"}, "denominations that the market settles in")
	f.Uint64Var(&o.funds, "funds", 100_000_000, "what the tenant owns at the beginning, of each denomination")
	f.StringVar(&o.deposit, "deposit", "", "what to put into escrow, as 5000000uact; empty is the least the market takes")
	f.StringVar(&o.http, "http", "127.0.0.1:8080", "where deployed web pages are served; port 0 picks a free one; with --cluster kube where its router is reached")
	f.StringVar(&o.gateway, "gateway", "127.0.0.1:0", "where the provider's gateway listens")
	f.StringVar(&o.grpc, "grpc", "", "serve the chain's gRPC here, for examples/tenant; empty does not")
	f.StringVar(&o.rpc, "rpc", "", "serve CometBFT's RPC here; empty does not")
	o.kube.Bind(f)
	f.StringVar(&o.image, "image", "", "image of the bundled hello-world, already in a registry; empty builds and serves it on this machine")
	f.StringVar(&o.host, "host", "localhost", "name or address under which ports of the cluster are reached")
	f.StringVar(&o.runtime, "runtime", "auto", "container runtime: auto, runc or docker")
	f.StringSliceVar(&o.attribute, "attribute", []string{"host=akash", "region=local"}, "facts the provider declares, as key=value")
	f.StringSliceVar(&o.auditors, "auditor", defaultAuditors(), "auditors whose word for the provider stands from the beginning")
	f.StringArrayVar(&o.exec, "exec", nil, "with --once: command to run in the container, a word per flag")
	o.ips.Register(f)
	f.BoolVarP(&o.verbose, "verbose", "v", false, "print what the parts report, on standard error")
	return cmd
}

// defaultAuditors are those that public SDL documents most often ask for. On a
// local chain nobody signs for them: their word for the local provider is
// written into the genesis, so that such documents deploy unchanged.
func defaultAuditors() []string {
	return []string{
		"akash1365yvmc4s7awdyj3n2sav7xfx76adc6dnmlx63",
		"akash18qa2a2ltfyvkyj0ggj3hkvuj6twzyumuaru9s4",
	}
}

// coins gives the same amount of every denomination.
func coins(amount uint64, denoms []string) (market.Coins, error) {
	var out market.Coins
	for _, d := range denoms {
		if err := market.ValidateDenom(d); err != nil {
			return nil, err
		}
		var err error
		if out, err = out.Add(market.NewCoin(d, amount)); err != nil {
			return nil, err
		}
	}
	return out, nil
}
