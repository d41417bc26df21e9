package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/moorage-dev/moorage/cluster/runtime"
)

// fetch brings all of an image onto the disk and records it.
func (s *Store) fetch(ctx context.Context, im v1.Image, progress func(done, total int64)) (record, error) {
	r, err := s.describe(im)
	if err != nil {
		return r, err
	}
	s.pruning.RLock() // what is fetched stays until it is recorded
	defer s.pruning.RUnlock()
	layers, err := im.Layers()
	if err != nil || len(layers) != len(r.DiffIDs) {
		return r, fmt.Errorf("damaged image: %d layers for %d in its configuration: %w", len(layers), len(r.DiffIDs), errors.Join(err, runtime.ErrImage))
	}
	m := &meter{total: r.Bytes, report: progress}
	budget := &atomic.Int64{}
	budget.Store(s.cfg.MaxImageBytes)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelLayers)
	for i, l := range layers {
		g.Go(func() error { return s.fetchLayer(gctx, l, r.DiffIDs[i], m, budget) })
	}
	if err := g.Wait(); err != nil {
		return r, err
	}
	if err := s.seal(r.DiffIDs); err != nil {
		return r, err
	}
	return r, s.writeImage(r)
}

// describe reads and checks manifest and configuration.
func (s *Store) describe(im v1.Image) (r record, err error) {
	raw, err := im.RawManifest()
	if err != nil {
		return r, fmt.Errorf("manifest: %w: %w", err, runtime.ErrImage)
	}
	manifest, err := im.Manifest()
	if err != nil {
		return r, fmt.Errorf("manifest: %w: %w", err, runtime.ErrImage)
	}
	if manifest.Config.Size > MaxConfigBytes || len(manifest.Layers) > MaxLayers {
		return r, fmt.Errorf("image of %d layers and %d bytes of configuration is too large: %w", len(manifest.Layers), manifest.Config.Size, runtime.ErrImage)
	}
	config, err := im.RawConfigFile()
	if err != nil {
		return r, fmt.Errorf("configuration: %w: %w", err, runtime.ErrImage)
	}
	if digestOf(config) != manifest.Config.Digest.String() {
		return r, fmt.Errorf("configuration does not have its digest: %w", runtime.ErrImage)
	}
	cf, err := im.ConfigFile()
	if err != nil {
		return r, fmt.Errorf("configuration: %w: %w", err, runtime.ErrImage)
	}
	if cf.Architecture != "" && cf.Architecture != s.arch() || cf.OS != "" && cf.OS != "linux" {
		return r, fmt.Errorf("made for %s/%s, this machine is linux/%s: %w", cf.OS, cf.Architecture, s.arch(), runtime.ErrImage)
	}
	r = record{Digest: digestOf(raw), Config: cf.Config}
	for _, l := range manifest.Layers {
		r.Bytes += l.Size
	}
	for _, d := range cf.RootFS.DiffIDs {
		if _, err := digestHex(d.String()); err != nil {
			return r, err
		}
		r.DiffIDs = append(r.DiffIDs, d.String())
	}
	return r, nil
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// fetchLayer makes sure that one layer is unpacked.
func (s *Store) fetchLayer(ctx context.Context, l v1.Layer, diffID string, m *meter, budget *atomic.Int64) error {
	unlock, err := s.locks.Lock(ctx, diffID)
	if err != nil {
		return err
	}
	defer unlock()
	size, err := l.Size()
	if err != nil {
		return fmt.Errorf("layer: %w: %w", err, runtime.ErrImage)
	}
	if _, err := os.Stat(s.layerDir(diffID)); err == nil {
		m.add(size)
		return nil
	}
	partial := s.layerDir(diffID) + partialSuffix
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	unpacked, err := s.streamLayer(ctx, l, diffID, partial, budget)
	if err == nil {
		err = os.WriteFile(s.layerDir(diffID)+sizeSuffix, strconv.AppendInt(nil, unpacked, 10), 0o600)
	}
	if err != nil {
		_ = os.RemoveAll(partial)
		return fmt.Errorf("layer %s: %w", diffID, err)
	}
	m.add(size)
	return os.Rename(partial, s.layerDir(diffID))
}

// streamLayer downloads, checks and unpacks, and says how many bytes of files.
func (s *Store) streamLayer(ctx context.Context, l v1.Layer, diffID, dir string, budget *atomic.Int64) (int64, error) {
	body, err := l.Uncompressed()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", err, runtime.ErrImage)
	}
	defer func() { _ = body.Close() }()
	if err := os.Mkdir(dir, 0o755); err != nil {
		return 0, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // whatever the umask
		return 0, err
	}
	in := &verifier{ctx: ctx, r: body, hash: sha256.New(), budget: budget}
	unpacked, err := unpack(dir, in, s.cfg.MaxImageBytes)
	if err != nil {
		return 0, err
	}
	if _, err := io.Copy(io.Discard, in); err != nil { // what follows the end of the archive counts for the digest
		return 0, fmt.Errorf("%w: %w", err, runtime.ErrImage)
	}
	if got := "sha256:" + hex.EncodeToString(in.hash.Sum(nil)); got != diffID {
		return 0, fmt.Errorf("content has digest %s: %w", got, runtime.ErrImage)
	}
	return unpacked, nil
}

// verifier hashes, bounds and interrupts a stream.
type verifier struct {
	ctx    context.Context //nolint:containedctx // lives for one call of streamLayer
	r      io.Reader
	hash   hash.Hash
	budget *atomic.Int64
}

func (v *verifier) Read(p []byte) (int, error) {
	if err := v.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := v.r.Read(p)
	_, _ = v.hash.Write(p[:n])
	if v.budget.Add(-int64(n)) < 0 {
		return n, fmt.Errorf("image is larger than this machine takes: %w", runtime.ErrImage)
	}
	return n, err
}

// seal makes layers durable and marks them whole.
func (s *Store) seal(diffIDs []string) error {
	var fresh []string
	for _, id := range diffIDs {
		if !s.layerDone(id) && !slices.Contains(fresh, id) {
			fresh = append(fresh, id)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	if err := syncDisk(s.cfg.Dir); err != nil {
		return err
	}
	for _, id := range fresh {
		if err := os.WriteFile(s.layerDir(id)+doneSuffix, nil, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// meter adds up progress and reports it from one goroutine at a time.
type meter struct {
	mu          sync.Mutex
	done, total int64
	report      func(done, total int64)
}

func (m *meter) add(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done += n
	if m.report != nil {
		m.report(m.done, m.total)
	}
}
