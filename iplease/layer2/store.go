package layer2

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/moorage-dev/moorage/iplease"
)

// ErrInUse means another process has the state directory.
var ErrInUse = errors.New("layer2: state directory is in use by another process")

// store keeps entries as files, one for each claim, replaced atomically. They
// survive the process, not always the power: the caller applies again what it
// wants. A nil store keeps nothing.
type store struct {
	dir  string
	lock *os.File
}

const (
	dirMode  = 0o700
	fileMode = 0o600
	suffix   = ".json"
)

// openStore locks the directory and reads all entries. What cannot be read is set
// aside and logged.
func openStore(dir string, log *slog.Logger) (*store, []entry, error) {
	if dir == "" {
		return nil, nil, nil
	}
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return nil, nil, fmt.Errorf("layer2: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, fileMode)
	if err != nil {
		return nil, nil, fmt.Errorf("layer2: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%w: %s", ErrInUse, dir), lock.Close())
	}
	s := &store{dir: dir, lock: lock}
	entries, err := s.load(log)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("layer2: %w", err), lock.Close())
	}
	return s, entries, nil
}

func (s *store) load(log *slog.Logger) (out []entry, err error) {
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		name := filepath.Join(s.dir, f.Name())
		switch {
		case strings.HasSuffix(name, ".tmp"):
			_ = os.Remove(name) // a write that never ended
		case strings.HasSuffix(name, suffix):
			e, err := readEntry(name)
			if err != nil {
				log.Warn("a file of a claim cannot be read and is set aside", "file", f.Name(), "error", err)
				_ = os.Rename(name, name+".damaged")
				continue
			}
			out = append(out, e)
		}
	}
	return out, nil
}

func readEntry(name string) (e entry, err error) {
	b, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(b, &e)
	}
	if err == nil {
		err = e.Validate()
	}
	return e, err
}

// path is one to one in the claim, whose name may be long.
func (s *store) path(id iplease.ClaimID) string {
	sum := sha256.Sum256([]byte(id.String()))
	return filepath.Join(s.dir, hex.EncodeToString(sum[:16])+suffix)
}

// save keeps an entry, or forgets one that is withdrawn.
func (s *store) save(e entry) error {
	if s == nil {
		return nil
	}
	name := s.path(e.Claim)
	if e.Withdrawn {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("layer2: %w", err)
		}
		return nil
	}
	b, err := json.Marshal(e)
	if err == nil {
		err = os.WriteFile(name+".tmp", b, fileMode)
	}
	if err == nil {
		err = os.Rename(name+".tmp", name)
	}
	if err != nil {
		return fmt.Errorf("layer2: keep claim %s: %w", e.Claim, err)
	}
	return nil
}

func (s *store) close() error {
	if s == nil {
		return nil
	}
	return s.lock.Close()
}
