package app

import (
	"sync/atomic"
	"testing"

	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	cmttypes "github.com/cometbft/cometbft/types"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestASimulationWaitsForTheCommitThatIsUnderWay(t *testing.T) {
	a, err := New(dbm.NewMemDB(), Config{ChainID: "old-1"})
	require.NoError(t, err)
	begin(t, a)
	require.NoError(t, advance(a, 1))
	done := make(chan struct{})
	a.committing.Store(&done)
	var ended atomic.Bool
	early := make(chan bool, 1)
	go func() {
		_, _, err := a.Simulate([]byte("no transaction"))
		early <- err == nil || !ended.Load()
	}()
	ended.Store(true)
	close(done)
	assert.False(t, <-early)
	a.committing.Store(nil)
	_, _, err = a.Simulate([]byte("no transaction"))
	require.Error(t, err, "and for nothing when there is none")
}

func TestParametersThatWereNeverSetAreTheDefaults(t *testing.T) {
	assert.Equal(t, *cmttypes.DefaultConsensusParams(), consensusParams(cmtproto.ConsensusParams{}))
}
