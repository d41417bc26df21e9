package linelog_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moorage-dev/moorage/cluster/runtime/runc/internal/linelog"
)

func drain(t require.TestingT, r *linelog.Reader) (out []string) {
	for {
		l, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err)
		out = append(out, l.Text)
	}
}

func TestLinesComeBackWithStreamAndTime(t *testing.T) {
	dir := t.TempDir()
	w, err := linelog.NewWriter(dir, 1<<20)
	require.NoError(t, err)
	require.NoError(t, w.Pump(strings.NewReader("one\r\ntwo\n\nlast without newline"), false))
	require.NoError(t, w.Pump(strings.NewReader("oops\n"), true))
	r, err := linelog.NewReader(dir, -1)
	require.NoError(t, err)
	l, err := r.Next()
	require.NoError(t, err)
	require.Equal(t, "one", l.Text)
	require.False(t, l.Stderr)
	require.False(t, l.Time.IsZero())
	require.Equal(t, []string{"two", "", "last without newline", "oops"}, drain(t, r))
	require.NoError(t, w.Note("later"))
	l, err = r.Next()
	require.NoError(t, err)
	require.Equal(t, "later", l.Text)
	require.True(t, l.Stderr)
	tail, err := linelog.NewReader(dir, 2)
	require.NoError(t, err)
	require.Equal(t, []string{"oops", "later"}, drain(t, tail))
}

func TestKeptLogsStayWithinTheirBoundAndKeepTheNewest(t *testing.T) {
	dir := t.TempDir()
	const bound = 128 << 10
	w, err := linelog.NewWriter(dir, bound)
	require.NoError(t, err)
	for i := range 200 {
		require.NoError(t, w.Pump(strings.NewReader(fmt.Sprintf("%d %s\n", i, strings.Repeat("x", 3000))), false))
		var total int64
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		require.NoError(t, err)
		for _, f := range files {
			info, err := os.Stat(f)
			require.NoError(t, err)
			total += info.Size()
		}
		require.LessOrEqual(t, total, int64(bound))
	}
	r, err := linelog.NewReader(dir, -1)
	require.NoError(t, err)
	lines := drain(t, r)
	require.True(t, strings.HasPrefix(lines[len(lines)-1], "199 "))
	require.Greater(t, len(lines), 25, "most of the bound is used")
}

func TestALineOverTheBoundIsCut(t *testing.T) {
	dir := t.TempDir()
	w, err := linelog.NewWriter(dir, 1<<20)
	require.NoError(t, err)
	long := strings.Repeat("y", 3*linelog.MaxLine+5)
	require.NoError(t, w.Pump(strings.NewReader(long+"\n"), false))
	r, err := linelog.NewReader(dir, -1)
	require.NoError(t, err)
	lines := drain(t, r)
	for _, l := range lines {
		require.LessOrEqual(t, len(l), linelog.MaxLine)
	}
	require.Equal(t, long, strings.Join(lines, ""))
}

func TestAFollowerMissesNothingThatIsStillKept(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		require.NoError(rt, err)
		w, err := linelog.NewWriter(dir, 256<<10)
		require.NoError(rt, err)
		r, err := linelog.NewReader(dir, -1)
		require.NoError(rt, err)
		n, want, got := 0, []string{}, []string{}
		for range rapid.IntRange(1, 30).Draw(rt, "rounds") {
			// At most half the bound between two reads, so nothing is dropped unread.
			for range rapid.IntRange(0, 20).Draw(rt, "lines") {
				line := fmt.Sprintf("%d:%s", n, strings.Repeat("z", rapid.IntRange(0, 5000).Draw(rt, "length")))
				require.NoError(rt, w.Pump(strings.NewReader(line+"\n"), false))
				want = append(want, line)
				n++
			}
			got = append(got, drain(rt, r)...)
		}
		require.Equal(rt, len(want), len(got))
		for i := range want {
			require.Equal(rt, want[i], got[i])
		}
	})
}
