package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	cmtjson "github.com/cometbft/cometbft/libs/json"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/privval"
	dbm "github.com/cosmos/cosmos-db"
	genutiltypes "github.com/cosmos/cosmos-sdk/x/genutil/types"

	"github.com/moorage-dev/moorage/market/chain/app"
)

// home is a node's folder, laid out as the Cosmos SDK's programs do.
type home struct {
	dir string
	// memory is set when only the write-ahead log is on disk.
	memory bool
	lock   *os.File
}

const (
	folderMode = 0o700
	secretMode = 0o600
)

func (h *home) genesis() string  { return filepath.Join(h.dir, "config", "genesis.json") }
func (h *home) nodeKey() string  { return filepath.Join(h.dir, "config", "node_key.json") }
func (h *home) key() string      { return filepath.Join(h.dir, "config", "priv_validator_key.json") }
func (h *home) keyState() string { return filepath.Join(h.dir, "data", "priv_validator_state.json") }
func (h *home) data() string     { return filepath.Join(h.dir, "data") }

func (h *home) snapshots() string { return filepath.Join(h.data(), "snapshots") }

// openHome makes the folder when it is missing and takes its lock, which the
// system gives back when the process ends, however it ends.
func openHome(dir string) (*home, error) {
	h := &home{dir: dir, memory: dir == ""}
	if h.memory {
		var err error
		if h.dir, err = os.MkdirTemp("", "moorage-node-"); err != nil {
			return nil, fmt.Errorf("node: temporary folder: %w", err)
		}
	}
	for _, sub := range []string{"config", "data"} {
		if err := os.MkdirAll(filepath.Join(h.dir, sub), folderMode); err != nil {
			return nil, fmt.Errorf("node: home: %w", err)
		}
	}
	lock, err := lockFile(filepath.Join(h.dir, "LOCK"))
	if err != nil {
		return nil, err
	}
	h.lock = lock
	return h, nil
}

// lockFile takes an exclusive lock on a file and writes the process number into
// it.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, secretMode)
	if err != nil {
		return nil, fmt.Errorf("node: lock: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		defer func() { _ = f.Close() }() // another holds the lock
		holder := make([]byte, 16)
		n, _ := f.Read(holder) // a hint for the message, no more
		return nil, fmt.Errorf("node: %s: %w by process %s: stop that one first, or choose another home",
			filepath.Dir(path), ErrHomeInUse, strings.TrimSpace(string(holder[:n])))
	} else if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("node: lock %s: %w", path, err)
	}
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintln(f, os.Getpid()) // a hint for the message, no more
	}
	return f, nil
}

// close gives the lock back and removes what was temporary.
func (h *home) close() error {
	err := h.lock.Close()
	if h.memory {
		return errors.Join(err, os.RemoveAll(h.dir))
	}
	return err
}

// validatorKey loads the key that signs blocks, or makes one. CometBFT's own
// loader ends the program on a broken file, so the files are read here first.
func (h *home) validatorKey() (*privval.FilePV, error) {
	raw, err := os.ReadFile(h.key())
	if errors.Is(err, fs.ErrNotExist) {
		pv := privval.GenFilePV(h.key(), h.keyState())
		pv.Save()
		return pv, nil
	} else if err != nil {
		return nil, fmt.Errorf("node: validator key: %w", err)
	}
	if err := cmtjson.Unmarshal(raw, &privval.FilePVKey{}); err != nil {
		return nil, fmt.Errorf("node: validator key %s: %w", h.key(), err)
	}
	raw, err = os.ReadFile(h.keyState())
	if err != nil {
		return nil, fmt.Errorf("node: the validator key's record of what it signed is missing; without it the key might sign twice: %w", err)
	}
	if err := cmtjson.Unmarshal(raw, &privval.FilePVLastSignState{}); err != nil {
		return nil, fmt.Errorf("node: what the validator key signed, %s: %w", h.keyState(), err)
	}
	return privval.LoadFilePV(h.key(), h.keyState()), nil
}

// loadNodeKey loads the key that names the node to its peers, or makes one.
func (h *home) loadNodeKey() (*p2p.NodeKey, error) {
	k, err := p2p.LoadOrGenNodeKey(h.nodeKey())
	if err != nil {
		return nil, fmt.Errorf("node: node key: %w", err)
	}
	return k, nil
}

// loadGenesis reads the home's genesis. It reports false when there is none.
func (h *home) loadGenesis() (*genutiltypes.AppGenesis, bool, error) {
	g, err := genutiltypes.AppGenesisFromFile(h.genesis())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	} else if err != nil {
		return nil, false, fmt.Errorf("node: genesis %s: %w", h.genesis(), err)
	}
	return g, true, nil
}

// saveGenesis writes the genesis so that it is there whole or not at all.
func (h *home) saveGenesis(g *genutiltypes.AppGenesis) error {
	next := h.genesis() + ".new"
	if err := g.SaveAs(next); err != nil {
		return fmt.Errorf("node: genesis: %w", err)
	}
	if err := os.Rename(next, h.genesis()); err != nil {
		return fmt.Errorf("node: genesis: %w", err)
	}
	return nil
}

// database opens the application's database: pebble on disk, or memory. Never
// goleveldb; see package market/chain/app.
func (h *home) database() (dbm.DB, error) {
	if h.memory {
		return dbm.NewMemDB(), nil
	}
	db, err := dbm.NewDB("application", dbm.PebbleDBBackend, h.data())
	if err != nil {
		return nil, fmt.Errorf("node: application database: %w", err)
	}
	return db, nil
}

// prepareGenesis loads the home's genesis or makes one from the configuration,
// with the node's own key as validator when no other is named.
func (h *home) prepareGenesis(c Config, pv *privval.FilePV) (*genutiltypes.AppGenesis, error) {
	g, ok, err := h.loadGenesis()
	if err != nil {
		return nil, err
	}
	if ok {
		if c.Genesis.ChainID != "" && c.Genesis.ChainID != g.ChainID {
			return nil, fmt.Errorf("node: %s holds chain %q, not %q: choose another home, or leave the chain id out", h.dir, g.ChainID, c.Genesis.ChainID)
		}
		return g, nil
	}
	spec := c.Genesis
	if len(spec.Validators) == 0 {
		spec.Validators = []app.Validator{{Moniker: c.Moniker, Key: pv.Key.PubKey.Bytes()}}
	}
	for i := range spec.Validators {
		if len(spec.Validators[i].Key) == 0 {
			spec.Validators[i].Key = pv.Key.PubKey.Bytes()
		}
	}
	maker, err := app.New(dbm.NewMemDB(), app.Config{})
	if err != nil {
		return nil, err
	}
	if g, err = maker.NewGenesis(spec); err != nil {
		return nil, err
	}
	return g, h.saveGenesis(g)
}
