package walkthrough_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// free is a set of flags with which several localnets can run at a time.
func free(args ...string) []string {
	return append([]string{"--http", "127.0.0.1:0", "--block-time", "200ms"}, args...)
}

func TestOneRunGoesFromOrderToABalanceThatAddsUp(t *testing.T) {
	needContainers(t)
	before := traces(t)
	p := start(t, free("--once")...)
	require.Zero(t, p.end(), p.output())
	out := p.output()
	for _, want := range []string{
		"makes blocks", "sells", "pays at most", "provider bids", "accepted by", "1 of 1 ready",
		"Hello from a leased container", "GET / from", "Seccomp:\t2", "NoNewPrivs:\t1", "revision 2 runs",
		"Hello again from a leased container", "its containers are gone", "in all", "MiB resident", "adds up",
	} {
		assert.Contains(t, out, want)
	}
	assert.Equal(t, before, traces(t), "nothing is left on the machine")
}

func TestWhatRunsSurvivesKillAndCtrlC(t *testing.T) {
	needContainers(t)
	home := filepath.Join(t.TempDir(), "home")
	first := start(t, free("--home", home)...)
	first.await(`page +Hello`)
	running := shims(t, home)
	require.Len(t, running, 1)
	first.signal(syscall.SIGKILL)
	first.end()
	require.Equal(t, running, shims(t, home), "the container goes on without its agent")

	second := start(t, free("--home", home)...)
	second.await(`is found again`)
	second.await(`page +Hello`)
	require.Equal(t, running, shims(t, home), "it was not started twice")

	third := start(t, free("--home", home)...)
	assert.Equal(t, 1, third.end())
	assert.Contains(t, third.output(), "another localnet runs on")

	second.signal(syscall.SIGINT)
	require.Zero(t, second.end(), second.output())
	require.Equal(t, running, shims(t, home))

	last := start(t, free("--home", home, "--once")...)
	require.Zero(t, last.end(), last.output())
	assert.Contains(t, last.output(), "adds up")
	assert.Empty(t, shims(t, home))
}

func TestCtrlCEndsATemporaryRunWithItsBalance(t *testing.T) {
	needContainers(t)
	before := traces(t)
	p := start(t, free()...)
	p.await(`following the log`)
	p.signal(syscall.SIGINT)
	require.Zero(t, p.end(), p.output())
	assert.Contains(t, p.output(), "adds up")
	assert.Equal(t, before, traces(t))
}

// document is an SDL text of one web server; the replacements change it.
func document(t *testing.T, replace ...string) string {
	t.Helper()
	const text = `version: "2.0"
services:
  web:
    image: 127.0.0.1:1/nothing:1
    expose:
      - port: 80
        to: [{global: true}]
profiles:
  compute:
    web:
      resources:
        cpu: {units: 0.1}
        memory: {size: 64Mi}
        storage: {size: 64Mi}
  placement:
    dc: {pricing: {web: {denom: uact, amount: 100}}}
deployment:
  web: {dc: {profile: web, count: 1}}
`
	file := filepath.Join(t.TempDir(), "app.yaml")
	require.NoError(t, os.WriteFile(file, []byte(strings.NewReplacer(replace...).Replace(text)), 0o600))
	return file
}

func TestBadInputIsExplainedAndGivenBack(t *testing.T) {
	needContainers(t)
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { assert.NoError(t, busy.Close()) }()
	cases := []struct {
		name string
		args []string
		want []string
	}{
		{"broken document", free("--once", document(t, "64Mi", "64MB")), []string{"app.yaml:13:", "64M or 64Mi"}},
		{"no such file", free("--once", "nothing.yaml"), []string{"no such file"}},
		{"image that does not exist", free("--once", document(t)), []string{"image not available", "deposit is back"}},
		{"nobody can serve it", free("--once", document(t, "size: 64Mi}\n        storage", "size: 1Ti}\n        storage")),
			[]string{"insufficient-memory", "deposit is back"}},
		{"tenant without money", free("--once", "--funds", "1000"), []string{"insufficient funds", "send it money"}},
		{"port in use", []string{"--once", "--http", busy.Addr().String()}, []string{"address already in use", "choose another"}},
		{"unknown runtime", free("--once", "--runtime", "rkt"), []string{"rkt", "want auto, runc or docker"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := start(t, c.args...)
			require.Equal(t, 1, p.end(), p.output())
			for _, want := range c.want {
				assert.Contains(t, p.output(), want)
			}
			assert.NotContains(t, p.output(), "panic")
		})
	}
}
