package node

import (
	"errors"
	"fmt"
	"sync"

	cmtdb "github.com/cometbft/cometbft-db"
	cmtcfg "github.com/cometbft/cometbft/config"
)

// databases opens CometBFT's databases and remembers them: CometBFT forgets to
// close the index of transactions, and the next start would find it locked.
type databases struct {
	memory bool

	mu   sync.Mutex
	open []*onceDB
}

// onceDB can be closed any number of times, and read when it is closed: then it
// is empty. CometBFT does not wait for the goroutines of its peers when it stops;
// one of them may still look into the block store and would panic on an error.
type onceDB struct {
	cmtdb.DB

	mu     sync.RWMutex // held for reading while the database is used
	closed bool
	err    error
}

// Close implements [cmtdb.DB].
func (d *onceDB) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.closed, d.err = true, d.DB.Close()
	}
	return d.err
}

// Get implements [cmtdb.DB].
func (d *onceDB) Get(key []byte) ([]byte, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return nil, nil
	}
	return d.DB.Get(key)
}

// Has implements [cmtdb.DB].
func (d *onceDB) Has(key []byte) (bool, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return false, nil
	}
	return d.DB.Has(key)
}

// provide is CometBFT's DBProvider.
func (d *databases) provide(c *cmtcfg.DBContext) (cmtdb.DB, error) {
	db, err := d.openOne(c)
	if err != nil {
		return nil, fmt.Errorf("node: database %s: %w", c.ID, err)
	}
	one := &onceDB{DB: db}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open = append(d.open, one)
	return one, nil
}

func (d *databases) openOne(c *cmtcfg.DBContext) (cmtdb.DB, error) {
	if d.memory {
		return cmtdb.NewMemDB(), nil
	}
	return cmtcfg.DefaultDBProvider(c)
}

// close closes what is open.
func (d *databases) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, db := range d.open {
		errs = append(errs, db.Close())
	}
	d.open = nil
	return errors.Join(errs...)
}
