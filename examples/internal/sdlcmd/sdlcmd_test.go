package sdlcmd_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/examples/internal/sdlcmd"
)

const good = `version: "2.0"
services:
  web:
    image: nginx
    expose:
      - port: 80
        to:
          - global: true
profiles:
  compute:
    web:
      resources:
        cpu:
          units: 1
        memory:
          size: 1Gi
        storage:
          - size: 1Gi
  placement:
    west:
      pricing:
        web:
          denom: uact
          amount: 1
deployment:
  web:
    west:
      profile: web
      count: 1
`

var (
	bad  = strings.Replace(good, "1Gi", "4GB", 1)
	warn = strings.Replace(good, "image: nginx", "image: nginx\n    restart: always", 1)
)

// run executes the command and returns what it printed.
func run(t *testing.T, stdin string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := sdlcmd.New(strings.NewReader(stdin), &out, &errs)
	cmd.SetArgs(args)
	err = cmd.Execute()
	return out.String(), errs.String(), err
}

func requireExit1(t *testing.T, err error) {
	t.Helper()
	var exit *sdlcmd.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 1, exit.Code)
}

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestValidateSaysOK(t *testing.T) {
	out, _, err := run(t, good, "validate", "-")
	require.NoError(t, err)
	assert.Equal(t, "<stdin>: ok\n", out)
}

func TestValidateReportsWithTheLine(t *testing.T) {
	out, _, err := run(t, bad, "validate", "-")
	requireExit1(t, err)
	assert.Contains(t, out, "<stdin>:16:17: error: profiles.compute.web.resources.memory.size:")
	assert.Contains(t, out, "did you mean 4G or 4Gi?")
	assert.Contains(t, out, "^~~")
}

func TestStrictMakesErrorsOfWarnings(t *testing.T) {
	out, _, err := run(t, warn, "validate", "-")
	require.NoError(t, err)
	assert.Contains(t, out, "warning: services.web.restart")
	_, _, err = run(t, warn, "validate", "--strict", "-")
	requireExit1(t, err)
}

func TestValidateForGitHub(t *testing.T) {
	path := file(t, "deploy.yaml", bad)
	out, _, err := run(t, "", "validate", "--format", "github", path)
	requireExit1(t, err)
	assert.Contains(t, out, "::error file="+path+",line=16,col=17,title=size-syntax::profiles.compute.web.resources.memory.size: not a size")
}

func TestValidateAsJSON(t *testing.T) {
	out, _, err := run(t, bad, "validate", "--format", "json", "-")
	requireExit1(t, err)
	var v struct {
		OK          bool
		Diagnostics []struct {
			Line, Column                     int
			Path, Rule, Severity, Suggestion string
			Allowed                          []string
		}
	}
	require.NoError(t, json.Unmarshal([]byte(out), &v))
	require.Len(t, v.Diagnostics, 1)
	assert.False(t, v.OK)
	assert.Equal(t, 16, v.Diagnostics[0].Line)
	assert.Equal(t, "size-syntax", v.Diagnostics[0].Rule)
	assert.Equal(t, "error", v.Diagnostics[0].Severity)
	assert.Equal(t, "4G or 4Gi", v.Diagnostics[0].Suggestion)
	assert.NotEmpty(t, v.Diagnostics[0].Allowed)
}

func TestValidateRefusesAnUnknownFormat(t *testing.T) {
	_, _, err := run(t, good, "validate", "--format", "xml", "-")
	requireExit1(t, err)
}

func TestCompilePrintsOneObject(t *testing.T) {
	out, _, err := run(t, good, "compile", "-")
	require.NoError(t, err)
	var v map[string]any
	require.NoError(t, json.Unmarshal([]byte(out), &v))
	assert.Equal(t, true, v["ok"])
	assert.Len(t, v["version"], 64)
	assert.Len(t, v["groups"], 1)
	assert.Len(t, v["manifest"], 1)
	assert.Equal(t, []any{}, v["diagnostics"])
}

func TestCompileOfSeveralFilesIsOneObjectALine(t *testing.T) {
	a, b, c := file(t, "a.yaml", good), file(t, "b.yaml", bad), filepath.Join(t.TempDir(), "none.yaml")
	out, _, err := run(t, good, "compile", "--jsonl", a, b, c, "-")
	requireExit1(t, err)
	assert.ErrorIs(t, err, os.ErrNotExist)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, 3)
	var oks []bool
	var versions []string
	for _, line := range lines {
		var v struct {
			OK      bool
			Version string
		}
		require.NoError(t, json.Unmarshal([]byte(line), &v))
		oks, versions = append(oks, v.OK), append(versions, v.Version)
	}
	assert.Equal(t, []bool{true, false, true}, oks)
	assert.Equal(t, versions[0], versions[2])
	assert.Empty(t, versions[1])
}

func TestFormatWritesTheFile(t *testing.T) {
	wide := strings.ReplaceAll(good, ": ", ":   ")
	path := file(t, "a.yaml", wide)
	out, _, err := run(t, "", "fmt", path)
	require.NoError(t, err)
	assert.Equal(t, good, out)
	out, _, err = run(t, "", "fmt", "-w", path)
	require.NoError(t, err)
	assert.Empty(t, out)
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, good, string(got))
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestFormatReportsSyntaxErrors(t *testing.T) {
	out, errs, err := run(t, "a: b: c\n", "fmt", "-")
	requireExit1(t, err)
	assert.Empty(t, out)
	assert.Contains(t, errs, "<stdin>:1:1: error:")
}

func TestSchemaIsJSON(t *testing.T) {
	out, _, err := run(t, "", "schema")
	require.NoError(t, err)
	assert.True(t, json.Valid([]byte(out)))
}

func TestExplain(t *testing.T) {
	out, _, err := run(t, "", "explain", "size-syntax")
	require.NoError(t, err)
	assert.Contains(t, out, "size-syntax (Compute profiles)")
	out, _, err = run(t, "", "explain")
	require.NoError(t, err)
	assert.Contains(t, out, "missing-image")
	_, _, err = run(t, "", "explain", "nonsense")
	requireExit1(t, err)
}
