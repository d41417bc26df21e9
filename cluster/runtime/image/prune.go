package image

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// freshTime protects an image that was pulled or looked up lately: a container
// may be about to start from it.
const freshTime = 10 * time.Minute

// cachedImage is an image and when it was last wanted.
type cachedImage struct {
	record
	used time.Time
}

// touch notes that an image is wanted. Failing does no harm but that it may be
// pruned sooner.
func (s *Store) touch(digest string) {
	if h, err := digestHex(digest); err == nil {
		now := time.Now()
		_ = os.Chtimes(filepath.Join(s.cfg.Dir, "images", h+".json"), now, now)
	}
}

// Prune removes images that were not wanted for the longest time until layers
// take at most max bytes. Images in use (digests) stay, and those wanted within
// the last minutes. It returns the bytes freed.
func (s *Store) Prune(maxBytes int64, inUse []string) (freed int64, err error) {
	s.pruning.Lock()
	defer s.pruning.Unlock()
	images, err := s.cached()
	if err != nil {
		return 0, err
	}
	sizes := map[string]int64{} // of layers, by diff ID
	users := map[string]int{}
	var total int64
	for _, im := range images {
		for _, id := range slices.Compact(slices.Sorted(slices.Values(im.DiffIDs))) {
			if users[id]++; users[id] == 1 {
				sizes[id] = s.layerSize(id)
				total += sizes[id]
			}
		}
	}
	for _, im := range images {
		if total-freed <= maxBytes {
			break
		}
		if slices.Contains(inUse, im.Digest) || time.Since(im.used) < freshTime {
			continue
		}
		n, err := s.drop(im.record, users, sizes)
		freed += n
		if err != nil {
			return freed, fmt.Errorf("image: prune %s: %w", im.Digest, err)
		}
	}
	return freed, nil
}

// cached lists images, least recently wanted first.
func (s *Store) cached() ([]cachedImage, error) {
	dir := filepath.Join(s.cfg.Dir, "images")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	var out []cachedImage
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		var r record
		if err := readJSON(filepath.Join(dir, e.Name()), &r); err != nil {
			return nil, fmt.Errorf("image: %s: %w", e.Name(), err)
		}
		out = append(out, cachedImage{record: r, used: info.ModTime()})
	}
	slices.SortFunc(out, func(a, b cachedImage) int { return cmp.Or(a.used.Compare(b.used), strings.Compare(a.Digest, b.Digest)) })
	return out, nil
}

// drop removes an image and the layers that no other has.
func (s *Store) drop(r record, users map[string]int, sizes map[string]int64) (freed int64, err error) {
	h, err := digestHex(r.Digest)
	if err != nil {
		return 0, err
	}
	if err := os.Remove(filepath.Join(s.cfg.Dir, "images", h+".json")); err != nil {
		return 0, err
	}
	for _, id := range slices.Compact(slices.Sorted(slices.Values(r.DiffIDs))) {
		if users[id]--; users[id] > 0 {
			continue
		}
		if err := s.dropLayer(id); err != nil {
			return freed, err
		}
		freed += sizes[id]
	}
	return freed, nil
}

// dropLayer removes the mark first, so that half a layer is never taken for whole.
func (s *Store) dropLayer(id string) error {
	for _, suffix := range []string{doneSuffix, sizeSuffix} {
		if err := os.Remove(s.layerDir(id) + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return os.RemoveAll(s.layerDir(id))
}

// layerSize is what a layer's files take, 0 if that was not noted.
func (s *Store) layerSize(id string) int64 {
	data, err := os.ReadFile(s.layerDir(id) + sizeSuffix)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(string(data), 10, 64)
	return n
}
