package linelog

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"strconv"
	"time"
)

// Line is one line.
type Line struct {
	Time   time.Time
	Stderr bool
	Text   string
}

// Reader reads lines in order while a [Writer] in another process adds more.
// Not safe for concurrent use.
type Reader struct {
	dir     string
	number  uint64 // of the file being read
	file    *os.File
	in      *bufio.Reader
	partial []byte // of a line that is not all written yet
	skip    int
}

// NewReader begins so that tail lines are left, or all if negative.
func NewReader(dir string, tail int) (*Reader, error) {
	r := &Reader{dir: dir, in: bufio.NewReaderSize(nil, 2*MaxLine)}
	if tail < 0 {
		return r, nil
	}
	total, err := count(dir)
	if err != nil {
		return nil, err
	}
	r.skip = max(0, total-tail)
	return r, nil
}

// Next gives the next line, or io.EOF when there is none at present; more may
// come later.
func (r *Reader) Next() (Line, error) {
	for {
		raw, err := r.raw()
		if err != nil {
			return Line{}, err
		}
		if r.skip > 0 {
			r.skip--
			continue
		}
		if line, ok := parse(raw); ok {
			return line, nil
		}
	}
}

// Close releases the open file.
func (r *Reader) Close() error {
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

func (r *Reader) raw() ([]byte, error) {
	for {
		if r.file == nil {
			if err := r.advance(); err != nil {
				return nil, err
			}
		}
		if line, ok := r.readLine(); ok {
			return line, nil
		}
		files, err := list(r.dir)
		if err != nil {
			return nil, gone(err)
		}
		if len(files) == 0 || files[len(files)-1] <= r.number {
			return nil, io.EOF
		}
		// A later file exists, so this one grows no more: what came since the last
		// look is read before moving on.
		if line, ok := r.readLine(); ok {
			return line, nil
		}
		if err := r.advance(); err != nil {
			return nil, err
		}
	}
}

func (r *Reader) readLine() ([]byte, bool) {
	chunk, err := r.in.ReadBytes('\n')
	r.partial = append(r.partial, chunk...)
	if err != nil {
		r.in.Reset(r.file)
		return nil, false
	}
	line := r.partial
	r.partial = nil
	return line[:len(line)-1], true
}

// advance opens the next file that there is.
func (r *Reader) advance() error {
	files, err := list(r.dir)
	if err != nil {
		return gone(err)
	}
	for _, n := range files {
		if n <= r.number {
			continue
		}
		f, err := os.Open(fileName(r.dir, n))
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted since listed
		}
		if err != nil {
			return err
		}
		if r.file != nil {
			_ = r.file.Close()
		}
		r.file, r.number, r.partial = f, n, nil
		r.in.Reset(f)
		return nil
	}
	return io.EOF
}

// gone makes a folder that is not there an empty one.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return io.EOF
	}
	return err
}

func parse(raw []byte) (Line, bool) {
	stamp, rest, ok := bytes.Cut(raw, []byte(" "))
	nanos, err := strconv.ParseInt(string(stamp), 10, 64)
	if !ok || err != nil || len(rest) < 2 {
		return Line{}, false
	}
	return Line{Time: time.Unix(0, nanos), Stderr: rest[0] == 'e', Text: string(rest[2:])}, true
}

// count counts whole lines.
func count(dir string) (int, error) {
	files, err := list(dir)
	if err != nil {
		return 0, ignoreEOF(gone(err))
	}
	total := 0
	buf := make([]byte, 64<<10)
	for _, n := range files {
		f, err := os.Open(fileName(dir, n))
		if err != nil {
			continue
		}
		for {
			k, err := f.Read(buf)
			total += bytes.Count(buf[:k], []byte("\n"))
			if err != nil {
				break
			}
		}
		_ = f.Close()
	}
	return total, nil
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
