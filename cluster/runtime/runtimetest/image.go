package runtimetest

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log" //nolint:depguard // the registry's logger is of that type
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// guestPackage is the program in the suite's image.
const guestPackage = "github.com/moorage-dev/moorage/cluster/runtime/runtimetest/guestprogram"

// GuestImage builds the guest with the Go toolchain in PATH and puts it into an
// image of two layers: entrypoint /guest, command wait, port 80, GUEST=image in
// the environment, working folder /work, a user "app" (1000:1000).
func GuestImage(ctx context.Context) (v1.Image, error) {
	dir, err := os.MkdirTemp("", "guest-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program := filepath.Join(dir, "guest")
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", program, guestPackage)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("runtimetest: build the guest: %w: %s", err, out)
	}
	binary, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	return guestImage(binary)
}

func guestImage(binary []byte) (v1.Image, error) {
	base, err := layer(
		file("etc/passwd", 0o644, "root:x:0:0:root:/root:/guest\napp:x:1000:1000::/home/app:/guest\n"),
		file("etc/group", 0o644, "root:x:0:\napp:x:1000:\nextra:x:1001:app\n"),
		file("gone", 0o644, "a later layer takes this away"),
		file("changed", 0o644, "before"),
		dir("tmp", 0o1777), dir("work", 0o755), dir("root", 0o700), dir("proc", 0o755), dir("sys", 0o755), dir("dev", 0o755),
	)
	if err != nil {
		return nil, err
	}
	top, err := layer(file("guest", 0o755, string(binary)), file(".wh.gone", 0o644, ""), file("changed", 0o644, "after"))
	if err != nil {
		return nil, err
	}
	im, err := mutate.AppendLayers(empty.Image, base, top)
	if err != nil {
		return nil, err
	}
	return mutate.ConfigFile(im, mustConfig(im, v1.Config{
		Entrypoint: []string{"/guest"}, Cmd: []string{"wait"}, Env: []string{"GUEST=image", "PATH=/"},
		WorkingDir: "/work", ExposedPorts: map[string]struct{}{"80/tcp": {}},
	}))
}

// WithUser is an image run as somebody else.
func WithUser(im v1.Image, user string) (v1.Image, error) {
	cf, err := im.ConfigFile()
	if err != nil {
		return nil, err
	}
	cf = cf.DeepCopy()
	cf.Config.User = user
	return mutate.ConfigFile(im, cf)
}

func mustConfig(im v1.Image, c v1.Config) *v1.ConfigFile {
	cf, err := im.ConfigFile()
	if err != nil {
		return nil // mutate.ConfigFile reports it
	}
	cf = cf.DeepCopy()
	cf.Architecture, cf.OS, cf.Config = goruntime.GOARCH, "linux", c
	return cf
}

type entry struct {
	header  tar.Header
	content string
}

func file(name string, mode int64, content string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(content))}, content}
}

func dir(name string, mode int64) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: mode}, ""}
}

func layer(entries ...entry) (v1.Layer, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if err := w.WriteHeader(&e.header); err != nil {
			return nil, err
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
}

// Registry is an OCI registry on loopback: one door is open, the other asks for
// credentials.
type Registry struct {
	// Host and PrivateHost are "ip:port" of the doors.
	Host, PrivateHost string
	// Username and Password open the second.
	Username, Password string
	servers            []*http.Server
	done               sync.WaitGroup
}

// NewRegistry serves on free ports of 127.0.0.1 until Close.
func NewRegistry() (*Registry, error) {
	r := &Registry{Username: "ann", Password: "correct-horse-battery"}
	var err error
	if r.Host, err = r.serve(registry.New(registry.Logger(log.New(io.Discard, "", 0)))); err != nil {
		return nil, err
	}
	behind := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	r.PrivateHost, err = r.serve(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if user, password, _ := q.BasicAuth(); user != r.Username || password != r.Password {
			w.Header().Set("WWW-Authenticate", `Basic realm="guests"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
			return
		}
		behind.ServeHTTP(w, q)
	}))
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Registry) serve(h http.Handler) (string, error) {
	var c net.ListenConfig
	l, err := c.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: h}
	r.servers = append(r.servers, s)
	r.done.Go(func() { _ = s.Serve(l) })
	return l.Addr().String(), nil
}

// Push puts an image behind the open door, under "repository:tag", and returns
// its reference.
func (r *Registry) Push(ctx context.Context, repository string, im v1.Image) (string, error) {
	return r.push(ctx, r.Host, repository, im)
}

// PushPrivate puts it behind the door that asks.
func (r *Registry) PushPrivate(ctx context.Context, repository string, im v1.Image) (string, error) {
	return r.push(ctx, r.PrivateHost, repository, im)
}

func (r *Registry) push(ctx context.Context, host, repository string, im v1.Image) (string, error) {
	ref, err := name.ParseReference(host + "/" + repository)
	if err != nil {
		return "", err
	}
	return ref.Name(), remote.Write(ref, im, remote.WithContext(ctx), remote.WithAuth(&authn.Basic{Username: r.Username, Password: r.Password}))
}

// Close ends both servers and waits.
func (r *Registry) Close() error {
	var errs []error
	for _, s := range r.servers {
		errs = append(errs, s.Close())
	}
	r.done.Wait()
	return errors.Join(errs...)
}
