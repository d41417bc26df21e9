package image

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	goruntime "runtime"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/moorage-dev/moorage/cluster/runtime"
)

func (s *Store) arch() string {
	if s.cfg.Architecture != "" {
		return s.cfg.Architecture
	}
	return goruntime.GOARCH
}

func (s *Store) platform() v1.Platform { return v1.Platform{OS: "linux", Architecture: s.arch()} }

// open finds the image for this machine. The error is an [*unreachableError]
// when nobody answered.
func (s *Store) open(ctx context.Context, p runtime.PullRequest) (v1.Image, error) {
	if strings.HasPrefix(p.Reference, LayoutPrefix) {
		return FromLayout(s.cfg.LayoutRoots, p.Reference, s.platform())
	}
	ref, err := name.ParseReference(p.Reference)
	if err != nil {
		return nil, fmt.Errorf("image: %.200q is not an image reference: %w", p.Reference, runtime.ErrImage)
	}
	opts := []remote.Option{remote.WithContext(ctx), remote.WithPlatform(s.platform()), remote.WithUserAgent("moorage")}
	if s.cfg.Transport != nil {
		opts = append(opts, remote.WithTransport(s.cfg.Transport))
	}
	if c := p.Credentials; c != nil && (c.Username != "" || c.Password != "") {
		if !SameRegistry(c.Host, ref.Context().RegistryStr()) {
			return nil, fmt.Errorf("image: %s: the credentials are for %q, the image is at %s; they were not sent: %w",
				p.Reference, c.Host, ref.Context().RegistryStr(), runtime.ErrImage)
		}
		opts = append(opts, remote.WithAuth(authn.FromConfig(authn.AuthConfig{Username: c.Username, Password: c.Password})))
	}
	im, err := remote.Image(ref, opts...)
	if err != nil {
		return nil, explain(ref, err, p.Credentials != nil)
	}
	return im, nil
}

// SameRegistry reports whether a host as people write it ("docker.io",
// "https://ghcr.io/") means the registry of that name. "" means any.
func SameRegistry(host, registry string) bool {
	if host == "" {
		return true
	}
	for _, prefix := range []string{"https://", "http://"} {
		host = strings.TrimPrefix(host, prefix)
	}
	host, _, _ = strings.Cut(host, "/")
	switch host {
	case "docker.io", "registry-1.docker.io", "hub.docker.com":
		host = name.DefaultRegistry
	}
	return strings.EqualFold(host, registry)
}

// unreachableError is a registry that gave no answer about the image.
type unreachableError struct{ err error }

func (e *unreachableError) Error() string { return e.err.Error() }
func (e *unreachableError) Unwrap() error { return e.err }

// explain turns what go-containerregistry says into what happened.
func explain(ref name.Reference, err error, login bool) error {
	var answer *transport.Error
	if !errors.As(err, &answer) {
		if strings.Contains(err.Error(), "no child with platform") {
			return fmt.Errorf("image: %s is not made for this machine's architecture (%s): %w", ref, goruntime.GOARCH, runtime.ErrImage)
		}
		return &unreachableError{fmt.Errorf("image: %s: cannot reach %s: %w: %w", ref, ref.Context().RegistryStr(), err, runtime.ErrImage)}
	}
	switch {
	case answer.StatusCode == http.StatusNotFound:
		return fmt.Errorf("image: %s: no such image or tag: %w", ref, runtime.ErrImage)
	case answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden:
		if login {
			return fmt.Errorf("image: %s: %s refused the credentials: %w", ref, ref.Context().RegistryStr(), runtime.ErrImage)
		}
		return fmt.Errorf("image: %s: no such image, or it needs credentials: %w", ref, runtime.ErrImage)
	case answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode >= 500:
		return &unreachableError{fmt.Errorf("image: %s: %s answered %d, try again later: %w",
			ref, ref.Context().RegistryStr(), answer.StatusCode, runtime.ErrImage)}
	}
	return fmt.Errorf("image: %s: %s answered %d: %w", ref, ref.Context().RegistryStr(), answer.StatusCode, runtime.ErrImage)
}

// fallback serves a cached image when the registry does not answer.
func (s *Store) fallback(p runtime.PullRequest, cause error) (runtime.Image, error) {
	var gone *unreachableError
	if !errors.As(cause, &gone) {
		return runtime.Image{}, cause
	}
	var ref reference
	if err := readJSON(s.refPath(p.Reference), &ref); err != nil || ref.Owner != "" && ref.Owner != s.owner(p.Credentials) {
		return runtime.Image{}, cause
	}
	d, err := s.Image(ref.Digest)
	if err != nil {
		return runtime.Image{}, cause
	}
	s.log.Warn("registry does not answer, using the cached image", "reference", p.Reference, "digest", ref.Digest)
	if p.Progress != nil {
		p.Progress(d.Bytes, d.Bytes)
	}
	return d.Image, nil
}

// FromLayout opens the image for a platform in the OCI image layout that an "oci:"
// reference names, if it lies below one of roots; else runtime.ErrImage. Links are
// followed before that is decided.
func FromLayout(roots []string, ref string, platform v1.Platform) (v1.Image, error) {
	path := strings.TrimPrefix(ref, LayoutPrefix)
	if !below(roots, path) {
		return nil, fmt.Errorf("image: %s: this machine takes no image layouts from there: %w", ref, runtime.ErrImage)
	}
	index, err := layout.ImageIndexFromPath(path)
	if err != nil {
		return nil, fmt.Errorf("image: %s: not an OCI image layout: %w: %w", ref, err, runtime.ErrImage)
	}
	im, err := choose(index, platform, true)
	if err != nil {
		return nil, fmt.Errorf("image: %s: %w: %w", ref, err, runtime.ErrImage)
	}
	return im, nil
}

func below(roots []string, path string) bool {
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil || !filepath.IsAbs(path) {
		return false
	}
	for _, root := range roots {
		base, err := filepath.EvalSymlinks(root)
		if err != nil {
			continue
		}
		if rel, err := filepath.Rel(base, resolved); err == nil && filepath.IsLocal(rel) {
			return true
		}
	}
	return false
}

// choose picks the image for a platform out of an index, looking into one level
// of nested indexes (an image of several architectures).
func choose(index v1.ImageIndex, platform v1.Platform, nested bool) (v1.Image, error) {
	m, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, d := range m.Manifests {
		if d.MediaType.IsImage() && (d.Platform == nil || d.Platform.Satisfies(platform)) {
			return index.Image(d.Digest)
		}
		if d.MediaType.IsIndex() && nested {
			inner, err := index.ImageIndex(d.Digest)
			if err != nil {
				return nil, err
			}
			if im, err := choose(inner, platform, false); err == nil {
				return im, nil
			}
		}
	}
	return nil, fmt.Errorf("no image for %s/%s in it", platform.OS, platform.Architecture)
}
