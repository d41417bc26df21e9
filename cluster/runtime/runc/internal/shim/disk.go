//go:build linux && cgo

package shim

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// diskPause is the least time between two looks at disk use; a look that takes
	// long makes the pause longer, so that watching costs a tenth of a core at most.
	diskPause  = 2 * time.Second
	diskFactor = 10
	// inodeBytes is counted for each file: many empty files are a burden too.
	inodeBytes = 256
	blockBytes = 512
	maxDepth   = 512
	maxSeen    = 1 << 16
	portion    = 256
)

// bounded is a folder and how much it may hold.
type bounded struct {
	dir   string
	bytes uint64
}

// watchDisk calls full once when a folder holds more than it may.
func watchDisk(ctx context.Context, dirs []bounded, full func()) {
	pause := time.Duration(0)
	for len(dirs) > 0 {
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(pause, diskPause)):
		}
		start := time.Now()
		for _, d := range dirs {
			if diskUse(ctx, d.dir, d.bytes) > d.bytes {
				full()
				return
			}
		}
		pause = diskFactor * time.Since(start)
	}
}

// diskUse adds up what a folder holds, up to a little over enough. Nesting beyond
// maxDepth counts as full: it could not be walked with bounded means.
func diskUse(ctx context.Context, dir string, enough uint64) uint64 {
	u := &usage{ctx: ctx, enough: enough, seen: map[inode]bool{}}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	u.walk(fd, 0)
	return u.sum
}

type inode struct{ dev, ino uint64 }

type usage struct {
	ctx         context.Context //nolint:containedctx // lives for one walk
	enough, sum uint64
	seen        map[inode]bool // of files with several names, up to maxSeen
}

func (u *usage) done() bool { return u.sum > u.enough || u.ctx.Err() != nil }

// walk adds a folder's content and closes it. Entries come in small portions, so
// a folder of millions of files takes no memory to speak of.
func (u *usage) walk(fd, depth int) {
	f := os.NewFile(uintptr(fd), "")
	defer func() { _ = f.Close() }()
	if depth > maxDepth {
		u.sum = u.enough + 1
		return
	}
	for !u.done() {
		names, err := f.Readdirnames(portion)
		for _, name := range names {
			u.entry(fd, name, depth)
		}
		if err != nil {
			return
		}
	}
}

func (u *usage) entry(parent int, name string, depth int) {
	var st unix.Stat_t
	if u.done() || unix.Fstatat(parent, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return // enough, or it went away while we looked
	}
	folder := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if st.Nlink > 1 && !folder {
		id := inode{st.Dev, st.Ino}
		if u.seen[id] {
			return
		}
		if len(u.seen) < maxSeen {
			u.seen[id] = true
		}
	}
	u.sum += uint64(st.Blocks)*blockBytes + inodeBytes
	if !folder {
		return
	}
	if fd, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err == nil {
		u.walk(fd, depth+1)
	}
}
