package node

import "fmt"

// Identity is what a home makes of a node.
type Identity struct {
	// ChainID is that of the home's genesis.
	ChainID string
	// PeerID is by which other nodes know it.
	PeerID string
	// ValidatorKey is the 32-byte ed25519 public key that signs its blocks.
	ValidatorKey []byte
	// Genesis is the path of the genesis document.
	Genesis string
}

// Init makes a home ready without starting the node: keys and genesis, as
// [Node.Run] would. What is there already is kept. The error wraps
// [ErrHomeInUse] while a node runs on the home.
func Init(c Config) (id Identity, err error) {
	if c.Home == "" {
		return Identity{}, fmt.Errorf("node: init: a home folder is needed")
	}
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return Identity{}, err
	}
	h, err := openHome(c.Home)
	if err != nil {
		return Identity{}, err
	}
	defer func() {
		if closed := h.close(); err == nil {
			err = closed
		}
	}()
	key, err := h.validatorKey()
	if err != nil {
		return Identity{}, err
	}
	peer, err := h.loadNodeKey()
	if err != nil {
		return Identity{}, err
	}
	g, err := h.prepareGenesis(c, key)
	if err != nil {
		return Identity{}, err
	}
	return Identity{
		ChainID: g.ChainID, PeerID: string(peer.ID()), ValidatorKey: key.Key.PubKey.Bytes(), Genesis: h.genesis(),
	}, nil
}
