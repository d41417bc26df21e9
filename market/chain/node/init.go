package node

import (
	"errors"
	"fmt"

	genutiltypes "github.com/cosmos/cosmos-sdk/x/genutil/types"

	"github.com/moorage-dev/moorage/market/chain/app"
)

// Identity is what a home says about its node.
type Identity struct {
	// ChainID names the chain of the genesis.
	ChainID string
	// PeerID is the first part of the name by which other nodes know this one;
	// "@host:port" follows it.
	PeerID string
	// ValidatorKey is the public part of the key that signs blocks, for the
	// genesis of a chain with several validators.
	ValidatorKey []byte
	// Genesis is the path of the genesis.
	Genesis string
}

// Init makes the keys and the genesis of a home without starting a node. A home
// that has them keeps them. The home must be named.
func Init(c Config) (id Identity, err error) {
	c = c.withDefaults()
	h, err := openNamed(c.Home)
	if err != nil {
		return Identity{}, err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	if id, err = h.identity(); err != nil {
		return Identity{}, err
	}
	pv, err := h.validatorKey()
	if err != nil {
		return Identity{}, err
	}
	g, err := h.prepareGenesis(c, pv)
	if err != nil {
		return Identity{}, err
	}
	id.ChainID = g.ChainID
	return id, nil
}

// InitKeys makes only the keys of a home: for nodes that wait for a genesis
// which names them. [Join] brings it.
func InitKeys(dir string) (id Identity, err error) {
	h, err := openNamed(dir)
	if err != nil {
		return Identity{}, err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	return h.identity()
}

// Join gives a home the genesis of a chain that others have begun. A home that
// has one of the same chain keeps it.
func Join(dir string, g *genutiltypes.AppGenesis) (err error) {
	h, err := openNamed(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	have, ok, err := h.loadGenesis()
	switch {
	case err != nil:
		return err
	case ok && have.ChainID != g.ChainID:
		return fmt.Errorf("node: %s holds chain %q, not %q: choose another home", h.dir, have.ChainID, g.ChainID)
	case ok:
		return nil
	}
	return h.saveGenesis(g)
}

// Export reads the newest state of a home's chain as a genesis from which a
// chain of that name can go on. The node must not be running.
func Export(c Config, chainID string) (g *genutiltypes.AppGenesis, err error) {
	err = withStopped(c, "export", func(a *app.App) error {
		g, err = a.Export(chainID)
		return err
	})
	return g, err
}

// Check looks for broken invariants in the newest state of a home's chain:
// money, states, indexes. The node must not be running. It returns the height of
// the state.
func Check(c Config) (height int64, err error) {
	err = withStopped(c, "check", func(a *app.App) error {
		height = a.LastBlockHeight()
		ctx, err := a.CreateQueryContext(height, false)
		if err != nil {
			return fmt.Errorf("node: check: %w", err)
		}
		return a.Market().Check(ctx)
	})
	return height, err
}

// withStopped opens the application of a home whose node is not running.
func withStopped(c Config, what string, do func(*app.App) error) (err error) {
	c = c.withDefaults()
	h, err := openNamed(c.Home)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	have, ok, err := h.loadGenesis()
	if err != nil {
		return err
	} else if !ok {
		return fmt.Errorf("node: %s: there is no chain in %s", what, h.dir)
	}
	db, err := h.database()
	if err != nil {
		return err
	}
	a, err := app.New(db, app.Config{ChainID: have.ChainID, Home: h.dir, Logger: c.Logger, Releases: c.Releases})
	if err != nil {
		return errors.Join(err, db.Close())
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	return do(a)
}

func openNamed(dir string) (*home, error) {
	if dir == "" {
		return nil, fmt.Errorf("node: the home must be named")
	}
	return openHome(dir)
}

func (h *home) identity() (Identity, error) {
	pv, err := h.validatorKey()
	if err != nil {
		return Identity{}, err
	}
	k, err := h.loadNodeKey()
	if err != nil {
		return Identity{}, err
	}
	return Identity{PeerID: string(k.ID()), ValidatorKey: pv.Key.PubKey.Bytes(), Genesis: h.genesis()}, nil
}
