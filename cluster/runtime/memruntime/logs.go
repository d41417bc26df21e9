package memruntime

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/moorage-dev/moorage/cluster/runtime"
)

// lineOverhead is counted for each kept line beside its text.
const lineOverhead = 32

// logBook keeps the newest lines up to a bound.
type logBook struct {
	mu      sync.Mutex
	lines   []runtime.LogLine
	first   int // number of lines[0] since the beginning
	bytes   uint64
	bound   uint64
	closed  bool
	changed chan struct{} // closed and replaced at each change
}

func newLogBook(bound uint64) *logBook {
	return &logBook{bound: bound, changed: make(chan struct{})}
}

func (b *logBook) add(line runtime.LogLine) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, line)
	b.bytes += uint64(len(line.Text)) + lineOverhead
	for b.bytes > b.bound && len(b.lines) > 1 {
		b.bytes -= uint64(len(b.lines[0].Text)) + lineOverhead
		b.lines = b.lines[1:]
		b.first++
	}
	b.signal()
}

func (b *logBook) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.signal()
}

func (b *logBook) signal() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// begin is the number of the first line to show for a tail; negative is all.
func (b *logBook) begin(tail int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if tail < 0 || tail > len(b.lines) {
		return b.first
	}
	return b.first + len(b.lines) - tail
}

// from copies the lines since number n, and says whether more may come.
func (b *logBook) from(n int) (lines []runtime.LogLine, next int, more bool, changed <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n = max(n, b.first)
	lines = append(lines, b.lines[n-b.first:]...)
	return lines, n + len(lines), !b.closed, b.changed
}

// read yields lines until follow has nothing more to wait for.
func (b *logBook) read(ctx context.Context, o runtime.LogOptions, yield func(runtime.LogLine, error) bool) {
	at := b.begin(o.Tail)
	for {
		lines, next, more, changed := b.from(at)
		for _, l := range lines {
			if ctx.Err() != nil || !yield(l, nil) {
				return
			}
		}
		at = next
		if !o.Follow || !more {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// lineWriter cuts a stream into lines.
type lineWriter struct {
	book    *logBook
	stderr  bool
	mu      sync.Mutex
	pending []byte
}

func (b *logBook) writer(stderr bool) *lineWriter { return &lineWriter{book: b, stderr: stderr} }

func (w *lineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending = append(w.pending, p...)
	for {
		i := bytes.IndexByte(w.pending, '\n')
		if i < 0 || i > runtime.MaxLogLine {
			if len(w.pending) <= runtime.MaxLogLine {
				return len(p), nil
			}
			w.emit(runtime.MaxLogLine, runtime.MaxLogLine)
			continue
		}
		w.emit(i, i+1)
	}
}

// Close gives out a last line without newline.
func (w *lineWriter) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.pending) > 0 {
		w.emit(len(w.pending), len(w.pending))
	}
	return nil
}

func (w *lineWriter) emit(text, skip int) {
	w.book.add(runtime.LogLine{Time: time.Now(), Stderr: w.stderr, Text: string(w.pending[:text])})
	w.pending = append(w.pending[:0], w.pending[skip:]...)
}
