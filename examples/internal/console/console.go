// Package console prints the progress of the example programs for people:
// one line per step, with the time since the start and the block height.
// Colours are used on terminals only, and not when NO_COLOR is set.
package console

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"golang.org/x/term"
)

// Console prints lines. It is safe for concurrent use.
type Console struct {
	start  time.Time
	height atomic.Int64

	mu    sync.Mutex // guards w
	w     io.Writer
	color bool
}

// New prints to w. The clock of the lines starts now.
func New(w io.Writer) *Console {
	f, ok := w.(*os.File)
	color := ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == ""
	return &Console{start: time.Now(), w: w, color: color}
}

// SetHeight sets the block height that lines show from now on.
func (c *Console) SetHeight(h int64) { c.height.Store(h) }

// Elapsed is the time since the start.
func (c *Console) Elapsed() time.Duration { return time.Since(c.start) }

// Step prints that something was done. The topic is one word.
func (c *Console) Step(topic, format string, args ...any) {
	c.line("✓", "32", topic, fmt.Sprintf(format, args...))
}

// Info prints something that is going on.
func (c *Console) Info(topic, format string, args ...any) {
	c.line("·", "2", topic, fmt.Sprintf(format, args...))
}

// Fail prints something that went wrong.
func (c *Console) Fail(topic, format string, args ...any) {
	c.line("✗", "31", topic, fmt.Sprintf(format, args...))
}

func (c *Console) line(mark, color, topic, text string) {
	at := fmt.Sprintf("%6.1fs", time.Since(c.start).Seconds())
	height := ""
	if h := c.height.Load(); h > 0 {
		height = fmt.Sprintf("#%d", h)
	}
	text = strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n"+strings.Repeat(" ", 29))
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(c.w, "%s %s %s %s %s\n", c.paint("2", at), c.paint("36", fmt.Sprintf("%6s", height)),
		c.paint(color, mark), c.paint("1", fmt.Sprintf("%-11s", topic)), text)
}

func (c *Console) paint(code, s string) string {
	if !c.color || code == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// Print prints text as it is, with a newline.
func (c *Console) Print(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(c.w, format+"\n", args...)
}

// Title prints a headline.
func (c *Console) Title(format string, args ...any) {
	c.Print("\n%s", c.paint("1", fmt.Sprintf(format, args...)))
}

// Table prints rows in aligned columns; cells are divided by tabs.
func (c *Console) Table(rows ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var text strings.Builder
	tw := tabwriter.NewWriter(&text, 0, 4, 3, ' ', 0)
	for _, r := range rows {
		fmt.Fprintf(tw, "  %s\n", r)
	}
	tw.Flush() //nolint:errcheck // a strings.Builder does not fail
	for line := range strings.Lines(text.String()) {
		fmt.Fprintln(c.w, strings.TrimRight(line, " \n"))
	}
}
