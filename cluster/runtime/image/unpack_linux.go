package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/moorage-dev/moorage/cluster/runtime"
)

const (
	whiteout     = ".wh."
	opaqueMarker = ".wh..wh..opq"
	opaqueXattr  = "trusted.overlay.opaque"
	// maxID is the largest user or group that a container's range of 65536 has;
	// larger ones become nobody's.
	maxID  = 65535
	nobody = 65534
	// maxLinks bounds symbolic links followed for one name.
	maxLinks = 40
)

// unpacker writes one layer below a folder. Names are resolved as they would be
// inside the container, never leaving the folder: os.Root enforces it.
type unpacker struct {
	root  *os.Root
	dirs  map[string]string // names of folders already resolved
	times []*tar.Header     // folders, whose times are set last
	left  int64
}

// unpack writes the layer read from r into dir, at most limit bytes of files, and
// says how many they were.
func unpack(dir string, r io.Reader, limit int64) (int64, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, err
	}
	defer func() { _ = root.Close() }()
	u := &unpacker{root: root, dirs: map[string]string{}, left: limit}
	tr := tar.NewReader(r)
	for n := 0; ; n++ {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return limit - u.left, u.setTimes()
		}
		if err != nil {
			return 0, fmt.Errorf("damaged layer: %w: %w", err, runtime.ErrImage)
		}
		if n >= MaxEntries {
			return 0, fmt.Errorf("layer has over %d entries: %w", MaxEntries, runtime.ErrImage)
		}
		if err := u.entry(h, tr); err != nil {
			return 0, fmt.Errorf("entry %.200q: %w", h.Name, err)
		}
	}
}

func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	name, err := cleanName(h.Name)
	if err != nil {
		return err
	}
	if name == "." {
		return u.own(h, ".")
	}
	parent, err := u.parent(path.Dir(name))
	if err != nil {
		return err
	}
	base := path.Base(name)
	if strings.HasPrefix(base, whiteout) {
		return u.whiteout(parent, base)
	}
	return u.write(h, path.Join(parent, base), content)
}

// cleanName makes a name relative, or refuses one that climbs out.
func cleanName(raw string) (string, error) {
	name := path.Clean(strings.TrimLeft(raw, "/"))
	if name == ".." || strings.HasPrefix(name, "../") || strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("the name leaves the image: %w", runtime.ErrImage)
	}
	return name, nil
}

// parent resolves a folder's name inside the layer, making what is missing.
func (u *unpacker) parent(dir string) (string, error) {
	if done, ok := u.dirs[dir]; ok || dir == "." {
		return path.Clean(done), nil
	}
	resolved, err := u.resolve(dir)
	if err != nil {
		return "", err
	}
	if err := u.mkdirs(resolved); err != nil {
		return "", fmt.Errorf("%w: %w", err, runtime.ErrImage)
	}
	u.dirs[dir] = resolved
	return resolved, nil
}

// mkdirs makes folders that the archive implies, whatever the process's umask.
func (u *unpacker) mkdirs(dir string) error {
	if _, err := u.root.Lstat(dir); err == nil || dir == "." {
		return nil
	}
	if err := u.mkdirs(path.Dir(dir)); err != nil {
		return err
	}
	if err := u.root.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return u.root.Chmod(dir, 0o755)
}

// resolve follows symbolic links as the container would see them; an absolute
// one begins again at the layer's top.
func (u *unpacker) resolve(name string) (string, error) {
	done, todo := ".", strings.Split(name, "/")
	for links := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		next := path.Clean("/" + path.Join(done, part))[1:]
		if next == "" {
			done = "."
			continue
		}
		target, err := u.root.Readlink(next)
		if err != nil { // not a link, or not there yet
			done = next
			continue
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("too many symbolic links: %w", runtime.ErrImage)
		}
		if path.IsAbs(target) {
			done = "."
		}
		todo = append(strings.Split(strings.Trim(target, "/"), "/"), todo...)
	}
	return done, nil
}

// whiteout records that something of a lower layer is gone.
func (u *unpacker) whiteout(parent, base string) error {
	if base == opaqueMarker {
		return u.opaque(parent)
	}
	hidden := strings.TrimPrefix(base, whiteout)
	if strings.HasPrefix(hidden, whiteout) || hidden == "" || hidden == "." || hidden == ".." {
		return nil // bookkeeping of aufs
	}
	at := path.Join(parent, hidden)
	info, err := u.root.Lstat(at)
	switch {
	case err == nil && info.IsDir():
		return u.opaque(at)
	case err == nil:
		return nil
	}
	return u.at(parent, func(fd int) error {
		return unix.Mknodat(fd, hidden, unix.S_IFCHR, 0)
	})
}

func (u *unpacker) opaque(dir string) error {
	return u.at(dir, func(fd int) error { return unix.Fsetxattr(fd, opaqueXattr, []byte("y"), 0) })
}

// at runs work on an open folder.
func (u *unpacker) at(dir string, work func(fd int) error) error {
	f, err := u.root.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return work(int(f.Fd()))
}

// write makes one file, folder or link; what was there before gives way, except
// that a folder stays a folder.
func (u *unpacker) write(h *tar.Header, at string, content io.Reader) error {
	hid, err := u.clear(h, at)
	if err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if err := u.root.Mkdir(at, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		u.times = append(u.times, &tar.Header{Name: at, ModTime: h.ModTime})
		if hid {
			if err := u.opaque(at); err != nil {
				return err
			}
		}
	case tar.TypeReg:
		return u.file(h, at, content)
	case tar.TypeSymlink:
		if err := u.root.Symlink(h.Linkname, at); err != nil {
			return err
		}
		return u.root.Lchown(at, bounded(h.Uid), bounded(h.Gid))
	case tar.TypeLink:
		return u.hardLink(h, at)
	case tar.TypeFifo:
		if err := u.at(path.Dir(at), func(fd int) error {
			return unix.Mknodat(fd, path.Base(at), unix.S_IFIFO|0o600, 0)
		}); err != nil {
			return err
		}
	default:
		return nil // devices have no place in an image, others mean nothing
	}
	return u.own(h, at)
}

// clear removes what is in the way and says whether it was a whiteout.
func (u *unpacker) clear(h *tar.Header, at string) (wasWhiteout bool, err error) {
	info, err := u.root.Lstat(at)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if info.IsDir() && h.Typeflag == tar.TypeDir {
		return false, nil
	}
	clear(u.dirs)
	return info.Mode()&fs.ModeCharDevice != 0, u.root.RemoveAll(at)
}

func (u *unpacker) hardLink(h *tar.Header, at string) error {
	target, err := cleanName(h.Linkname)
	if err != nil {
		return err
	}
	dir, err := u.resolve(path.Dir(target))
	if err != nil {
		return err
	}
	if err := u.root.Link(path.Join(dir, path.Base(target)), at); err != nil {
		return fmt.Errorf("hard link to %.200q: %w: %w", h.Linkname, err, runtime.ErrImage)
	}
	return nil
}

func (u *unpacker) file(h *tar.Header, at string, content io.Reader) error {
	if u.left -= h.Size; u.left < 0 {
		return fmt.Errorf("layer is larger than this machine takes: %w", runtime.ErrImage)
	}
	f, err := u.root.OpenFile(at, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if _, err := io.Copy(f, content); err != nil {
		return err
	}
	for key, value := range h.PAXRecords {
		if attr, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok && strings.HasPrefix(attr, "user.") {
			if err := unix.Fsetxattr(int(f.Fd()), attr, []byte(value), 0); err != nil && !errors.Is(err, unix.ENOTSUP) {
				return err
			}
		}
	}
	if err := f.Chown(bounded(h.Uid), bounded(h.Gid)); err != nil {
		return err
	}
	if err := unix.Fchmod(int(f.Fd()), uint32(h.Mode)&0o7777); err != nil {
		return err
	}
	return u.root.Chtimes(at, h.ModTime, h.ModTime)
}

// own sets owner and mode of something that is no link.
func (u *unpacker) own(h *tar.Header, at string) error {
	if err := u.root.Lchown(at, bounded(h.Uid), bounded(h.Gid)); err != nil {
		return err
	}
	return u.root.Chmod(at, h.FileInfo().Mode())
}

func (u *unpacker) setTimes() error {
	for _, h := range u.times {
		if err := u.root.Chtimes(h.Name, h.ModTime, h.ModTime); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func bounded(id int) int {
	if id < 0 || id > maxID {
		return nobody
	}
	return id
}

// syncDisk writes the folder's whole file system to disk.
func syncDisk(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return unix.Syncfs(int(f.Fd()))
}
