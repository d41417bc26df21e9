package jwt

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestBech32TakesWhatBIP173CallsValid(t *testing.T) {
	for _, s := range []string{
		"a12uel5l",
		"an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1tt5tgs",
		"abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw",
		"?1ezyfcl",
	} {
		_, _, ok := decodeBech32(s)
		assert.True(t, ok, s)
	}
	for _, s := range []string{
		"", "1", "A12UEL5L", "a12UEL5L", "a12uel5m", "pzry9x0s0muk", "1pzry9x0s0muk", "x1b4n0q5v", "li1dgmt3", "10a06t8", "1qzzfhee",
		"an84characterslonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1569pvx",
	} {
		_, _, ok := decodeBech32(s)
		assert.False(t, ok, s)
	}
}

func TestBech32GoesThereAndBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		prefix := rapid.StringMatching(`[a-z]{1,20}`).Draw(t, "prefix")
		data := rapid.SliceOfN(rapid.Byte(), 0, 32).Draw(t, "data")
		s := encodeBech32(prefix, data)
		gotPrefix, got, ok := decodeBech32(s)
		require.True(t, ok, s)
		require.Equal(t, prefix, gotPrefix)
		require.Equal(t, hex.EncodeToString(data), hex.EncodeToString(got))
		at := rapid.IntRange(len(prefix)+1, len(s)-1).Draw(t, "at")
		other := string(bech32Digits[(strings.IndexByte(bech32Digits, s[at])+1)%32])
		_, _, ok = decodeBech32(s[:at] + other + s[at+1:])
		require.False(t, ok, "one wrong letter is found")
	})
}

func TestKeyHashIsThePublishedOne(t *testing.T) {
	key := secp256k1.PrivKeyFromBytes([]byte{1}).PubKey().SerializeCompressed()
	assert.Equal(t, "751e76e8199196d454941c45d1b3a323f1433bd6", hex.EncodeToString(keyHash(key)), "the key of BIP 173's examples")
}
