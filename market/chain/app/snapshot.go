package app

import (
	"fmt"
	"path/filepath"

	dbm "github.com/cosmos/cosmos-db"
	"github.com/cosmos/cosmos-sdk/baseapp"
	"github.com/cosmos/cosmos-sdk/store/v2/snapshots"
	snapshottypes "github.com/cosmos/cosmos-sdk/store/v2/snapshots/types"
)

// Snapshots are copies of the whole state that new nodes can start from instead
// of carrying out every block.
type Snapshots struct {
	// Dir is the folder for them; empty has none, and then the node can neither
	// give snapshots nor start from one.
	Dir string
	// Every takes one each so many blocks; 0 takes none. The states of these
	// heights are kept until the copy is made, whatever [Config.KeepStates] says.
	Every uint64
	// Keep is how many are kept; 0 is [DefaultKeepSnapshots].
	Keep uint32
}

// DefaultKeepSnapshots is enough for a node that reads one while the next is
// being made.
const DefaultKeepSnapshots = 2

// option opens the folder.
func (s Snapshots) option() (func(*baseapp.BaseApp), error) {
	if s.Dir == "" {
		if s.Every > 0 {
			return nil, fmt.Errorf("app: snapshots every %d blocks: want a folder for them", s.Every)
		}
		return func(*baseapp.BaseApp) {}, nil
	}
	if s.Keep == 0 {
		s.Keep = DefaultKeepSnapshots
	}
	db, err := dbm.NewDB("metadata", dbm.PebbleDBBackend, s.Dir)
	if err != nil {
		return nil, fmt.Errorf("app: snapshots: %w", err)
	}
	store, err := snapshots.NewStore(db, filepath.Clean(s.Dir))
	if err != nil {
		return nil, fmt.Errorf("app: snapshots: %w", err)
	}
	return baseapp.SetSnapshot(store, snapshottypes.NewSnapshotOptions(s.Every, s.Keep)), nil
}
