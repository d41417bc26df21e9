package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gogoproto "github.com/cosmos/gogoproto/proto"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/moorage-dev/moorage/market/chain/app"
)

// patience bounds the waiting for something that takes some blocks.
const patience = time.Minute

// shell runs commands of the program with one home.
type shell struct {
	t    *testing.T
	home string
	at   string
}

func (s shell) try(args ...string) (string, error) {
	var out, errs bytes.Buffer
	err := run(s.t.Context(), append(args, "--home", s.home), strings.NewReader(""), &out, &errs)
	return out.String(), err
}

func (s shell) do(args ...string) string {
	s.t.Helper()
	out, err := s.try(args...)
	require.NoError(s.t, err, strings.Join(args, " "))
	return out
}

// into runs a command with --json and reads what it prints.
func (s shell) into(v any, args ...string) {
	s.t.Helper()
	out := s.do(append(args, "--json")...)
	require.NoError(s.t, json.Unmarshal([]byte(out), v), out)
}

// send sends a message from the faucet and waits until a block has it.
func (s shell) send(args ...string) {
	s.t.Helper()
	var sent struct {
		TxHash string `json:"txhash"`
		Code   int
		RawLog string `json:"raw_log"`
	}
	s.into(&sent, append(append([]string{"tx"}, args...), "--from", "faucet", "--yes", "--grpc-addr", s.at)...)
	require.Zero(s.t, sent.Code, sent.RawLog)
	require.Eventually(s.t, func() bool {
		out, err := s.try("query", "tx", sent.TxHash, "--json", "--grpc-addr", s.at)
		if err != nil {
			return false
		}
		require.NoError(s.t, json.Unmarshal([]byte(out), &sent))
		return true
	}, patience, 50*time.Millisecond)
	require.Zero(s.t, sent.Code, sent.RawLog)
}

// background runs a command that ends with its context, and returns its first
// line that begins with a prefix.
func (s shell) background(prefix string, args ...string) (line string, stop func()) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, append(args, "--home", s.home), strings.NewReader(""), w, io.Discard)
		_ = w.Close()
	}()
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), prefix) {
			line = lines.Text()
			break
		}
	}
	rest := make(chan string, 1)
	go func() { // ends with the command
		all, _ := io.ReadAll(r)
		rest <- string(all)
	}()
	require.NotEmpty(s.t, line, "no line %q", prefix)
	return line, func() {
		s.t.Helper()
		cancel()
		require.NoError(s.t, <-ended)
		assert.Contains(s.t, <-rest+"stopped", "stopped")
	}
}

func find(root *cobra.Command, path ...string) *cobra.Command {
	cmd, rest, err := root.Find(path)
	if err != nil || len(rest) > 0 {
		return nil
	}
	return cmd
}

func kebab(name protoreflect.Name) string {
	var b strings.Builder
	for i, r := range string(name) {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte('-')
		}
		b.WriteRune(r)
	}
	return strings.ToLower(b.String())
}

func TestEveryMessageAndQueryHasACommand(t *testing.T) {
	require.NoError(t, app.ConfigureAddresses(app.DefaultAddressPrefix))
	root, err := command(strings.NewReader(""), io.Discard, io.Discard)
	require.NoError(t, err)
	for service, parent := range map[protoreflect.FullName]string{"moorage.market.v1.Msg": "tx", "moorage.market.v1.Query": "query"} {
		found, err := gogoproto.HybridResolver.FindDescriptorByName(service)
		require.NoError(t, err)
		methods := found.(protoreflect.ServiceDescriptor).Methods()
		for i := range methods.Len() {
			name := methods.Get(i).Name()
			cmd := find(root, parent, "market", kebab(name))
			if assert.NotNil(t, cmd, "%s %s", parent, name) {
				assert.NotContains(t, cmd.Short, "RPC method", "%s says nothing to people", cmd.CommandPath())
				assert.NotEqual(t, parent, cmd.Name())
			}
		}
	}
	for _, path := range []string{
		"tx bank send", "tx staking delegate", "tx gov vote", "tx ibc-transfer transfer", "query bank balances", "query staking validators",
		"query ibc client params", "query authz grants", "query feegrant grants-by-grantee", "query upgrade plan", "tx feegrant grant", "tx authz exec",
	} {
		assert.NotNil(t, find(root, strings.Fields(path)...), path)
	}
}

const group = `{"name":"web","units":[{"resources":{"id":1,"cpu":{"milli_cores":100},"memory":{"bytes":67108864}},` +
	`"count":1,"price":{"denom":"uakt","amount_per_block":"1.5"}}]}`

func TestALocalnetIsDrivenFromTheCommandLine(t *testing.T) {
	s := shell{t: t, home: t.TempDir()}
	line, stop := s.background("{", "localnet", "--validators", "3", "--grpc", "127.0.0.1:0", "--block-time", "100ms", "--denoms", "uakt,uusd", "--json")
	var net struct{ GRPC, Faucet string }
	require.NoError(t, json.Unmarshal([]byte(line), &net))
	s.at = net.GRPC

	var other struct{ Address string }
	s.into(&other, "keys", "add", "other")
	s.send("bank", "send", "faucet", other.Address, "777uakt")
	var money struct {
		Balances []struct{ Denom, Amount string }
	}
	s.into(&money, "query", "market", "balances", other.Address, "--grpc-addr", s.at)
	require.Len(t, money.Balances, 1)
	assert.Equal(t, "777", money.Balances[0].Amount)

	s.send("bank", "send", "faucet", other.Address, "1uusd")
	out := s.do("query", "market", "params", "--grpc-addr", s.at)
	assert.Contains(t, out, "denom: uusd")
	assert.NotContains(t, out, "denom: uact")
	s.send("market", "create-provider", "https://p.example")
	s.send("market", "create-deployment", "7", "--groups", group, "--deposit", "500000uakt", "--hash", "AQ"+strings.Repeat("A", 41)+"=")
	var deployment struct{ Deployment struct{ State string } }
	s.into(&deployment, "query", "market", "deployment", net.Faucet, "7", "--grpc-addr", s.at)
	assert.Contains(t, deployment.Deployment.State, "ACTIVE")
	out = s.do("query", "market", "orders", "--owner", net.Faucet, "--state", "open", "--grpc-addr", s.at)
	assert.Contains(t, out, "gseq: 1", "people get YAML")

	out = s.do("grant", "close", other.Address, "7", "--from", "faucet", "--for", "1h", "--node", s.at)
	assert.Contains(t, out, "in block")
	out = s.do("query", "authz", "grants", net.Faucet, other.Address, "--grpc-addr", s.at)
	assert.Contains(t, out, "DeploymentAuthorization")
	s.do("revoke", "close", other.Address, "--from", "faucet", "--node", s.at)
	_, err := s.try("grant", "rule", other.Address, "7", "--from", "faucet", "--node", s.at)
	require.ErrorContains(t, err, "want one of")
	_, err = s.try("grant", "scale", other.Address, "7", "--from", "faucet", "--count", "nonsense", "--node", s.at)
	require.ErrorContains(t, err, "GROUP/UNIT=MIN..MAX")

	s.send("market", "close-deployment", "7")
	var status struct {
		ChainID string `json:"chain_id"`
	}
	s.into(&status, "status", "--node", s.at)
	assert.Equal(t, "localnet-1", status.ChainID)
	out = s.do("query", "staking", "validators", "--grpc-addr", s.at)
	assert.Equal(t, 3, strings.Count(out, "moniker:"))
	stop()
	entries, err := filepath.Glob(filepath.Join(s.home, "localnet"))
	require.NoError(t, err)
	assert.Empty(t, entries, "without --keep nothing is left")
}

func TestAHomeIsMadeRunCheckedAndExported(t *testing.T) {
	s := shell{t: t, home: t.TempDir()}
	var alice struct{ Address string }
	s.into(&alice, "keys", "add", "alice")
	var made struct{ Genesis string }
	s.into(&made, "init", "--chain-id", "made-1", "--account", alice.Address+"=5uakt", "--denoms", "uakt")
	assert.Contains(t, s.do("genesis"), `"chain_id": "made-1"`)
	_, err := s.try("export")
	require.ErrorContains(t, err, "no block")
	_, stop := s.background("peers name it", "start", "--grpc", "127.0.0.1:0", "--block-time", "50ms", "--check-every", "1")
	_, err = s.try("check")
	require.ErrorContains(t, err, "in use")
	stop()
	assert.Contains(t, s.do("check"), "every invariant holds")
	out := s.do("export", "--chain-id", "made-2")
	assert.Contains(t, out, `"chain_id": "made-2"`)
	exported := filepath.Join(t.TempDir(), "genesis.json")
	require.NoError(t, os.WriteFile(exported, []byte(out), 0o600))
	second := shell{t: t, home: t.TempDir()}
	assert.Contains(t, second.do("join", exported), "chain made-2")
	_, err = s.try("join", exported)
	require.ErrorContains(t, err, "choose another home")
	_, err = shell{t: t, home: t.TempDir()}.try("start")
	require.ErrorContains(t, err, "node init")
}

func TestMistakesAreExplained(t *testing.T) {
	s := shell{t: t, home: t.TempDir()}
	_, err := s.try("init", "--account", "nonsense")
	require.ErrorContains(t, err, "want ADDRESS=COINS")
	_, err = s.try("localnet", "--validators", "0")
	require.ErrorContains(t, err, "want 1 to")
	_, err = s.try("status", "--node", "127.0.0.1:1")
	require.ErrorContains(t, err, "is a node running")
	_, err = s.try("tx", "market", "close-deployment", "7", "--from", "nobody", "--grpc-addr", "127.0.0.1:1")
	require.ErrorContains(t, err, "is a node running")
	_, err = s.try("start", "--sync-from", "127.0.0.1:1")
	require.Error(t, err)
	assert.Contains(t, s.do("tx", "market", "scale-lease", "--help"), "--max-price")
	assert.Contains(t, s.do("completion", "bash"), "bash completion")
	var completed bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"__complete", "tx", "market", "scale"}, strings.NewReader(""), &completed, io.Discard))
	assert.Contains(t, completed.String(), "scale-lease")
	assert.Equal(t, "x", prefixIn([]string{"--prefix", "x"})+prefixIn([]string{"--prefix="}))
	assert.Equal(t, app.DefaultAddressPrefix, prefixIn(nil))
	assert.Equal(t, fmt.Sprint([]string{"deposit", "scale", "update", "close"}), fmt.Sprint(roleNames()))
}
