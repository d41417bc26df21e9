// Tenant deploys SDL documents on a chain: from a file to running containers
// with their addresses, logs and shells, and back to the last coin.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/moorage-dev/moorage/examples/internal/console"
	"github.com/moorage-dev/moorage/examples/internal/keycmd"
	"github.com/moorage-dev/moorage/examples/internal/sdlcmd"
	"github.com/moorage-dev/moorage/examples/internal/stack"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/app"
	"github.com/moorage-dev/moorage/market/chain/client"
	"github.com/moorage-dev/moorage/market/chain/keys"
	"github.com/moorage-dev/moorage/market/tenant"
	"github.com/moorage-dev/moorage/provider/gateway/api"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(os.Stdin, os.Stdout, os.Stderr).ExecuteContext(ctx)
	stop()
	os.Exit(exitCode(err))
}

// Exit codes that scripts may rely on; exec and sdl have codes of their own.
const (
	codeNoBids   = 3
	codeNotReady = 4
)

// exitCode prints an error and turns it into a code: the command's own for exec
// and sdl, one each for no bids and for what does not run, 1 for everything else.
func exitCode(err error) int {
	var remote *remoteExitError
	var sdl *sdlcmd.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &remote):
		return remote.code
	case errors.As(err, &sdl):
		if sdl.Err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
		}
		return sdl.Code
	}
	fmt.Fprintln(os.Stderr, "error:", err)
	return codeOf(err)
}

// codeOf is the exit code for an error of the market or a provider.
func codeOf(err error) int {
	if _, ok := errors.AsType[*tenant.NoBidsError](err); ok {
		return codeNoBids
	}
	if _, ok := errors.AsType[*tenant.NotReadyError](err); ok {
		return codeNotReady
	}
	return 1
}

// program holds the flags that all commands share, and what is open while one
// runs.
type program struct {
	home    string
	node    string
	prefix  string
	backend string
	key     string
	json    bool

	stdin          io.Reader
	stdout, stderr io.Writer
}

func command(stdin io.Reader, stdout, stderr io.Writer) *cobra.Command {
	p := &program{stdin: stdin, stdout: stdout, stderr: stderr}
	cmd := &cobra.Command{
		Use: "tenant", Short: "Deploy SDL documents on a chain",
		Long: `This program compiles SDL, puts orders on the chain, takes bids, sends manifests to
providers, and shows what runs.

  tenant keys add tenant
  tenant deploy app.yaml
  tenant logs 1234 --follow
  tenant close 1234

Exit codes: 0 done, 3 no provider bids, 4 the containers do not run in time or
their lease has ended, 1 anything else; "exec" and "shell" end with the code of the
command, "sdl" with codes of its own.`,
		SilenceUsage: true, SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error { return app.ConfigureAddresses(p.prefix) },
	}
	cmd.SetIn(stdin)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	f := cmd.PersistentFlags()
	f.StringVar(&p.home, "home", keycmd.DefaultHome("tenant"), "folder of the tenant")
	f.StringVar(&p.node, "node", "127.0.0.1:9090", "gRPC address of a chain node")
	f.StringVar(&p.prefix, "prefix", "moor", "what addresses begin with")
	f.StringVar(&p.backend, "keyring", "test", "how keys are kept: test (readable files) or file (passphrase)")
	f.StringVar(&p.key, "key", "tenant", "name of the key to sign with")
	f.BoolVar(&p.json, "json", false, "print JSON")
	cmd.AddCommand(
		p.deployCommand(), p.updateCommand(), p.closeCommand(), p.depositCommand(),
		p.screenCommand(), p.createCommand(), p.bidsCommand(), p.leaseCommand(), p.sendManifestCommand(),
		p.listCommand(), p.statusCommand(), p.balanceCommand(), p.providersCommand(),
		p.logsCommand(), p.eventsCommand(), p.execCommand(), p.shellCommand(),
		p.scaleCommand(), p.restartCommand(), p.migrateHostnamesCommand(), p.migrateEndpointsCommand(), p.ipCommand(),
		p.certificatesCommand(), p.tokenCommand(),
		keycmd.New(keycmd.Options{
			Dir: func() string { return filepath.Join(p.home, "keys") }, Backend: &p.backend, Stdin: stdin, JSON: &p.json,
		}),
		sdlcmd.New(stdin, stdout, stderr),
	)
	return cmd
}

// session is a connection to the chain, with the tenant's key.
type session struct {
	market *client.Client
	close  func() error
}

// connect opens a client that signs with the tenant's key.
func (p *program) connect() (*session, error) {
	key, err := p.loadKey()
	if err != nil {
		return nil, err
	}
	conn, err := client.Dial(p.node, nil)
	if err != nil {
		return nil, err
	}
	m, err := client.New(conn, client.Config{Signer: key})
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &session{m, conn.Close}, nil
}

// loadKey opens the keyring and loads the tenant's key.
func (p *program) loadKey() (*keys.Key, error) {
	ring, err := (keycmd.Options{Dir: func() string { return filepath.Join(p.home, "keys") }, Backend: &p.backend, Stdin: p.stdin}).Open()
	if err != nil {
		return nil, err
	}
	key, err := ring.Load(p.key)
	if err != nil {
		return nil, fmt.Errorf("%w: make it with \"tenant keys add %s\"", err, p.key)
	}
	return key, nil
}

// with runs f with a connection and closes it.
func (p *program) with(ctx context.Context, f func(context.Context, *session) error) (err error) {
	s, err := p.connect()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return p.explain(f(ctx, s))
}

// explain adds to an error what the person can do.
func (p *program) explain(err error) error {
	if errors.Is(err, market.ErrUnavailable) && !fromGateway(err) {
		return fmt.Errorf("%w: is a node running with --grpc %s?", err, p.node)
	}
	return err
}

// fromGateway reports whether an error is of the way to a provider's gateway, or
// its answer: the chain is not spoken to over HTTP.
func fromGateway(err error) bool {
	_, way := errors.AsType[*url.Error](err)
	_, answer := errors.AsType[*api.Error](err)
	return way || answer
}

// withBuyer runs f with a tenant whose certificate is on the chain.
func (p *program) withBuyer(ctx context.Context, cfg stack.BuyerConfig, f func(context.Context, *stack.Buyer) error) error {
	return p.with(ctx, func(ctx context.Context, s *session) error {
		cfg.Market, cfg.Home = s.market, p.home
		b, err := stack.NewBuyer(ctx, cfg)
		if err != nil {
			return err
		}
		return f(ctx, b)
	})
}

// deployment reads the argument DSEQ.
func deployment(owner market.Address, dseq string) (market.DeploymentID, error) {
	n, err := strconv.ParseUint(dseq, 10, 64)
	if err != nil || n == 0 {
		return market.DeploymentID{}, fmt.Errorf("deployment %q: want its number, as \"tenant list\" prints it", dseq)
	}
	return market.DeploymentID{Owner: owner, DSeq: n}, nil
}

// print writes a value as JSON, or the rows of a table.
func (p *program) print(value any, rows ...string) error {
	if p.json {
		return json.NewEncoder(p.stdout).Encode(value)
	}
	console.New(p.stdout).Table(rows...)
	return nil
}
