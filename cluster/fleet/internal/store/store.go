// Package store keeps the desired workloads of a fleet as files: one JSON
// document per lease, replaced atomically and synced before a write returns.
//
// The documents hold environments and registry passwords, so directory and
// files are readable by their owner alone.
package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"syscall"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// ErrInUse means another process has the directory.
var ErrInUse = errors.New("state directory is in use by another process")

// Record is what is kept of one lease.
type Record struct {
	Workload driver.Workload
	// Ports are the port numbers given to it, sorted.
	Ports []Port
	// Leaving says that it is being deleted.
	Leaving bool
}

// Port is a port outside that leads to a container port.
type Port struct {
	Service  string            `json:"service"`
	Port     uint16            `json:"port"`
	Proto    manifest.Protocol `json:"proto"`
	External uint16            `json:"external"`
}

// document is the form on disk.
type document struct {
	Format   int               `json:"format"`
	Lease    market.LeaseID    `json:"lease"`
	Revision uint64            `json:"revision"`
	Hash     market.Hash       `json:"hash"`
	Group    manifest.Manifest `json:"group"`
	Ports    []Port            `json:"ports,omitempty"`
	Leaving  bool              `json:"leaving,omitempty"`
	// Addresses came later: documents without them have none.
	Addresses []driver.LeasedAddress `json:"addresses,omitempty"`
}

// format is raised when the document changes in a way that old code misreads.
const format = 1

const (
	dirMode  = 0o700
	fileMode = 0o600
	suffix   = ".json"
	damaged  = ".damaged"
)

// Store is an open directory. It is safe for concurrent use.
type Store struct {
	dir  string
	lock *os.File

	mu sync.Mutex // serializes writes
}

// Open locks the directory, making it if need be, and reads all records, sorted
// by lease. A file that cannot be read is set aside under another name and
// reported in bad; it stops nothing else. The error matches [ErrInUse].
func Open(dir string) (s *Store, records []Record, bad []string, err error) {
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return nil, nil, nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, fileMode)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, nil, nil, fmt.Errorf("%s: %w", dir, ErrInUse)
	}
	s = &Store{dir: dir, lock: lock}
	records, bad, err = s.load()
	if err != nil {
		_ = lock.Close()
		return nil, nil, nil, err
	}
	return s, records, bad, nil
}

// load reads every document.
func (s *Store) load() (records []Record, bad []string, err error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		name := filepath.Join(s.dir, e.Name())
		switch {
		case strings.HasSuffix(e.Name(), ".tmp"):
			_ = os.Remove(name) // a write that never ended
		case strings.HasSuffix(e.Name(), suffix):
			r, err := read(name)
			if err != nil {
				bad = append(bad, e.Name())
				_ = os.Rename(name, name+damaged)
				continue
			}
			records = append(records, r)
		}
	}
	sort.Slice(records, func(i, j int) bool {
		return records[i].Workload.Lease.String() < records[j].Workload.Lease.String()
	})
	return records, bad, nil
}

func read(name string) (Record, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return Record{}, err
	}
	var d document
	if err := json.Unmarshal(b, &d); err != nil {
		return Record{}, err
	}
	if d.Format != format || len(d.Group) != 1 {
		return Record{}, fmt.Errorf("format %d with %d groups", d.Format, len(d.Group))
	}
	w := driver.Workload{Lease: d.Lease, Revision: d.Revision, Hash: d.Hash, Group: d.Group[0], Addresses: d.Addresses}
	return Record{Workload: w, Ports: d.Ports, Leaving: d.Leaving}, w.Validate()
}

// Put writes a record in place of the one its lease had. When it returns without
// error the record survives a loss of power.
func (s *Store) Put(name string, r Record) error {
	b, err := json.MarshalIndent(document{
		Format: format, Lease: r.Workload.Lease, Revision: r.Workload.Revision, Hash: r.Workload.Hash,
		Group: manifest.Manifest{r.Workload.Group}, Ports: r.Ports, Leaving: r.Leaving,
		Addresses: r.Workload.Addresses,
	}, "", " ")
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	final := filepath.Join(s.dir, name+suffix)
	if err := writeSynced(final+".tmp", b); err != nil {
		return err
	}
	if err := os.Rename(final+".tmp", final); err != nil {
		return err
	}
	return s.sync()
}

func writeSynced(name string, b []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

// sync makes renames and removals durable.
func (s *Store) sync() error {
	d, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Delete removes a record. Absent is no error.
func (s *Store) Delete(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.Remove(filepath.Join(s.dir, name+suffix)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return s.sync()
}

// Close unlocks the directory. A second call does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lock == nil {
		return nil
	}
	err := s.lock.Close()
	s.lock = nil
	return err
}
