package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// Record is what a provider must remember of a lease, or of a bid before it is
// one.
type Record struct {
	Lease market.LeaseID `json:"lease"`
	// BidAt is when the bid was about to be sent, zero when it is not known.
	BidAt time.Time `json:"bid_at,omitzero"`
	// WonAt is when the provider first saw the lease; zero while there is only a
	// bid.
	WonAt time.Time `json:"won_at,omitzero"`
	// GroupName is the group of the manifest that the lease is for.
	GroupName string `json:"group_name,omitempty"`
	// Revision counts what the cluster was told to run, 0 before the first manifest.
	Revision uint64 `json:"revision"`
	// Hash is the version of the accepted manifest.
	Hash market.Hash `json:"hash"`
	// Placement is where the lease's resources are promised. It stands also while
	// a node of it is away.
	Placement inventory.Placement `json:"placement"`
	// Manifest is the whole manifest that was accepted; nil before. It may hold
	// secrets.
	Manifest manifest.Manifest `json:"manifest,omitempty"`
	// Withheld are the host names that the manifest asks for and another lease of
	// the tenant has, sorted.
	Withheld []string `json:"withheld,omitempty"`
	// Selection says what the order asks of leased addresses.
	Selection iplease.Selection `json:"address_selection,omitzero"`
	// Addresses are the leased ports that the cluster was told of.
	Addresses []driver.LeasedAddress `json:"addresses,omitempty"`
	// Restarts counts, per service, how often the tenant had it restarted.
	Restarts map[string]uint64 `json:"restarts,omitempty"`
	// Units are what the group has ordered, with the numbers of replicas that hold.
	Units []market.ResourceUnit `json:"units,omitempty"`
	// Scaled is the last answer to a request to scale, nil for none.
	Scaled *ScaleAnswer `json:"scaled,omitempty"`
	// Trouble is what is wrong with the workload, and since when.
	Trouble Trouble `json:"trouble,omitzero"`
}

// Won reports whether the record is of a lease.
func (r Record) Won() bool { return !r.WonAt.IsZero() }

// TroubleKind says in what way a workload is not as it should be.
type TroubleKind string

// Kinds of [Trouble]. Each has a deadline of its own in [Config].
const (
	// TroublePending: it does not run yet.
	TroublePending TroubleKind = "pending"
	// TroubleFailing: it has failed and not been healthy since.
	TroubleFailing TroubleKind = "failing"
	// TroubleUnknown: it cannot be seen; that is not taken for failing.
	TroubleUnknown TroubleKind = "unknown"
)

// Trouble is a state that may not last.
type Trouble struct {
	Kind  TroubleKind `json:"kind"`
	Since time.Time   `json:"since"`
}

// Group returns the manifest group of the lease, with the numbers of replicas
// that hold; an empty one before the first manifest.
func (r Record) Group() (manifest.Group, bool) {
	for _, g := range r.Manifest {
		if g.Name == r.GroupName {
			specs := []market.GroupSpec{{Name: g.Name, Units: r.Units}}
			return manifest.Manifest{g}.WithCounts(specs)[0], true
		}
	}
	return manifest.Group{}, false
}

// Store keeps records durably. Methods are safe for concurrent use; when one
// returns without error the change survives a crash.
type Store interface {
	// Save writes records, each replacing the one of the same lease: all or none.
	Save(records ...Record) error
	// Remove deletes a record. Absent is no error.
	Remove(id market.LeaseID) error
	// Load returns all records, in no particular order. Beside those that can be
	// read it may return an [*UnreadableError] that names the others.
	Load() ([]Record, error)
	// Close releases the store.
	Close() error
}

// DrainStore is a [Store] that also remembers whether new bids are made, so that
// maintenance outlives a restart. What [OpenStore] and [NewMemStore] return is one.
type DrainStore interface {
	// SaveDrain replaces what was saved before.
	SaveDrain(on bool, notice string) error
	// LoadDrain returns what was saved, off at first.
	LoadDrain() (on bool, notice string, err error)
}

// UnreadableError says which records a [Store] keeps aside because they cannot be
// read: they are neither used nor deleted. A record is dropped from there when its
// lease ends.
type UnreadableError struct {
	// Keys name the records, sorted: the text of the lease, if that was not damaged.
	Keys []string
}

// Error implements error.
func (e *UnreadableError) Error() string {
	return fmt.Sprintf("provider: store: unreadable records: %q", e.Keys)
}

// ErrStoreLocked means that another process uses the store.
var ErrStoreLocked = errors.New("provider: the store is in use by another process")

// storeGather is how long a change waits for others, so that many bids at a time
// cost one write to the disk.
const storeGather = time.Millisecond

// storeLockTimeout is how long to wait for another process to let go.
const storeLockTimeout = time.Second

// OpenStore opens the file provider.db in a directory that exists, for one
// process at a time ([ErrStoreLocked]). Manifests may hold secrets: only the
// owner of the file can read it.
func OpenStore(dir string) (Store, error) {
	path := filepath.Join(dir, "provider.db")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: storeLockTimeout})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("%w: %s", ErrStoreLocked, path)
	}
	if err != nil {
		return nil, fmt.Errorf("provider: store: %s: %w", path, err)
	}
	db.MaxBatchDelay = storeGather
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{leaseBucket(), claimBucket(), asideBucket(), drainBucket()} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("provider: store: %s: %w", path, err), db.Close())
	}
	return &boltStore{db}, nil
}

func leaseBucket() []byte { return []byte("leases/v1") }

// asideBucket has the records that cannot be read, as they are.
func asideBucket() []byte { return []byte("unreadable/v1") }

func drainBucket() []byte { return []byte("drain/v1") }

type boltStore struct{ db *bbolt.DB }

var _ Store = (*boltStore)(nil)

func (s *boltStore) Save(records ...Record) error {
	return s.db.Batch(func(tx *bbolt.Tx) error {
		for _, r := range records {
			value, err := json.Marshal(r)
			if err != nil {
				return fmt.Errorf("provider: store: %s: %w", r.Lease, err)
			}
			if err := tx.Bucket(leaseBucket()).Put([]byte(r.Lease.String()), value); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *boltStore) Remove(id market.LeaseID) error {
	key := []byte(id.String())
	return s.db.Batch(func(tx *bbolt.Tx) error {
		return errors.Join(tx.Bucket(leaseBucket()).Delete(key), tx.Bucket(asideBucket()).Delete(key))
	})
}

// Load puts aside what cannot be read.
func (s *boltStore) Load() ([]Record, error) {
	var out []Record
	var aside []string
	err := s.db.Update(func(tx *bbolt.Tx) (err error) {
		out, err = readRecords(tx)
		if err == nil {
			err = tx.Bucket(asideBucket()).ForEach(func(k, _ []byte) error {
				aside = append(aside, string(k))
				return nil
			})
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("provider: store: %w", err)
	}
	if len(aside) > 0 {
		return out, &UnreadableError{aside}
	}
	return out, nil
}

// readRecords returns the records that can be read and moves the others.
func readRecords(tx *bbolt.Tx) ([]Record, error) {
	var out []Record
	bad := map[string][]byte{}
	err := tx.Bucket(leaseBucket()).ForEach(func(k, v []byte) error {
		var r Record
		if json.Unmarshal(v, &r) == nil && r.Lease.String() == string(k) {
			out = append(out, r)
		} else {
			bad[string(k)] = slices.Clone(v)
		}
		return nil
	})
	for k, v := range bad {
		err = errors.Join(err, tx.Bucket(asideBucket()).Put([]byte(k), v), tx.Bucket(leaseBucket()).Delete([]byte(k)))
	}
	return out, err
}

var (
	_ DrainStore = (*boltStore)(nil)
	_ DrainStore = (*memStore)(nil)
)

// drainKey has the notice while the provider drains, and nothing else.
func drainKey() []byte { return []byte("notice") }

// SaveDrain implements [DrainStore].
func (s *boltStore) SaveDrain(on bool, notice string) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		if !on {
			return tx.Bucket(drainBucket()).Delete(drainKey())
		}
		return tx.Bucket(drainBucket()).Put(drainKey(), []byte(notice))
	})
}

// LoadDrain implements [DrainStore].
func (s *boltStore) LoadDrain() (on bool, notice string, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		v := tx.Bucket(drainBucket()).Get(drainKey())
		on, notice = v != nil, string(v)
		return nil
	})
	return on, notice, err
}

func (s *boltStore) Close() error { return s.db.Close() }

// NewMemStore returns a [Store] that lives as long as the value: for tests and
// for providers whose leases need not survive them.
func NewMemStore() Store {
	return &memStore{records: map[market.LeaseID]Record{}, claims: map[netip.Addr]iplease.Record{}}
}

type memStore struct {
	mu      sync.Mutex // guards all below
	records map[market.LeaseID]Record
	claims  map[netip.Addr]iplease.Record
	drain   draining
}

var _ Store = (*memStore)(nil)

func (s *memStore) Save(records ...Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range records {
		s.records[r.Lease] = r
	}
	return nil
}

func (s *memStore) Remove(id market.LeaseID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.records, id)
	return nil
}

func (s *memStore) Load() ([]Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Record, 0, len(s.records))
	for _, r := range s.records {
		out = append(out, r)
	}
	return out, nil
}

func (s *memStore) Close() error { return nil }

// SaveDrain implements [DrainStore].
func (s *memStore) SaveDrain(on bool, notice string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drain = draining{on, notice}
	return nil
}

// LoadDrain implements [DrainStore].
func (s *memStore) LoadDrain() (on bool, notice string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drain.on, s.drain.notice, nil
}
