package node

import (
	"fmt"
	"os"
	"path/filepath"

	dbm "github.com/cosmos/cosmos-db"
	genutiltypes "github.com/cosmos/cosmos-sdk/x/genutil/types"

	"github.com/moorage-dev/moorage/market/chain/app"
)

// MaxValidators bounds [Validators]: each is a whole node.
const MaxValidators = 50

// Validators prepares homes for the validators of one chain, "0", "1" and so on
// below a folder, and returns the configuration of each: c with its home, its
// name, a free port on loopback for the others, and all others as peers. Homes
// that are there keep their keys and their chain. The servers of c are the
// first's alone. Start all at once: none makes blocks before two thirds are
// there.
func Validators(dir string, n int, c Config) ([]Config, error) {
	if n < 1 || n > MaxValidators {
		return nil, fmt.Errorf("node: %d validators: want 1 to %d", n, MaxValidators)
	}
	if _, err := os.Stat(filepath.Join(dir, fmt.Sprint(n))); err == nil {
		return nil, fmt.Errorf("node: %s holds a chain of more than %d validators: start as many as before, or choose another folder", dir, n)
	}
	out, ids, err := prepare(dir, n, c)
	if err != nil {
		return nil, err
	}
	genesis, err := commonGenesis(c.Genesis, out, ids)
	if err != nil {
		return nil, err
	}
	for i := range out {
		if err := Join(out[i].Home, genesis); err != nil {
			return nil, err
		}
		for j, id := range ids {
			if j != i {
				out[i].Peers = append(out[i].Peers, id.PeerID+"@"+out[j].P2PAddress)
			}
		}
	}
	return out, nil
}

// prepare makes the keys of every home and finds a port for each.
func prepare(dir string, n int, c Config) ([]Config, []Identity, error) {
	configs, ids := make([]Config, n), make([]Identity, n)
	for i := range n {
		one := c
		one.Home, one.Moniker, one.Genesis, one.Peers = filepath.Join(dir, fmt.Sprint(i)), fmt.Sprintf("validator-%d", i), app.Genesis{}, nil
		if i > 0 {
			one.GRPCAddress, one.RESTAddress, one.RPCAddress = "", "", ""
		}
		var err error
		if one.P2PAddress, err = reserve(namedAddress{"P2PAddress", "127.0.0.1:0"}); err != nil {
			return nil, nil, err
		}
		if ids[i], err = InitKeys(one.Home); err != nil {
			return nil, nil, err
		}
		configs[i] = one
	}
	return configs, ids, nil
}

// commonGenesis returns the genesis of the first home, or makes one that names
// all validators.
func commonGenesis(spec app.Genesis, configs []Config, ids []Identity) (*genutiltypes.AppGenesis, error) {
	first, err := openHome(configs[0].Home)
	if err != nil {
		return nil, err
	}
	have, ok, err := first.loadGenesis()
	if closed := first.close(); err == nil {
		err = closed
	}
	if ok || err != nil {
		return have, err
	}
	for i, id := range ids {
		spec.Validators = append(spec.Validators, app.Validator{Moniker: configs[i].Moniker, Key: id.ValidatorKey})
	}
	maker, err := app.New(dbm.NewMemDB(), app.Config{})
	if err != nil {
		return nil, err
	}
	return maker.NewGenesis(spec)
}
