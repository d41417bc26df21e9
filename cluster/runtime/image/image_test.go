//go:build linux

package image_test

import (
	"archive/tar"
	"bytes"
	"io"
	"log" //nolint:depguard // the registry's logger is of that type
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/image"
)

const secret = "correct-horse-battery"

func needRoot(tb testing.TB) {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("layers are unpacked with their owners: needs root")
	}
}

type entry struct {
	tar.Header
	body string
}

func file(name, body string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, body}
}

func dir(name string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}, ""}
}

func link(name, target string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777}, ""}
}

func layer(tb testing.TB, entries ...entry) v1.Layer {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		e.Size = int64(len(e.body))
		require.NoError(tb, w.WriteHeader(&e.Header))
		_, err := io.WriteString(w, e.body)
		require.NoError(tb, err)
	}
	require.NoError(tb, w.Close())
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	require.NoError(tb, err)
	return l
}

func build(tb testing.TB, arch string, layers ...v1.Layer) v1.Image {
	tb.Helper()
	im, err := mutate.AppendLayers(empty.Image, layers...)
	require.NoError(tb, err)
	cf, err := im.ConfigFile()
	require.NoError(tb, err)
	cf = cf.DeepCopy()
	cf.Architecture, cf.OS = arch, "linux"
	cf.Config = v1.Config{
		Entrypoint: []string{"/app"}, Cmd: []string{"serve"}, Env: []string{"A=1"}, User: "1000", WorkingDir: "/srv",
		ExposedPorts: map[string]struct{}{"80/tcp": {}, "53/udp": {}, "53/tcp": {}},
	}
	im, err = mutate.ConfigFile(im, cf)
	require.NoError(tb, err)
	return im
}

// server is a registry on loopback that counts blobs and may ask for a login.
type server struct {
	*httptest.Server
	blobs atomic.Int64
	login atomic.Bool
}

func serve(tb testing.TB) *server {
	tb.Helper()
	reg := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, pass, _ := r.BasicAuth(); s.login.Load() && (user != "ann" || pass != secret) {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"no, not `+pass+`"}]}`, http.StatusUnauthorized)
			return
		}
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			s.blobs.Add(1)
		}
		reg.ServeHTTP(w, r)
	}))
	tb.Cleanup(s.Close)
	return s
}

func (s *server) host() string { return strings.TrimPrefix(s.URL, "http://") }

func (s *server) push(tb testing.TB, repo string, im v1.Image) string {
	tb.Helper()
	ref, err := name.ParseReference(s.host() + "/" + repo)
	require.NoError(tb, err)
	require.NoError(tb, remote.Write(ref, im))
	return ref.Name()
}

func open(tb testing.TB, change func(*image.Config)) *image.Store {
	tb.Helper()
	cfg := image.Config{Dir: tb.TempDir()}
	if change != nil {
		change(&cfg)
	}
	s, err := image.New(cfg)
	require.NoError(tb, err)
	return s
}

func pull(tb testing.TB, s *image.Store, ref string) image.Details {
	tb.Helper()
	im, err := s.Pull(tb.Context(), runtime.PullRequest{Reference: ref})
	require.NoError(tb, err)
	d, err := s.Image(im.Digest)
	require.NoError(tb, err)
	return d
}

func TestPullFromARegistryGivesConfigurationAndUnpackedLayers(t *testing.T) {
	needRoot(t)
	srv := serve(t)
	owned := file("etc/owned", "x")
	owned.Uid, owned.Gid, owned.Mode = 1000, 200_000, 0o4755
	ref := srv.push(t, "app:1", build(t, goruntime.GOARCH, layer(t, file("app", "binary"), dir("etc"), owned), layer(t, file("etc/second", "2"))))
	s := open(t, nil)
	d := pull(t, s, ref)
	assert.Equal(t, []string{"/app"}, d.Entrypoint)
	assert.Equal(t, []string{"serve"}, d.Cmd)
	assert.Equal(t, []uint16{53, 80}, d.Ports)
	assert.Equal(t, "1000", d.User)
	require.Len(t, d.Layers, 2)
	b, err := os.ReadFile(filepath.Join(d.Layers[0], "app"))
	require.NoError(t, err)
	assert.Equal(t, "binary", string(b))
	var st unix.Stat_t
	require.NoError(t, unix.Stat(filepath.Join(d.Layers[0], "etc/owned"), &st))
	assert.Equal(t, uint32(1000), st.Uid)
	assert.Equal(t, uint32(65534), st.Gid, "a group outside the container's range is nobody's")
	assert.Equal(t, uint32(0o4755), st.Mode&0o7777)
}

func TestLayersAreFetchedOnceHoweverManyImagesShareThem(t *testing.T) {
	needRoot(t)
	srv := serve(t)
	base := layer(t, file("base", strings.Repeat("b", 1<<16)))
	one := srv.push(t, "one:1", build(t, goruntime.GOARCH, base, layer(t, file("one", "1"))))
	two := srv.push(t, "two:1", build(t, goruntime.GOARCH, base, layer(t, file("two", "2"))))
	s := open(t, nil)
	pull(t, s, one)
	srv.blobs.Store(0)
	pull(t, s, two)
	assert.Equal(t, int64(2), srv.blobs.Load(), "configuration and the second layer only")
	srv.blobs.Store(0)
	pull(t, s, one)
	assert.LessOrEqual(t, srv.blobs.Load(), int64(1), "no layer again")
}

func TestPullFromAnImageLayoutOnDisk(t *testing.T) {
	needRoot(t)
	root := t.TempDir()
	path, err := layout.Write(filepath.Join(root, "img"), empty.Index)
	require.NoError(t, err)
	require.NoError(t, path.AppendImage(build(t, goruntime.GOARCH, layer(t, file("app", "x")))))
	s := open(t, func(c *image.Config) { c.LayoutRoots = []string{root} })
	require.Len(t, pull(t, s, "oci:"+filepath.Join(root, "img")).Layers, 1)

	_, err = s.Pull(t.Context(), runtime.PullRequest{Reference: "oci:" + filepath.Join(root, "..")})
	require.ErrorIs(t, err, runtime.ErrImage)
	_, err = open(t, nil).Pull(t.Context(), runtime.PullRequest{Reference: "oci:" + filepath.Join(root, "img")})
	require.ErrorIs(t, err, runtime.ErrImage, "a stranger does not choose folders of this machine")
}

func TestWhatCannotBePulledIsErrImageWithAPlainReason(t *testing.T) {
	needRoot(t)
	srv := serve(t)
	other := srv.push(t, "other:1", build(t, "m68k", layer(t, file("a", "b"))))
	for _, c := range []struct{ ref, says string }{
		{srv.host() + "/absent:1", "no such image"},
		{other, "m68k"},
		{"UPPER CASE", "not an image reference"},
		{"127.0.0.1:1/app:1", "cannot reach 127.0.0.1:1"},
	} {
		_, err := open(t, nil).Pull(t.Context(), runtime.PullRequest{Reference: c.ref})
		require.ErrorIs(t, err, runtime.ErrImage, c.ref)
		assert.ErrorContains(t, err, c.says)
	}
}

func TestWrongCredentialsAreRefusedWithoutShowingThePassword(t *testing.T) {
	needRoot(t)
	srv := serve(t)
	ref := srv.push(t, "private:1", build(t, goruntime.GOARCH, layer(t, file("a", "b"))))
	srv.login.Store(true)
	s := open(t, nil)
	_, err := s.Pull(t.Context(), runtime.PullRequest{Reference: ref})
	require.ErrorIs(t, err, runtime.ErrImage)
	assert.ErrorContains(t, err, "needs credentials")

	wrong := "guessed-" + secret
	_, err = s.Pull(t.Context(), runtime.PullRequest{Reference: ref, Credentials: &runtime.Credentials{Host: srv.host(), Username: "ann", Password: wrong}})
	require.ErrorIs(t, err, runtime.ErrImage)
	assert.ErrorContains(t, err, "refused the credentials")
	assert.NotContains(t, err.Error(), wrong)

	_, err = s.Pull(t.Context(), runtime.PullRequest{Reference: ref, Credentials: &runtime.Credentials{Host: "elsewhere.example", Username: "ann", Password: secret}})
	assert.ErrorContains(t, err, "not sent")

	right := &runtime.Credentials{Host: srv.host(), Username: "ann", Password: secret}
	_, err = s.Pull(t.Context(), runtime.PullRequest{Reference: ref, Credentials: right})
	require.NoError(t, err)
	srv.Close()
	_, err = s.Pull(t.Context(), runtime.PullRequest{Reference: ref, Credentials: right})
	require.NoError(t, err, "the cached copy serves while the registry is away")
	_, err = s.Pull(t.Context(), runtime.PullRequest{Reference: ref})
	require.ErrorIs(t, err, runtime.ErrImage, "but not without its credentials")
}

func TestATagIsAskedForAgainAndServedFromCacheWhenTheRegistryIsAway(t *testing.T) {
	needRoot(t)
	srv := serve(t)
	ref := srv.push(t, "app:1", build(t, goruntime.GOARCH, layer(t, file("v", "1"))))
	s := open(t, nil)
	first := pull(t, s, ref)
	srv.push(t, "app:1", build(t, goruntime.GOARCH, layer(t, file("v", "2"))))
	second := pull(t, s, ref)
	require.NotEqual(t, first.Digest, second.Digest)
	srv.Close()
	require.Equal(t, second.Digest, pull(t, s, ref).Digest)
}

func TestNamesThatLeaveTheImageAreRefusedOrStayInside(t *testing.T) {
	needRoot(t)
	outside := t.TempDir()
	hard := func(name, target string) entry {
		return entry{tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target}, ""}
	}
	for name, c := range map[string]struct {
		entries []entry
		refused bool
	}{
		"climbing name":             {[]entry{file("../../../../../../../../"+outside+"/evil", "x")}, true},
		"climbing in the middle":    {[]entry{file("a/../../evil", "x")}, true},
		"hard link out":             {[]entry{hard("passwd", "../../../../../../../../etc/passwd")}, true},
		"hard link through symlink": {[]entry{link("e", "/etc"), hard("passwd", "e/passwd")}, true},
		"absolute symlink":          {[]entry{link("out", outside), file("out/evil", "x")}, false},
		"climbing symlink":          {[]entry{link("out", "../../../../../../../../.."+outside), file("out/evil", "x")}, false},
		"symlink loop":              {[]entry{link("a", "b"), link("b", "a"), file("a/evil", "x")}, true},
		"whiteout out":              {[]entry{link("out", outside), file("out/.wh.evil", "")}, false},
		"whiteout of dots":          {[]entry{file("d/.wh...", "")}, false},
		"device":                    {[]entry{{tar.Header{Name: "sda", Typeflag: tar.TypeBlock, Devmajor: 8}, ""}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			srv := serve(t)
			ref := srv.push(t, "evil:1", build(t, goruntime.GOARCH, layer(t, c.entries...)))
			s := open(t, nil)
			im, err := s.Pull(t.Context(), runtime.PullRequest{Reference: ref})
			if c.refused {
				require.ErrorIs(t, err, runtime.ErrImage)
			} else {
				require.NoError(t, err)
				d, err := s.Image(im.Digest)
				require.NoError(t, err)
				_, err = os.Lstat(filepath.Join(d.Layers[0], "sda"))
				require.ErrorIs(t, err, os.ErrNotExist)
			}
			left, err := os.ReadDir(outside)
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

func TestWhiteoutsBecomeWhatOverlayfsReads(t *testing.T) {
	needRoot(t)
	srv := serve(t)
	ref := srv.push(t, "app:1", build(t, goruntime.GOARCH, layer(t,
		file("gone/.wh.file", ""), file("fresh/.wh..wh..opq", ""), file("fresh/new", "x"),
		file(".wh.both", ""), dir("both"), file("both/inside", "x"))))
	d := pull(t, open(t, nil), ref)
	var st unix.Stat_t
	require.NoError(t, unix.Lstat(filepath.Join(d.Layers[0], "gone/file"), &st))
	assert.Equal(t, uint32(unix.S_IFCHR), st.Mode&unix.S_IFMT)
	assert.Zero(t, st.Rdev)
	for _, opaque := range []string{"fresh", "both"} {
		value := make([]byte, 8)
		n, err := unix.Getxattr(filepath.Join(d.Layers[0], opaque), "trusted.overlay.opaque", value)
		require.NoError(t, err, opaque)
		assert.Equal(t, "y", string(value[:n]))
	}
	_, err := os.Stat(filepath.Join(d.Layers[0], "both/inside"))
	require.NoError(t, err)
}

func TestAnImageLargerThanAllowedIsRefusedAndLeavesNothing(t *testing.T) {
	needRoot(t)
	srv := serve(t)
	ref := srv.push(t, "big:1", build(t, goruntime.GOARCH, layer(t, file("zeros", strings.Repeat("\x00", 1<<20)))))
	var at string
	s := open(t, func(c *image.Config) { c.MaxImageBytes = 1 << 18; at = c.Dir })
	_, err := s.Pull(t.Context(), runtime.PullRequest{Reference: ref})
	require.ErrorIs(t, err, runtime.ErrImage)
	assert.ErrorContains(t, err, "larger")
	left, err := os.ReadDir(filepath.Join(at, "layers"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestAForgedLayerIsRefused(t *testing.T) {
	needRoot(t)
	srv := serve(t)
	good := layer(t, file("a", "good"))
	im := build(t, goruntime.GOARCH, good)
	cf, err := im.ConfigFile()
	require.NoError(t, err)
	cf = cf.DeepCopy()
	cf.RootFS.DiffIDs[0].Hex = strings.Repeat("ab", 32)
	im, err = mutate.ConfigFile(im, cf)
	require.NoError(t, err)
	_, err = open(t, nil).Pull(t.Context(), runtime.PullRequest{Reference: srv.push(t, "forged:1", im)})
	require.ErrorIs(t, err, runtime.ErrImage)
	assert.ErrorContains(t, err, "digest")
}

func TestLayersOfAnInterruptedPullAreSweptAtOpening(t *testing.T) {
	at := t.TempDir()
	left := filepath.Join(at, "layers", strings.Repeat("a", 64))
	require.NoError(t, os.MkdirAll(left, 0o700))
	_, err := image.New(image.Config{Dir: at})
	require.NoError(t, err)
	_, err = os.Stat(left)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestPruningTakesWhatWasNotWantedLongestAndNothingInUse(t *testing.T) {
	needRoot(t)
	srv := serve(t)
	base := layer(t, file("base", strings.Repeat("b", 1<<16)))
	var at string
	s := open(t, func(c *image.Config) { at = c.Dir })
	var digests []string
	for i, name := range []string{"oldest", "used", "newest"} {
		im := build(t, goruntime.GOARCH, base, layer(t, file(name, strings.Repeat(name[:1], 1<<20))))
		d := pull(t, s, srv.push(t, name+":1", im))
		digests = append(digests, d.Digest)
		when := time.Now().Add(time.Duration(i-10) * time.Hour)
		require.NoError(t, os.Chtimes(filepath.Join(at, "images", strings.TrimPrefix(d.Digest, "sha256:")+".json"), when, when))
	}
	freed, err := s.Prune(3<<20+1<<16, nil)
	require.NoError(t, err)
	require.Zero(t, freed, "within the bound nothing goes")

	freed, err = s.Prune(1<<20+1<<16, digests[1:2])
	require.NoError(t, err)
	require.Equal(t, int64(2<<20), freed, "the layer that all share stays")
	_, err = s.Image(digests[0])
	require.ErrorIs(t, err, runtime.ErrImage)
	_, err = s.Image(digests[2])
	require.ErrorIs(t, err, runtime.ErrImage)
	d, err := s.Image(digests[1])
	require.NoError(t, err)
	_, err = os.Stat(filepath.Join(d.Layers[0], "base"))
	require.NoError(t, err)

	freed, err = s.Prune(0, nil)
	require.NoError(t, err)
	require.Zero(t, freed, "it was looked up just now")
}

func FuzzUnpackStaysInside(f *testing.F) {
	f.Add("a/b", "x", byte(tar.TypeReg))
	f.Add("../x", "/etc", byte(tar.TypeSymlink))
	f.Add("a/.wh.b", "", byte(tar.TypeReg))
	f.Add("a", "../../../etc/passwd", byte(tar.TypeLink))
	f.Fuzz(func(t *testing.T, name, target string, kind byte) {
		needRoot(t)
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range []tar.Header{
			{Name: "l", Typeflag: tar.TypeSymlink, Linkname: target},
			{Name: name, Typeflag: kind, Linkname: target, Mode: 0o644},
			{Name: "l/" + name, Typeflag: kind, Linkname: target, Mode: 0o644},
		} {
			if w.WriteHeader(&h) != nil {
				return
			}
		}
		require.NoError(t, w.Close())
		outer := t.TempDir()
		inner := filepath.Join(outer, "inner")
		require.NoError(t, os.Mkdir(inner, 0o700))
		_ = image.Unpack(inner, &b) // an error is as good
		left, err := os.ReadDir(outer)
		require.NoError(t, err)
		require.Len(t, left, 1, "only the folder itself")
	})
}
