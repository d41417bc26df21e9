package docker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/moby/moby/api/pkg/authconfig"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/client"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/image"
)

// Pull implements runtime.ImageStore by the engine's own pull.
func (r *Runtime) Pull(ctx context.Context, p runtime.PullRequest) (runtime.Image, error) {
	ctx, done, err := r.begin(ctx)
	if err != nil {
		return runtime.Image{}, err
	}
	defer done()
	local, err := r.bring(ctx, p)
	if err != nil {
		if ctx.Err() != nil {
			return runtime.Image{}, context.Cause(ctx)
		}
		return runtime.Image{}, hide(err, p.Credentials)
	}
	return r.describe(ctx, local)
}

// bring gets the image into the engine and returns how the engine names it.
func (r *Runtime) bring(ctx context.Context, p runtime.PullRequest) (string, error) {
	if strings.HasPrefix(p.Reference, image.LayoutPrefix) {
		return r.load(ctx, p.Reference)
	}
	ref, err := name.ParseReference(p.Reference)
	if err != nil {
		return "", fmt.Errorf("docker: %.200q is not an image reference: %w", p.Reference, runtime.ErrImage)
	}
	o := client.ImagePullOptions{}
	if c := p.Credentials; c != nil && (c.Username != "" || c.Password != "") {
		if !image.SameRegistry(c.Host, ref.Context().RegistryStr()) {
			return "", fmt.Errorf("docker: %s: the credentials are for %q, the image is at %s; they were not sent: %w",
				p.Reference, c.Host, ref.Context().RegistryStr(), runtime.ErrImage)
		}
		o.RegistryAuth, err = authconfig.Encode(registry.AuthConfig{Username: c.Username, Password: c.Password, ServerAddress: ref.Context().RegistryStr()})
		if err != nil {
			return "", errors.New("docker: credentials cannot be encoded")
		}
	}
	if err := r.pull(ctx, ref.Name(), o, p.Progress); err != nil {
		return r.cached(ctx, ref.Name(), o.RegistryAuth == "", err)
	}
	if o.RegistryAuth == "" {
		return ref.Name(), os.WriteFile(r.publicMark(ref.Name()), nil, 0o600)
	}
	return ref.Name(), nil
}

func (r *Runtime) pull(ctx context.Context, ref string, o client.ImagePullOptions, progress func(done, total int64)) error {
	messages, err := r.engine.ImagePull(ctx, ref, o)
	if err != nil {
		return explain(ref, err)
	}
	defer func() { _ = messages.Close() }()
	sum := map[string][2]int64{}
	for m, err := range messages.JSONMessages(ctx) {
		if err != nil {
			return explain(ref, err)
		}
		if m.Error != nil {
			return explain(ref, m.Error)
		}
		if m.Progress != nil && m.Progress.Total > 0 && progress != nil {
			sum[m.ID] = [2]int64{m.Progress.Current, m.Progress.Total}
			var done, total int64
			for _, s := range sum {
				done, total = done+s[0], total+s[1]
			}
			progress(done, total)
		}
	}
	return nil
}

// unreachableError is a registry that gave no answer about the image.
type unreachableError struct{ err error }

func (e *unreachableError) Error() string { return e.err.Error() }
func (e *unreachableError) Unwrap() error { return e.err }

// explain sorts what engines say, which is text only.
func explain(ref string, err error) error {
	text := strings.ToLower(err.Error())
	has := func(signs ...string) bool {
		return slices.ContainsFunc(signs, func(s string) bool { return strings.Contains(text, s) })
	}
	switch {
	case has("unauthorized", "authentication required", "no basic auth", "denied"):
		return fmt.Errorf("docker: %s: no such image, or the registry refused the credentials (or their absence): %w", ref, runtime.ErrImage)
	case has("manifest unknown", "not found", "name unknown", "no such image"):
		return fmt.Errorf("docker: %s: no such image or tag: %w", ref, runtime.ErrImage)
	case has("no matching manifest", "does not match the specified platform"):
		return fmt.Errorf("docker: %s is not made for this machine's architecture (%s): %w", ref, goruntime.GOARCH, runtime.ErrImage)
	}
	return &unreachableError{fmt.Errorf("docker: %s: %w: %w", ref, err, runtime.ErrImage)}
}

// cached serves a copy when the registry does not answer, of public images only:
// the engine cannot say whose credentials brought the others.
func (r *Runtime) cached(ctx context.Context, ref string, public bool, cause error) (string, error) {
	var gone *unreachableError
	if !errors.As(cause, &gone) || !public {
		return "", cause
	}
	if _, err := os.Stat(r.publicMark(ref)); err != nil {
		return "", cause
	}
	if _, err := r.engine.ImageInspect(ctx, ref); err != nil {
		return "", cause
	}
	r.log.Warn("registry does not answer, using the cached image", "reference", ref)
	return ref, nil
}

func (r *Runtime) publicMark(ref string) string {
	sum := sha256.Sum256([]byte(ref))
	return filepath.Join(r.cfg.Dir, "public", hex.EncodeToString(sum[:]))
}

// load gives the engine an image from a layout on disk.
func (r *Runtime) load(ctx context.Context, reference string) (string, error) {
	im, err := image.FromLayout(r.cfg.LayoutRoots, reference, v1.Platform{OS: "linux", Architecture: goruntime.GOARCH})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(reference))
	tag, err := name.NewTag("moorage.invalid/layout:" + hex.EncodeToString(sum[:8]))
	if err != nil {
		return "", err
	}
	out, in := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := tarball.Write(tag, im, in)
		_ = in.CloseWithError(err)
		written <- err
	}()
	answer, err := r.engine.ImageLoad(ctx, out)
	if err == nil {
		_, err = io.Copy(io.Discard, answer)
		_ = answer.Close()
	}
	_ = out.Close()
	if err := errors.Join(err, <-written); err != nil {
		return "", fmt.Errorf("docker: %s: %w: %w", reference, err, runtime.ErrImage)
	}
	return tag.Name(), nil
}

func (r *Runtime) describe(ctx context.Context, local string) (runtime.Image, error) {
	im, err := r.engine.ImageInspect(ctx, local)
	if err != nil {
		return runtime.Image{}, fail(ctx, "image", local, errors.Join(err, runtime.ErrImage))
	}
	if im.Architecture != "" && im.Architecture != goruntime.GOARCH {
		return runtime.Image{}, fmt.Errorf("docker: %s is made for %s, this machine is %s: %w", local, im.Architecture, goruntime.GOARCH, runtime.ErrImage)
	}
	out := runtime.Image{Digest: im.ID, Bytes: im.Size}
	if im.Config != nil {
		for port := range im.Config.ExposedPorts {
			number, _, _ := strings.Cut(port, "/")
			if n, err := strconv.ParseUint(number, 10, 16); err == nil && n > 0 {
				out.Ports = append(out.Ports, uint16(n))
			}
		}
		slices.Sort(out.Ports)
		out.Ports = slices.Compact(out.Ports)
	}
	return out, nil
}

// hide takes the password out of an error, should the engine have shown it.
func hide(err error, c *runtime.Credentials) error {
	if c == nil || c.Password == "" || !strings.Contains(err.Error(), c.Password) {
		return err
	}
	return fmt.Errorf("%s: %w", strings.ReplaceAll(err.Error(), c.Password, "[redacted]"), runtime.ErrImage)
}
