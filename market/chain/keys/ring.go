package keys

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/cosmos/cosmos-sdk/codec"
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	cryptocodec "github.com/cosmos/cosmos-sdk/crypto/codec"
	"github.com/cosmos/cosmos-sdk/crypto/hd"
	"github.com/cosmos/cosmos-sdk/crypto/keyring"
	sdkerrors "github.com/cosmos/cosmos-sdk/types/errors"
	"github.com/cosmos/cosmos-sdk/types/tx/signing"

	"github.com/moorage-dev/moorage/market"
)

// Backend says how a keyring keeps its keys.
type Backend string

// Backends.
const (
	// Test keeps keys readable for whoever can read the folder.
	Test Backend = keyring.BackendTest
	// File encrypts keys with a passphrase.
	File Backend = keyring.BackendFile
	// Memory forgets keys with the process.
	Memory Backend = keyring.BackendMemory
)

// service names the keyring's entries.
const service = "moorage"

// Ring is a keyring. It is safe for concurrent use as far as its folder is.
type Ring struct{ ring keyring.Keyring }

// Open opens a keyring in a folder, which is made when missing. Backend File
// reads its passphrase, a line, from passphrase; the others do not read.
func Open(dir string, b Backend, passphrase io.Reader) (*Ring, error) {
	switch b {
	case Test, File, Memory:
	default:
		return nil, fmt.Errorf("keys: backend %q: %w: want test, file or memory", b, market.ErrInvalid)
	}
	registry := codectypes.NewInterfaceRegistry()
	cryptocodec.RegisterInterfaces(registry)
	ring, err := keyring.New(service, string(b), dir, passphrase, codec.NewProtoCodec(registry))
	if err != nil {
		return nil, fmt.Errorf("keys: open %s: %w", dir, err)
	}
	return &Ring{ring}, nil
}

// Keyring returns the SDK's keyring below, for tools of the SDK.
func (r *Ring) Keyring() keyring.Keyring { return r.ring }

// Create makes a new key and returns the words from which it can be made again.
// An error wraps [market.ErrExists] when the name is taken.
func (r *Ring) Create(name string) (k *Key, words string, err error) {
	if err := r.free(name); err != nil {
		return nil, "", err
	}
	_, words, err = r.ring.NewMnemonic(name, keyring.English, path(), keyring.DefaultBIP39Passphrase, hd.Secp256k1)
	if err != nil {
		return nil, "", fmt.Errorf("keys: create %s: %w", name, err)
	}
	k, err = r.Load(name)
	return k, words, err
}

// Import keeps the key of a wallet's words under a name. An error wraps
// [market.ErrExists] when the name is taken.
func (r *Ring) Import(name, words string) (*Key, error) {
	if err := r.free(name); err != nil {
		return nil, err
	}
	_, err := r.ring.NewAccount(name, strings.TrimSpace(words), keyring.DefaultBIP39Passphrase, path(), hd.Secp256k1)
	if err != nil {
		return nil, fmt.Errorf("keys: import %s: these are not the words of a wallet, or the key is here under another name", name) // the cause may quote them
	}
	return r.Load(name)
}

func (r *Ring) free(name string) error {
	if name == "" {
		return fmt.Errorf("keys: %w: a key needs a name", market.ErrInvalid)
	}
	if _, err := r.ring.Key(name); err == nil {
		return fmt.Errorf("keys: %s: %w", name, market.ErrExists)
	}
	return nil
}

// Load returns the key of a name. An error wraps [market.ErrNotFound] when
// there is none.
func (r *Ring) Load(name string) (*Key, error) {
	record, err := r.ring.Key(name)
	if errors.Is(err, sdkerrors.ErrKeyNotFound) {
		return nil, fmt.Errorf("keys: %s: %w: create it, or look at the list of keys", name, market.ErrNotFound)
	} else if err != nil {
		return nil, fmt.Errorf("keys: %s: %w", name, err)
	}
	public, err := record.GetPubKey()
	if err != nil {
		return nil, fmt.Errorf("keys: %s: %w", name, err)
	}
	return &Key{name: name, address: addressOf(public), public: public, sign: func(message []byte) ([]byte, error) {
		signature, _, err := r.ring.Sign(name, message, signing.SignMode_SIGN_MODE_DIRECT)
		return signature, err
	}}, nil
}

// LoadOrCreate returns the key of a name, and makes it when there is none; then
// words are those from which it can be made again, otherwise empty.
func (r *Ring) LoadOrCreate(name string) (k *Key, words string, err error) {
	k, err = r.Load(name)
	if errors.Is(err, market.ErrNotFound) {
		return r.Create(name)
	}
	return k, "", err
}

// List returns all keys, sorted by name.
func (r *Ring) List() ([]*Key, error) {
	records, err := r.ring.List()
	if err != nil {
		return nil, fmt.Errorf("keys: list: %w", err)
	}
	out := make([]*Key, 0, len(records))
	for _, record := range records {
		k, err := r.Load(record.Name)
		if err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	return out, nil
}

// Delete removes a key. An error wraps [market.ErrNotFound] when there is none.
func (r *Ring) Delete(name string) error {
	if _, err := r.Load(name); err != nil {
		return err
	}
	if err := r.ring.Delete(name); err != nil {
		return fmt.Errorf("keys: delete %s: %w", name, err)
	}
	return nil
}
