package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	cmtcfg "github.com/cometbft/cometbft/config"
	cmtnode "github.com/cometbft/cometbft/node"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/privval"
	"github.com/cometbft/cometbft/proxy"
	"github.com/cometbft/cometbft/rpc/client/local"
	cmttypes "github.com/cometbft/cometbft/types"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/cosmos/cosmos-sdk/server"
	serverlog "github.com/cosmos/cosmos-sdk/server/log"
	genutiltypes "github.com/cosmos/cosmos-sdk/x/genutil/types"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	"github.com/moorage-dev/moorage/market/chain/app"
)

// running is what one call of Run owns. Fields are nil until they are there, so
// that stop works after any failure.
type running struct {
	config Config
	inner  *bufconn.Listener
	ready  chan struct{}
	// made is closed after the first new block.
	made chan struct{}
	wrap func(abci.Application) abci.Application

	home      *home
	genesis   *genutiltypes.AppGenesis
	key       *privval.FilePV
	nodeKey   *p2p.NodeKey
	db        dbm.DB
	dbs       databases
	app       *app.App
	watched   *watched
	comet     *cmtnode.Node
	live      atomic.Bool
	stopping  atomic.Bool
	addresses Addresses

	grpc         *grpc.Server
	grpcListener net.Listener
	restListener net.Listener
}

// open takes the home and loads everything that is on disk.
func (r *running) open() (err error) {
	if r.home, err = openHome(r.config.Home); err != nil {
		return err
	}
	if r.key, err = r.home.validatorKey(); err != nil {
		return err
	}
	if r.nodeKey, err = r.home.loadNodeKey(); err != nil {
		return err
	}
	if r.genesis, err = r.home.prepareGenesis(r.config, r.key); err != nil {
		return err
	}
	if r.db, err = r.home.database(); err != nil {
		return err
	}
	r.dbs.memory = r.home.memory
	r.app, err = app.New(r.db, app.Config{
		ChainID: r.genesis.ChainID, Logger: r.config.Logger, MinGasPrices: r.config.MinGasPrices, Home: r.home.dir,
		KeepStates: r.config.KeepStates, Releases: r.config.Releases, CheckEvery: r.config.CheckEvery,
		Snapshots: app.Snapshots{Dir: r.home.snapshots(), Every: r.config.SnapshotEvery, Keep: r.config.SnapshotKeep},
	})
	return err
}

// start opens the ports and starts the consensus engine.
func (r *running) start() error {
	if err := r.listen(); err != nil {
		return err
	}
	if err := r.newComet(); err != nil {
		return err
	}
	r.live.Store(true)
	if err := r.comet.Start(); err != nil {
		return fmt.Errorf("node: start: %w", err)
	}
	return nil
}

func (r *running) listen() (err error) {
	all := r.config.addresses()
	if r.grpcListener, err = listen(all[0]); err != nil {
		return err
	}
	if r.restListener, err = listen(all[1]); err != nil {
		return err
	}
	if r.addresses.RPC, err = reserve(all[2]); err != nil {
		return err
	}
	if r.addresses.P2P, err = reserve(all[3]); err != nil {
		return err
	}
	if r.grpcListener != nil {
		r.addresses.GRPC = r.grpcListener.Addr().String()
	}
	if r.restListener != nil {
		r.addresses.REST = r.restListener.Addr().String()
	}
	return nil
}

// newComet makes the consensus engine, which replays the blocks that the
// application has not committed.
func (r *running) newComet() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("node: %w while it read its log: %v", ErrFault, p)
		}
	}()
	application := server.NewCometABCIWrapper(r.app)
	if r.wrap != nil {
		application = r.wrap(application)
	}
	r.watched = newWatched(application, r.live.Load, r.made)
	c := r.cometConfig()
	r.comet, err = cmtnode.NewNodeWithContext(context.Background(), c, r.key, r.nodeKey,
		proxy.NewLocalClientCreator(r.watched),
		func() (*cmttypes.GenesisDoc, error) { return r.genesis.ToGenesisDoc() },
		r.dbs.provide, cmtnode.DefaultMetricsProvider(c.Instrumentation),
		serverlog.CometLoggerWrapper{Logger: app.Logger(slog.New(hushed{r.config.Logger.Handler(), &r.stopping}))})
	if err != nil {
		return fmt.Errorf("node: consensus engine: %w", err)
	}
	// The engine read the pause once, for the time of its first proposal; the
	// others come with the interval.
	c.Consensus.TimeoutCommit = r.config.BlockInterval
	return nil
}

// firstPause is how long a node waits before it proposes its first block.
const firstPause = 10 * time.Millisecond

// cometConfig translates the configuration.
func (r *running) cometConfig() *cmtcfg.Config {
	c := cmtcfg.DefaultConfig()
	c.SetRoot(r.home.dir)
	c.Moniker = r.config.Moniker
	c.Consensus.TimeoutCommit = min(firstPause, r.config.BlockInterval)
	c.RPC.ListenAddress = tcp(r.addresses.RPC)
	c.P2P.ListenAddress = tcp(r.addresses.P2P)
	c.P2P.PersistentPeers = strings.Join(r.config.Peers, ",")
	c.P2P.AddrBookStrict = false
	c.P2P.AllowDuplicateIP = true
	c.P2P.PexReactor = len(r.config.Peers) > 0
	c.Instrumentation.Prometheus = false
	if s := r.config.StateSync; s != nil {
		s.apply(c.StateSync, r.home.data())
	}
	if r.config.NoTxIndex {
		c.TxIndex.Indexer = "null"
	}
	return c
}

func tcp(address string) string {
	if address == "" {
		return ""
	}
	return "tcp://" + address
}

// wait serves until the context ends or something fails.
func (r *running) wait(ctx context.Context) error {
	c := RegisterServices(r.app, r.genesis.ChainID, local.New(r.comet))
	r.grpc = NewServer(r.app)
	conn, err := dialPipe(r.inner)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // in-process
	c = c.WithGRPCClient(conn)

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return serveGRPC(r.grpc, r.inner) })
	if r.grpcListener != nil {
		g.Go(func() error { return serveGRPC(r.grpc, r.grpcListener) })
	}
	if r.restListener != nil {
		l := r.restListener
		g.Go(func() error { return serveREST(ctx, newREST(r.app, c), l) })
	}
	g.Go(func() error { return r.watch(ctx) })
	g.Go(func() error { return r.keepPeers(ctx) })
	g.Go(func() error {
		select {
		case <-r.made:
			close(r.ready)
		case <-ctx.Done():
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		stopServer(r.grpc)
		return nil
	})
	return g.Wait()
}

func serveGRPC(s *grpc.Server, l net.Listener) error {
	if err := s.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("node: gRPC server: %w", err)
	}
	return nil
}

// watch returns when the chain has stopped, or the context.
func (r *running) watch(ctx context.Context) error {
	env, err := r.comet.ConfigureRPC()
	if err != nil {
		return fmt.Errorf("node: %w", err)
	}
	engine := make(chan struct{})
	if state, ok := env.ConsensusState.(interface{ Wait() }); ok {
		go func() {
			// Ends with the engine, which stop stops. Only an engine that is
			// stopped before it has caught up with its peers leaves this behind.
			state.Wait()
			close(engine)
		}()
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-r.watched.fault:
		return err
	case <-engine:
		return fmt.Errorf("node: %w: the consensus engine ended", ErrFault)
	}
}

// stop ends what runs, in reverse order, and gives back what was taken.
func (r *running) stop() error {
	r.stopping.Store(true)
	var errs []error
	keep := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("node: %s: %w", what, err))
		}
	}
	if r.comet != nil && r.comet.IsRunning() {
		keep("stop", r.comet.Stop())
		r.comet.Wait()
	}
	if r.comet != nil && r.comet.ProxyApp().IsRunning() {
		keep("stop", r.comet.ProxyApp().Stop())
	}
	for _, l := range []net.Listener{r.grpcListener, r.restListener} {
		if l != nil {
			_ = l.Close() // usually closed by its server
		}
	}
	_ = r.inner.Close()
	keep("databases", r.dbs.close())
	if r.app != nil {
		keep("application", r.app.Close())
	} else if r.db != nil {
		keep("application", r.db.Close())
	}
	if r.home != nil {
		keep("home", r.home.close())
	}
	return errors.Join(errs...)
}
