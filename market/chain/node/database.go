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

// onceDB can be closed any number of times.
type onceDB struct {
	cmtdb.DB
	once sync.Once
	err  error
}

// Close implements [cmtdb.DB].
func (d *onceDB) Close() error {
	d.once.Do(func() { d.err = d.DB.Close() })
	return d.err
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
