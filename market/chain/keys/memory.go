package keys

import (
	"crypto/sha256"
	"fmt"

	"github.com/cosmos/cosmos-sdk/crypto/hd"
	"github.com/cosmos/cosmos-sdk/crypto/keys/secp256k1"
	cryptotypes "github.com/cosmos/cosmos-sdk/crypto/types"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/moorage-dev/moorage/market"
)

// Key signs for one account. It is safe for concurrent use.
type Key struct {
	name    string
	address market.Address
	public  cryptotypes.PubKey
	sign    func([]byte) ([]byte, error)
}

// New makes a random secp256k1 key in memory.
func New(name string) *Key { return fromPrivate(name, secp256k1.GenPrivKey()) }

// FromSeed makes a key in memory that follows from a text, always the same. It
// is for tests and demonstrations: whoever knows the text has the money.
func FromSeed(name, seed string) *Key {
	sum := sha256.Sum256([]byte(seed))
	return fromPrivate(name, secp256k1.GenPrivKeyFromSecret(sum[:]))
}

// FromMnemonic makes a key in memory from the words of a wallet, at the first
// address of the path that Cosmos wallets use (BIP-44, coin type 118).
func FromMnemonic(name, words string) (*Key, error) {
	raw, err := hd.Secp256k1.Derive()(words, "", path())
	if err != nil {
		return nil, fmt.Errorf("keys: %s: these are not the words of a wallet", name) // the cause may quote them
	}
	return fromPrivate(name, hd.Secp256k1.Generate()(raw)), nil
}

// path is where in a wallet the account is.
func path() string { return hd.CreateHDPath(sdk.CoinType, 0, 0).String() }

func fromPrivate(name string, k cryptotypes.PrivKey) *Key {
	return &Key{name: name, address: addressOf(k.PubKey()), public: k.PubKey(), sign: k.Sign}
}

func addressOf(k cryptotypes.PubKey) market.Address {
	return market.Address(sdk.AccAddress(k.Address()).String())
}

// Name returns the key's name, for people.
func (k *Key) Name() string { return k.name }

// Address returns the account's address.
func (k *Key) Address() market.Address { return k.address }

// PublicKey returns the key by which signatures are checked.
func (k *Key) PublicKey() cryptotypes.PubKey { return k.public }

// Sign signs a message.
func (k *Key) Sign(message []byte) ([]byte, error) {
	signature, err := k.sign(message)
	if err != nil {
		return nil, fmt.Errorf("keys: sign with %s: %w", k.name, err)
	}
	return signature, nil
}

// String returns the name and the address.
func (k *Key) String() string { return k.name + " " + string(k.address) }
