// Package demo makes the image of the bundled demonstration on the spot: it
// compiles a small static web server with the Go toolchain of this machine,
// puts it into an OCI image and serves that from a registry on loopback. No
// container engine and no network are needed.
package demo

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed" // for the source of the web server
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

//go:embed hello/main.go
var source []byte

//go:embed hello.yaml
var sdlTemplate string

// SDL returns the bundled document for an image, with a greeting of its own.
func SDL(image, greeting string) []byte {
	r := strings.NewReplacer("IMAGE", image, "GREETING_TEXT", greeting)
	return []byte(r.Replace(sdlTemplate))
}

// Registry is an image registry on loopback that holds the demo image.
type Registry struct {
	listener net.Listener
	server   *http.Server
	done     chan error
}

// Start builds the image, unless dir holds it from an earlier run, and serves
// it. address is where to listen, "127.0.0.1:0" for a free port.
func Start(ctx context.Context, dir, address string) (*Registry, error) {
	program, err := build(ctx, dir)
	if err != nil {
		return nil, err
	}
	image, err := pack(program)
	if err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("demo registry: %w", err)
	}
	quiet := log.New(io.Discard, "", 0)
	r := &Registry{
		listener: listener,
		server: &http.Server{
			Handler: registry.New(registry.Logger(quiet)), ErrorLog: quiet, ReadHeaderTimeout: 10 * time.Second,
		},
		done: make(chan error, 1),
	}
	go func() { r.done <- r.server.Serve(listener) }()
	ref, err := name.ParseReference(r.Image(), name.Insecure)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if err := remote.Write(ref, image, remote.WithContext(ctx)); err != nil {
		return nil, errors.Join(fmt.Errorf("demo registry: %w", err), r.Close())
	}
	return r, nil
}

// Address is where the registry listens.
func (r *Registry) Address() string { return r.listener.Addr().String() }

// Image is the reference of the demo image.
func (r *Registry) Image() string { return r.Address() + "/moorage/hello:1" }

// Close stops serving and waits.
func (r *Registry) Close() error {
	err := r.server.Close()
	if ended := <-r.done; ended != nil && !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// build compiles the web server and returns the path of the program.
func build(ctx context.Context, dir string) (string, error) {
	sum := sha256.Sum256(append([]byte(runtime.Version()), source...))
	path := filepath.Join(dir, fmt.Sprintf("hello-%x", sum[:8]))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	tool, err := exec.LookPath("go")
	if err != nil {
		return "", errors.New("the bundled demo is compiled with Go, which is not on PATH: install Go, or give an SDL file with an image of your own")
	}
	tmp, err := os.MkdirTemp("", "moorage-demo-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp) //nolint:errcheck // a leftover in the temporary folder harms nobody
	files := map[string][]byte{"main.go": source, "go.mod": []byte("module hello\n\ngo 1.26\n")}
	for file, content := range files {
		if err := os.WriteFile(filepath.Join(tmp, file), content, 0o600); err != nil {
			return "", err
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, tool, "build", "-trimpath", "-ldflags=-s -w", "-o", path, ".")
	cmd.Dir = tmp
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false", "GOWORK=off", "GOOS=linux")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("compiling the demo: %w\n%s", err, out)
	}
	return path, nil
}

// pack makes an image of one layer with the program in it.
func pack(program string) (v1.Image, error) {
	code, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	var layer bytes.Buffer
	tw := tar.NewWriter(&layer)
	if err := tw.WriteHeader(&tar.Header{Name: "hello", Mode: 0o755, Size: int64(len(code))}); err != nil {
		return nil, err
	}
	if _, err := tw.Write(code); err != nil {
		return nil, err
	}
	if err := tw.Close(); err != nil {
		return nil, err
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(layer.Bytes())), nil
	})
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		return nil, err
	}
	return mutate.ConfigFile(image, config(image))
}

func config(image v1.Image) *v1.ConfigFile {
	cfg := &v1.ConfigFile{OS: "linux", Architecture: runtime.GOARCH, RootFS: v1.RootFS{Type: "layers"}}
	if have, err := image.ConfigFile(); err == nil {
		cfg.RootFS, cfg.History = have.RootFS, have.History
	}
	cfg.Config = v1.Config{
		Entrypoint: []string{"/hello"}, User: "65532:65532", WorkingDir: "/",
		ExposedPorts: map[string]struct{}{"8080/tcp": {}},
	}
	return cfg
}
