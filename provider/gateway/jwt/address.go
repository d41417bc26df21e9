package jwt

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"golang.org/x/crypto/ripemd160" //nolint:gosec,staticcheck // addresses are defined with it

	"github.com/moorage-dev/moorage/market"
)

// signatureSize is r and s.
const signatureSize = 64

// recoveryCodes are the public keys that a signature can belong to: two, and two
// more in a case so rare that nobody has seen it.
const recoveryCodes = 4

// compactBase is where the recovery code is counted from in the compact form of a
// signature for a compressed key.
const compactBase = 27 + 4

// signedBy reports whether the signature over the SHA-256 of the message was made
// with the key that the address is the hash of. Signatures with s in the upper half
// are refused, as by the chain.
func signedBy(addr market.Address, message, signature []byte) bool {
	_, want, ok := decodeBech32(string(addr))
	if !ok || len(want) != ripemd160.Size || len(signature) != signatureSize {
		return false
	}
	var s secp256k1.ModNScalar
	if s.SetByteSlice(signature[32:]) || s.IsOverHalfOrder() {
		return false
	}
	digest := sha256.Sum256(message)
	for code := range byte(recoveryCodes) {
		compact := append([]byte{compactBase + code}, signature...)
		key, _, err := ecdsa.RecoverCompact(compact, digest[:])
		if err == nil && bytes.Equal(keyHash(key.SerializeCompressed()), want) {
			return true
		}
	}
	return false
}

// keyHash is the address of a compressed secp256k1 key: RIPEMD-160 of SHA-256.
func keyHash(compressed []byte) []byte {
	sum := sha256.Sum256(compressed)
	h := ripemd160.New()
	_, _ = h.Write(sum[:]) // hashes do not fail
	return h.Sum(nil)
}

// Address returns the bech32 address of a compressed secp256k1 public key, with a
// prefix as "akash". The error wraps [market.ErrInvalid].
func Address(prefix string, compressed []byte) (market.Address, error) {
	if _, err := secp256k1.ParsePubKey(compressed); err != nil || len(compressed) != secp256k1.PubKeyBytesLenCompressed {
		return "", fmt.Errorf("jwt: public key: %w: want a compressed secp256k1 key", market.ErrInvalid)
	}
	if prefix == "" || strings.ToLower(prefix) != prefix || len(prefix) > maxPrefix {
		return "", fmt.Errorf("jwt: prefix %.20q: %w: want 1 to %d lower-case letters", prefix, market.ErrInvalid, maxPrefix)
	}
	return market.Address(encodeBech32(prefix, keyHash(compressed))), nil
}
