package keys_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/keys"
)

func TestAKeyringKeepsKeys(t *testing.T) {
	dir := t.TempDir()
	ring, err := keys.Open(dir, keys.Test, nil)
	require.NoError(t, err)
	made, words, err := ring.Create("alice")
	require.NoError(t, err)
	assert.Len(t, strings.Fields(words), 24)
	_, _, err = ring.Create("alice")
	require.ErrorIs(t, err, market.ErrExists)

	again, err := keys.Open(dir, keys.Test, nil)
	require.NoError(t, err)
	loaded, err := again.Load("alice")
	require.NoError(t, err)
	assert.Equal(t, made.Address(), loaded.Address())
	message := []byte("a message")
	signature, err := loaded.Sign(message)
	require.NoError(t, err)
	assert.True(t, made.PublicKey().VerifySignature(message, signature))
	assert.False(t, made.PublicKey().VerifySignature([]byte("another"), signature))

	imported, err := again.Import("copy", words)
	if err == nil {
		assert.Equal(t, made.Address(), imported.Address())
	} else {
		assert.NotContains(t, err.Error(), strings.Fields(words)[0], "secrets are not in errors")
	}
	wallet, err := keys.FromMnemonic("wallet", words)
	require.NoError(t, err)
	assert.Equal(t, made.Address(), wallet.Address())

	require.NoError(t, again.Delete("alice"))
	_, err = again.Load("alice")
	require.ErrorIs(t, err, market.ErrNotFound)
	require.ErrorIs(t, again.Delete("alice"), market.ErrNotFound)
}

func TestAKeyIsMadeOnceAndThenLoaded(t *testing.T) {
	ring, err := keys.Open(t.TempDir(), keys.Test, nil)
	require.NoError(t, err)
	first, words, err := ring.LoadOrCreate("provider")
	require.NoError(t, err)
	assert.NotEmpty(t, words)
	second, words, err := ring.LoadOrCreate("provider")
	require.NoError(t, err)
	assert.Empty(t, words)
	assert.Equal(t, first.Address(), second.Address())
	_, _, err = ring.LoadOrCreate("another")
	require.NoError(t, err)
	list, err := ring.List()
	require.NoError(t, err)
	require.Len(t, list, 2)
	assert.Equal(t, "another", list[0].Name())
}

func TestTheFileBackendEncryptsKeys(t *testing.T) {
	dir := t.TempDir()
	ring, err := keys.Open(dir, keys.File, strings.NewReader("correct horse\ncorrect horse\n"))
	require.NoError(t, err)
	made, _, err := ring.Create("alice")
	require.NoError(t, err)
	again, err := keys.Open(dir, keys.File, strings.NewReader("correct horse\n"))
	require.NoError(t, err)
	loaded, err := again.Load("alice")
	require.NoError(t, err)
	assert.Equal(t, made.Address(), loaded.Address())
	wrong, err := keys.Open(dir, keys.File, strings.NewReader("wrong\nagain\nstill\n"))
	require.NoError(t, err)
	_, err = wrong.Load("alice")
	require.Error(t, err)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.NotEmpty(t, entries)
}

func TestWhatIsNoKeyIsRefused(t *testing.T) {
	_, err := keys.Open(t.TempDir(), "cloud", nil)
	require.ErrorIs(t, err, market.ErrInvalid)
	ring, err := keys.Open(t.TempDir(), keys.Memory, nil)
	require.NoError(t, err)
	_, _, err = ring.Create("")
	require.ErrorIs(t, err, market.ErrInvalid)
	_, err = ring.Import("x", "not the words of a wallet")
	require.Error(t, err)
	_, err = keys.FromMnemonic("x", "secret words")
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "secret")
}

func TestKeysInMemoryDiffer(t *testing.T) {
	assert.NotEqual(t, keys.New("a").Address(), keys.New("a").Address())
	assert.Equal(t, keys.FromSeed("a", "x").Address(), keys.FromSeed("b", "x").Address())
	assert.NotContains(t, fmt.Sprint(keys.FromSeed("a", "topsecret")), "topsecret")
}

func ExampleFromSeed() {
	k := keys.FromSeed("alice", "for demonstrations only")
	signature, err := k.Sign([]byte("hello"))
	fmt.Println(k.Name(), k.PublicKey().VerifySignature([]byte("hello"), signature), err)
	// Output: alice true <nil>
}
