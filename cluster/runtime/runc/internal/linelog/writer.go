// Package linelog keeps what a container prints: lines with time and stream in
// numbered files, the oldest deleted when all together pass a bound. One process
// writes, others read and follow.
package linelog

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// MaxLine bounds a line's text in bytes; a longer one is cut in several.
	MaxLine = 16 << 10
	// minBound keeps at least a few of the longest lines.
	minBound = 4 * MaxLine
	// parts is how many files share the bound: what is lost at a time is one part.
	parts  = 8
	suffix = ".log"
)

// Writer appends lines. Safe for concurrent use.
type Writer struct {
	mu    sync.Mutex
	dir   string
	bound int64
	total int64
	size  int64 // of the current file
	files []uint64
	sizes map[uint64]int64
	out   *os.File
}

// NewWriter begins a new file in dir, which it makes. bound is in bytes.
func NewWriter(dir string, bound uint64) (*Writer, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	files, err := list(dir)
	if err != nil {
		return nil, err
	}
	w := &Writer{dir: dir, bound: int64(max(min(bound, 1<<50), minBound)), files: files, sizes: map[uint64]int64{}}
	for _, n := range files {
		if info, err := os.Stat(fileName(dir, n)); err == nil {
			w.sizes[n] = info.Size()
			w.total += info.Size()
		}
	}
	return w, w.next()
}

// Pump copies lines from r until it ends; flushing whenever nothing more is
// waiting to be read.
func (w *Writer) Pump(r io.Reader, stderr bool) error {
	in := bufio.NewReaderSize(r, MaxLine)
	var batch bytes.Buffer
	var failed error
	cut := false // the text read before was the first part of a line
	for {
		text, err := in.ReadSlice('\n')
		restOnly := cut && len(text) == 1 && text[0] == '\n'
		cut = errors.Is(err, bufio.ErrBufferFull)
		if len(text) > 0 && !restOnly {
			appendLine(&batch, time.Now(), stderr, bytes.TrimSuffix(text, []byte("\n")))
		}
		if in.Buffered() == 0 || batch.Len() >= 2*MaxLine || err != nil && !cut {
			if werr := w.write(batch.Bytes()); werr != nil && failed == nil {
				failed = werr // keep reading: a full disk must not block the container
			}
			batch.Reset()
		}
		if err != nil && !cut {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			if failed != nil {
				return failed
			}
			return err
		}
	}
}

// Note writes one line of the runtime's own, as standard error.
func (w *Writer) Note(text string) error {
	var b bytes.Buffer
	appendLine(&b, time.Now(), true, []byte(text))
	return w.write(b.Bytes())
}

// Close ends writing.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Close()
}

func appendLine(b *bytes.Buffer, t time.Time, stderr bool, text []byte) {
	stream := byte('o')
	if stderr {
		stream = 'e'
	}
	b.Write(strconv.AppendInt(b.AvailableBuffer(), t.UnixNano(), 10))
	b.WriteByte(' ')
	b.WriteByte(stream)
	b.WriteByte(' ')
	b.Write(bytes.TrimSuffix(text, []byte("\r")))
	b.WriteByte('\n')
}

func (w *Writer) write(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.size > 0 && w.size+int64(len(p)) > w.bound/parts {
		if err := w.next(); err != nil {
			return err
		}
	}
	n, err := w.out.Write(p)
	w.size += int64(n)
	w.total += int64(n)
	w.sizes[w.files[len(w.files)-1]] = w.size
	w.trim()
	return err
}

// next begins a new file.
func (w *Writer) next() error {
	var number uint64 = 1
	if len(w.files) > 0 {
		number = w.files[len(w.files)-1] + 1
	}
	f, err := os.OpenFile(fileName(w.dir, number), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if w.out != nil {
		_ = w.out.Close()
	}
	w.out, w.size = f, 0
	w.files = append(w.files, number)
	return nil
}

// trim deletes the oldest files beyond the bound, never the current one.
func (w *Writer) trim() {
	for w.total > w.bound && len(w.files) > 1 {
		_ = os.Remove(fileName(w.dir, w.files[0]))
		w.total -= w.sizes[w.files[0]]
		delete(w.sizes, w.files[0])
		w.files = w.files[1:]
	}
}

func fileName(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%010d%s", number, suffix))
}

// list gives the numbers of the files there are, ascending.
func list(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []uint64
	for _, e := range entries {
		if n, err := strconv.ParseUint(strings.TrimSuffix(e.Name(), suffix), 10, 64); err == nil {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out, nil
}
