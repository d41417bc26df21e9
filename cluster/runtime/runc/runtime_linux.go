//go:build cgo

package runc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/image"
	"github.com/moorage-dev/moorage/cluster/runtime/internal/keylock"
	"github.com/moorage-dev/moorage/cluster/runtime/runc/internal/fabric"
	"github.com/moorage-dev/moorage/internal/notify"
	"github.com/moorage-dev/moorage/netpolicy/nftpolicy"
)

// lockTime is how long another user of the state directory may take to leave.
const lockTime = time.Second

// Runtime runs containers with libcontainer. Safe for concurrent use.
//
// Goroutines: one per running container, which waits for its end on the shim's
// socket; Close ends them. Calls own what they start.
type Runtime struct {
	cfg      Config
	log      *slog.Logger
	shim     shimProgram
	instance string
	ids      bool // containers get user namespaces
	images   *image.Store
	fabric   fabric.Host
	resolv   []netip.Addr // name servers of containers
	lock     *os.File
	hub      notify.Hub
	names    keylock.Locks
	ctx      context.Context //nolint:containedctx // ends with Close
	cancel   context.CancelFunc
	watchers sync.WaitGroup

	mu       sync.Mutex // guards what follows; not held while waiting
	networks map[string]*segment
	slots    map[uint32]string // ID range to container

	fabricMu sync.Mutex // serializes changes of bridges and rules
}

// segment is a network and who is on it.
type segment struct {
	fabric.Segment
	users map[netip.Addr]user
	// woven is how the kernel's rules have it, nil if they do not.
	woven *nftpolicy.Network
}

// user is a container on a network.
type user struct{ container, service string }

func (s *segment) taken(a netip.Addr) bool {
	_, ok := s.users[a]
	return ok
}

// containers are the users' names, sorted.
func (s *segment) containers() []string {
	var out []string
	for _, u := range s.users {
		out = append(out, u.container)
	}
	slices.Sort(out)
	return out
}

var (
	_ runtime.Runtime       = (*Runtime)(nil)
	_ runtime.VolumeRemover = (*Runtime)(nil)

	_ runtime.PolicyEnforcer = (*Runtime)(nil)
)

// New opens the runtime in cfg.Dir and finds what an earlier one left: running
// containers are watched again, halves of interrupted work are removed.
// Errors: runtime.ErrUnsupported with what to do, or that another process uses
// the directory.
func New(cfg Config) (*Runtime, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		return nil, unsupported("needs root; run as root or with sudo, or use Docker or Podman")
	}
	if _, err := exec.LookPath("nft"); err != nil {
		return nil, unsupported("needs the program nft; install the package nftables")
	}
	r := &Runtime{
		cfg: cfg, log: cfg.Logger,
		networks: map[string]*segment{}, slots: map[uint32]string{},
	}
	if err := r.open(); err != nil {
		if r.lock != nil {
			_ = r.lock.Close()
		}
		return nil, err
	}
	return r, nil
}

func unsupported(text string) error {
	return fmt.Errorf("runc: %s: %w", text, runtime.ErrUnsupported)
}

func (r *Runtime) open() (err error) {
	for _, dir := range []string{"", "containers", "networks", "volumes"} {
		if err := os.MkdirAll(filepath.Join(r.cfg.Dir, dir), 0o700); err != nil {
			return fmt.Errorf("runc: %w", err)
		}
	}
	if r.lock, err = lockDir(r.cfg.Dir); err != nil {
		return err
	}
	if r.instance, err = instanceName(r.cfg.Dir); err != nil {
		return err
	}
	if r.shim, err = findShim(r.cfg); err != nil {
		return err
	}
	if err := r.decideIDs(); err != nil {
		return err
	}
	r.resolv = r.nameservers()
	r.fabric = fabric.Host{Instance: r.instance, Surroundings: r.Surroundings()}
	r.images, err = image.New(image.Config{
		Dir: filepath.Join(r.cfg.Dir, "images"), LayoutRoots: r.cfg.LayoutRoots,
		MaxImageBytes: r.cfg.MaxImageBytes, Transport: r.cfg.Transport, Logger: r.log,
	})
	if err != nil {
		return err
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r.recover()
}

func (r *Runtime) decideIDs() error {
	if r.cfg.UserNamespaces == UserNamespacesOff {
		return nil
	}
	r.ids = r.shim.UserNS == ""
	if !r.ids && r.cfg.UserNamespaces == UserNamespacesRequired {
		return unsupported("no user namespaces for containers on this machine: " + r.shim.UserNS)
	}
	if !r.ids {
		r.log.Warn("containers run without user namespaces", "reason", r.shim.UserNS)
	}
	return nil
}

// lockDir makes this process the only user of dir; the lock ends with it.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("runc: %w", err)
	}
	// After Close the lock lives on for a moment in programs that this process was
	// just starting.
	for deadline := now().Add(lockTime); ; {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || now().After(deadline) {
			break
		}
		time.Sleep(killStep)
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = errors.New("another process uses it; end that one or choose another directory")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("runc: state directory %s: %w", dir, err), f.Close())
	}
	return f, nil
}

// instanceName is the same as long as the directory is: names on the machine are
// found again after a restart, and a copy of the directory gets other ones.
func instanceName(dir string) (string, error) {
	resolved, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", fmt.Errorf("runc: %w", err)
	}
	info, err := os.Stat(resolved)
	if err != nil {
		return "", fmt.Errorf("runc: %w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", errors.New("runc: no inode numbers here")
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d", resolved, st.Ino))
	return hex.EncodeToString(sum[:3]), nil
}

// Close implements runtime.Runtime. Twice is allowed.
func (r *Runtime) Close() error {
	r.cancel()
	r.hub.Close()
	r.watchers.Wait()
	r.tidyCgroups()
	_ = r.lock.Close()
	return nil
}

// Pull implements runtime.ImageStore.
func (r *Runtime) Pull(ctx context.Context, p runtime.PullRequest) (runtime.Image, error) {
	if err := r.closed(); err != nil {
		return runtime.Image{}, err
	}
	im, err := r.images.Pull(ctx, p)
	if err == nil {
		r.prune(ctx)
	}
	return im, err
}

// prune keeps the images on disk within their bound. It may fail: the image that
// was asked for is there.
func (r *Runtime) prune(ctx context.Context) {
	list, err := r.List(ctx)
	if err != nil {
		return
	}
	var inUse []string
	for _, c := range list {
		inUse = append(inUse, c.Image)
	}
	freed, err := r.images.Prune(r.cfg.MaxCacheBytes, inUse)
	if err != nil {
		r.log.Warn("cannot remove old images", "error", err)
	} else if freed > 0 {
		r.log.Info("removed old images", "bytes", freed)
	}
}

func (r *Runtime) closed() error {
	if r.ctx.Err() != nil {
		return errors.New("runc: closed")
	}
	return nil
}
