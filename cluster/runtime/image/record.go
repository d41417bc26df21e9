package image

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/moorage-dev/moorage/cluster/runtime"
)

const (
	partialSuffix = ".partial"
	doneSuffix    = ".ok"
	sizeSuffix    = ".size"
)

// record is an image on disk.
type record struct {
	Digest  string
	Bytes   int64
	DiffIDs []string
	Config  v1.Config
}

// reference is what a name stood for when it was last pulled.
type reference struct {
	Reference string
	Digest    string
	// Owner is a keyed hash of the credentials it took, "" for a public image.
	Owner string
}

// digestHex gives the only form of a digest that becomes a file name.
func digestHex(digest string) (string, error) {
	h, ok := strings.CutPrefix(digest, "sha256:")
	if b, err := hex.DecodeString(h); !ok || err != nil || len(b) != sha256.Size {
		return "", fmt.Errorf("image: %.100q is not a sha256 digest: %w", digest, runtime.ErrImage)
	}
	return h, nil
}

func (r record) details() Details {
	d := Details{
		Image:      runtime.Image{Digest: r.Digest, Bytes: r.Bytes, Ports: ports(r.Config)},
		Entrypoint: r.Config.Entrypoint, Cmd: r.Config.Cmd, Env: r.Config.Env,
		WorkingDir: r.Config.WorkingDir, User: r.Config.User, StopSignal: r.Config.StopSignal,
	}
	for v := range r.Config.Volumes {
		d.Volumes = append(d.Volumes, v)
	}
	slices.Sort(d.Volumes)
	return d
}

// ports reads "80/tcp" and "53/udp" keys, sorted, each once.
func ports(c v1.Config) []uint16 {
	var out []uint16
	for k := range c.ExposedPorts {
		number, _, _ := strings.Cut(k, "/")
		if n, err := strconv.ParseUint(number, 10, 16); err == nil && n > 0 {
			out = append(out, uint16(n))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (s *Store) layerDir(diffID string) string {
	return filepath.Join(s.cfg.Dir, "layers", strings.TrimPrefix(diffID, "sha256:"))
}

func (s *Store) layerDone(diffID string) bool {
	_, err := os.Stat(s.layerDir(diffID) + doneSuffix)
	return err == nil
}

func (s *Store) readImage(digest string) (r record, err error) {
	h, err := digestHex(digest)
	if err != nil {
		return r, err
	}
	return r, readJSON(filepath.Join(s.cfg.Dir, "images", h+".json"), &r)
}

func (s *Store) writeImage(r record) error {
	h, err := digestHex(r.Digest)
	if err != nil {
		return err
	}
	return writeJSON(filepath.Join(s.cfg.Dir, "images", h+".json"), r)
}

func (s *Store) refPath(ref string) string {
	sum := sha256.Sum256([]byte(ref))
	return filepath.Join(s.cfg.Dir, "refs", hex.EncodeToString(sum[:])+".json")
}

func (s *Store) writeRef(p runtime.PullRequest, digest string) error {
	return writeJSON(s.refPath(p.Reference), reference{Reference: p.Reference, Digest: digest, Owner: s.owner(p.Credentials)})
}

// owner is a keyed hash of credentials: enough to know them again, useless to
// log in with.
func (s *Store) owner(c *runtime.Credentials) string {
	if c == nil || c.Username == "" && c.Password == "" {
		return ""
	}
	mac := hmac.New(sha256.New, s.key)
	for _, part := range []string{c.Host, c.Username, c.Password} {
		_, _ = fmt.Fprintf(mac, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(mac.Sum(nil))
}

func loadKey(path string) ([]byte, error) {
	key, err := os.ReadFile(path)
	if err == nil && len(key) == sha256.Size {
		return key, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("image: %w", err)
	}
	key = make([]byte, sha256.Size)
	_, _ = rand.Read(key)
	return key, writeFile(path, key)
}

func readJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

func writeJSON(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("image: %w", err)
	}
	return writeFile(path, data)
}

// writeFile replaces a file at once.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "new-*")
	if err != nil {
		return fmt.Errorf("image: %w", err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("image: %w", err)
	}
	return nil
}
