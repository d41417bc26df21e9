package image

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/internal/keylock"
)

// Bounds on what a stranger's image may be.
const (
	// MaxLayers is what overlayfs and the registries agree on.
	MaxLayers = 127
	// MaxEntries bounds files in one layer: a million fits the largest usual
	// distributions several times.
	MaxEntries = 1 << 20
	// DefaultMaxImageBytes bounds the unpacked size of an image.
	DefaultMaxImageBytes = 32 << 30
	// MaxConfigBytes bounds an image's configuration document.
	MaxConfigBytes = 4 << 20
	// parallelLayers is how many layers of a pull are fetched at a time.
	parallelLayers = 3
	// LayoutPrefix begins a reference to an OCI image layout on disk.
	LayoutPrefix = "oci:"
)

// Config says how a [Store] works.
type Config struct {
	// Dir is where the store lies; it is made with mode 0700. Required.
	Dir string
	// LayoutRoots are folders below which "oci:" references may point. None means
	// that such references are refused: a reference may come from a stranger.
	LayoutRoots []string
	// Architecture as in GOARCH; "" is this machine's.
	Architecture string
	// MaxImageBytes bounds the unpacked size of one image; 0 is
	// [DefaultMaxImageBytes].
	MaxImageBytes int64
	// Transport reaches registries; nil is go-containerregistry's default.
	Transport http.RoundTripper
	// Logger may be nil.
	Logger *slog.Logger
}

// Store is a folder of images. Safe for concurrent use within one process; the
// caller sees to it that no two processes use one folder.
type Store struct {
	cfg   Config
	log   *slog.Logger
	key   []byte // for hashes of credentials
	locks keylock.Locks
	// pruning is held for reading while images come, for writing while they go.
	pruning sync.RWMutex
}

// Details are what running an image takes.
type Details struct {
	runtime.Image
	// Layers are folders, lowest first, not to be changed.
	Layers []string
	// The rest is from the image's configuration.
	Entrypoint, Cmd, Env         []string
	WorkingDir, User, StopSignal string
	Volumes                      []string
}

// New opens or makes the store in cfg.Dir.
func New(cfg Config) (*Store, error) {
	if cfg.Dir == "" {
		return nil, errors.New("image: no folder given")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	cfg.Dir = dir
	if cfg.MaxImageBytes == 0 {
		cfg.MaxImageBytes = DefaultMaxImageBytes
	}
	s := &Store{cfg: cfg, log: cfg.Logger}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	for _, sub := range []string{"layers", "images", "refs"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, fmt.Errorf("image: %w", err)
		}
	}
	if err := s.sweep(); err != nil {
		return nil, err
	}
	s.key, err = loadKey(filepath.Join(dir, "key"))
	return s, err
}

// sweep removes layers that an interrupted pull left without their mark.
func (s *Store) sweep() error {
	dir := filepath.Join(s.cfg.Dir, "layers")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("image: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if _, err := os.Stat(path + doneSuffix); err == nil || !e.IsDir() {
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("image: %w", err)
		}
	}
	return nil
}

// Image returns what is known of a pulled image by its digest, or ErrImage.
func (s *Store) Image(digest string) (Details, error) {
	r, err := s.readImage(digest)
	if err != nil {
		return Details{}, fmt.Errorf("image: %s is not on this machine, pull it first: %w", digest, runtime.ErrImage)
	}
	s.touch(digest)
	d := r.details()
	for _, id := range r.DiffIDs {
		dir := s.layerDir(id)
		if !s.layerDone(id) {
			return Details{}, fmt.Errorf("image: %s: layer %s is missing, pull it again: %w", digest, id, runtime.ErrImage)
		}
		d.Layers = append(d.Layers, dir)
	}
	return d, nil
}

// Pull implements the promise of runtime.ImageStore.
func (s *Store) Pull(ctx context.Context, p runtime.PullRequest) (runtime.Image, error) {
	im, err := s.pull(ctx, p)
	if err == nil || ctx.Err() != nil {
		return im, errors.Join(err, ctx.Err())
	}
	return im, redact(err, p)
}

func (s *Store) pull(ctx context.Context, p runtime.PullRequest) (runtime.Image, error) {
	src, err := s.open(ctx, p)
	if err != nil {
		return s.fallback(p, err)
	}
	r, err := s.fetch(ctx, src, p.Progress)
	if err != nil {
		return runtime.Image{}, fmt.Errorf("image: %s: %w", p.Reference, err)
	}
	if err := s.writeRef(p, r.Digest); err != nil {
		return runtime.Image{}, err
	}
	return r.details().Image, nil
}

// redact takes a password out of an error's text, should a registry echo it.
func redact(err error, p runtime.PullRequest) error {
	c := p.Credentials
	if c == nil || c.Password == "" || !strings.Contains(err.Error(), c.Password) {
		return err
	}
	text := strings.ReplaceAll(err.Error(), c.Password, "[redacted]")
	if errors.Is(err, runtime.ErrImage) {
		return redactedError{text: text, kind: runtime.ErrImage}
	}
	return redactedError{text: text}
}

type redactedError struct {
	text string
	kind error
}

func (e redactedError) Error() string { return e.text }
func (e redactedError) Unwrap() error { return e.kind }
