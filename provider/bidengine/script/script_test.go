package script_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/bidengine"
	"github.com/moorage-dev/moorage/provider/bidengine/script"
	"github.com/moorage-dev/moorage/provider/providertest"
)

// program writes a shell program and returns its path.
func program(tb testing.TB, text string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "price")
	require.NoError(tb, os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700))
	return path
}

func pricer(tb testing.TB, text string, change func(*script.Config)) *script.Script {
	tb.Helper()
	cfg := script.Config{Path: program(tb, text), Env: []string{"PATH=/usr/bin:/bin"}}
	if change != nil {
		change(&cfg)
	}
	s, err := script.New(cfg)
	require.NoError(tb, err)
	return s
}

func request() bidengine.Request {
	gpu := inventory.GPU{ID: "0", Vendor: "nvidia", Model: "a100", MemoryBytes: 80 << 30}
	r := bidengine.Request{Denom: "uact", Ceiling: market.NewDecimal(500), Placement: inventory.Placement{
		Assignments: []inventory.Assignment{{Unit: 1, Node: "n", Resources: inventory.Quantities{GPUs: []inventory.GPU{gpu}}}},
	}}
	r.Order.ID.Owner = "tenant"
	r.Order.Spec = market.GroupSpec{Name: "g", Units: []market.ResourceUnit{{
		Resources: market.Resources{ID: 1, CPU: market.CPU{MilliCores: 1500}, Endpoints: []market.Endpoint{
			{Kind: market.EndpointSharedHTTP},
			{Kind: market.EndpointRandomPort}, {Kind: market.EndpointLeasedIP, SequenceNumber: 1},
			{Kind: market.EndpointRandomPort}, {Kind: market.EndpointLeasedIP, SequenceNumber: 1},
		}},
		Count: 2,
	}}}
	return r
}

func TestTheProgramReadsTheOrderAndAnswersThePrice(t *testing.T) {
	s := pricer(t, `q=$(cat)
case "$q" in *'"tenant":"tenant"'*'"denom":"uact"'*'"ceiling":"500"'*'"milli_cores":1500'*'"model":"a100"'*'"leased_ips":1'*'"endpoints":1'*) echo 12.345678901234567891 ;; *) echo "$q" >&2; exit 3 ;; esac`, nil)
	price, err := s.Price(t.Context(), request())
	require.NoError(t, err)
	assert.Equal(t, "12.345678901234567891", price.String())
}

func TestAnExitCodeIsARefusalWithItsReason(t *testing.T) {
	_, err := pricer(t, `echo "not on Sundays" >&2; echo more >&2; exit 3`, nil).Price(t.Context(), request())
	var refusal *bidengine.RefusalError
	require.ErrorAs(t, err, &refusal)
	assert.Equal(t, script.Refused, refusal.Reason.Code)
	assert.Equal(t, "exit code 3: not on Sundays", refusal.Reason.Detail)
}

func TestAnAnswerThatIsNoPriceIsAnError(t *testing.T) {
	for _, answer := range []string{"echo cheap", "true", "echo -1", "echo 1 2", "yes 1"} {
		_, err := pricer(t, answer+" | head -c 100000", nil).Price(t.Context(), request())
		require.Error(t, err, answer)
	}
}

func TestTheProgramSeesNothingOfTheProvidersEnvironment(t *testing.T) {
	t.Setenv("SECRET", "hunter2")
	price, err := pricer(t, `[ -z "$SECRET" ] && echo 1`, nil).Price(t.Context(), request())
	require.NoError(t, err)
	assert.Equal(t, "1", price.String())
}

func TestWhenTheTimeIsUpTheProgramDiesWithItsChildren(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	s := pricer(t, "sleep 600 & echo $! > "+pid+"; wait", func(c *script.Config) { c.Timeout = 300 * time.Millisecond })
	_, err := s.Price(t.Context(), request())
	require.ErrorIs(t, err, context.DeadlineExceeded)
	text, err := os.ReadFile(pid)
	require.NoError(t, err)
	child, err := strconv.Atoi(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return gone(child) }, 10*time.Second, 10*time.Millisecond)
}

// gone reports whether a process has ended, a zombie included.
func gone(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return true
	}
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

func TestNoMoreProgramsRunThanAllowed(t *testing.T) {
	dir := t.TempDir()
	// Each makes a folder that only one can make at a time.
	s := pricer(t, "mkdir "+dir+"/one || exit 9; sleep 0.02; rmdir "+dir+"/one; echo 1", func(c *script.Config) { c.Limit = 1 })
	faults := make(chan error, 8)
	for range cap(faults) {
		go func() {
			_, err := s.Price(t.Context(), request())
			faults <- err
		}()
	}
	for range cap(faults) {
		require.NoError(t, <-faults)
	}
}

func TestFaultsOfTheConfigurationAreNamed(t *testing.T) {
	for _, c := range []script.Config{{}, {Path: "price"}, {Path: "/p", Limit: -1}, {Path: "/p", Timeout: -1}} {
		_, err := script.New(c)
		require.ErrorIs(t, err, market.ErrInvalid)
	}
	s, err := script.New(script.Config{Path: "/does/not/exist"})
	require.NoError(t, err)
	_, err = s.Price(t.Context(), request())
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestItIsAStrategyAsTheSuiteWantsIt(t *testing.T) {
	h := providertest.Harness{Pricer: pricer(t, "echo 10", nil)}
	for _, c := range providertest.Cases() {
		if strings.HasPrefix(c.Name, "price") {
			require.NoError(t, h.Check(t, c), c.Name)
		}
	}
}
