package node

import (
	"testing"

	cmtcfg "github.com/cometbft/cometbft/config"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestADatabaseThatIsClosedReadsAsEmpty(t *testing.T) {
	d := &databases{}
	cfg := cmtcfg.DefaultConfig()
	cfg.SetRoot(t.TempDir())
	db, err := d.provide(&cmtcfg.DBContext{ID: "x", Config: cfg})
	require.NoError(t, err)
	require.NoError(t, db.Set([]byte("k"), []byte("v")))
	require.NoError(t, d.close())
	require.NoError(t, db.Close(), "closing twice is no error")
	value, err := db.Get([]byte("k"))
	require.NoError(t, err, "a goroutine that CometBFT left behind must not panic")
	assert.Nil(t, value)
	has, err := db.Has([]byte("k"))
	require.NoError(t, err)
	assert.False(t, has)
}
