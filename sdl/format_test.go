package sdl_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/sdl"
)

func TestFormatLaysOut(t *testing.T) {
	src := `

# top
version:   "2.0"   # why


services:
    # about web
    web:
        image:    nginx
        expose:
        -   port:   80
            to:
            - global: true
            # at the end of to
        args:
        - |
          set -e
            deeper

          last
        env: [ A=b,
          C=d ]
    # between
    db:
        image: "a
          b"
profiles:
    compute: {}
`
	want := `# top
version: "2.0"   # why

services:
  # about web
  web:
    image: nginx
    expose:
      - port: 80
        to:
          - global: true
          # at the end of to
    args:
      - |
        set -e
          deeper

        last
    env: [ A=b,
      C=d ]
  # between
  db:
    image: "a
      b"
profiles:
  compute: {}
`
	got, err := sdl.Format([]byte(src))
	require.NoError(t, err)
	assert.Equal(t, want, string(got))
	again, err := sdl.Format(got)
	require.NoError(t, err)
	assert.Equal(t, want, string(again))
}

// comments lists the lines that are comments, without their indent.
func comments(src []byte) []string {
	var out []string
	for line := range strings.SplitSeq(string(src), "\n") {
		if m := regexp.MustCompile(`(^|\s)(#.*?)\s*$`).FindStringSubmatch(line); m != nil {
			out = append(out, m[2])
		}
	}
	return out
}

func TestFormatKeepsMeaningAndComments(t *testing.T) {
	check := func(t *testing.T, src []byte) {
		t.Helper()
		out, err := sdl.Format(src)
		if err != nil {
			_, err := sdl.Compile(src, sdl.Options{})
			require.Error(t, err)
			return
		}
		again, err := sdl.Format(out)
		require.NoError(t, err)
		assert.Equal(t, string(out), string(again), "formatting twice changes something")
		assert.Equal(t, comments(src), comments(out))
		before, errBefore := sdl.Compile(src, sdl.Options{})
		after, errAfter := sdl.Compile(out, sdl.Options{})
		require.Equal(t, errBefore == nil, errAfter == nil)
		if errBefore == nil {
			assert.Equal(t, before.Hash, after.Hash)
			assert.Equal(t, before.Groups, after.Groups)
		} else {
			assert.Equal(t, rulesOf(errBefore), rulesOf(errAfter))
		}
	}
	eachDocument(t, func(t *testing.T, _ string, src []byte, _ reference) { t.Helper(); check(t, src) })
	eachGolden(t, func(t *testing.T, _ string, src []byte) { t.Helper(); check(t, src) })
}

// rulesOf lists path and rule of each problem.
func rulesOf(err error) []string {
	var out []string
	for _, d := range sdl.AsDiagnostics(err) {
		out = append(out, d.Path+" "+string(d.Rule))
	}
	return out
}

func TestFormatRefusesWhatIsNoYAML(t *testing.T) {
	_, err := sdl.Format([]byte("a: b: c\n"))
	require.Error(t, err)
	assert.Equal(t, sdl.Rule("yaml-syntax"), sdl.AsDiagnostics(err)[0].Rule)
}

func TestFormatIndentsJSON(t *testing.T) {
	out, err := sdl.Format([]byte(`{"version":"2.0","services":{}}`))
	require.NoError(t, err)
	assert.Equal(t, "{\n  \"version\": \"2.0\",\n  \"services\": {}\n}\n", string(out))
}
