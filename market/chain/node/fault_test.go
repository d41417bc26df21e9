package node

import (
	"context"
	"errors"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/app"
)

// broken fails at a height.
type broken struct {
	abci.Application
	fail func(height int64) error
}

func (b broken) FinalizeBlock(ctx context.Context, r *abci.RequestFinalizeBlock) (*abci.ResponseFinalizeBlock, error) {
	if err := b.fail(r.Height); err != nil {
		return nil, err
	}
	return b.Application.FinalizeBlock(ctx, r)
}

func TestAFaultOfTheApplicationEndsRun(t *testing.T) {
	for name, fail := range map[string]func(int64) error{
		"panic": func(h int64) error {
			if h == 4 {
				panic("a broken keeper")
			}
			return nil
		},
		"error": func(h int64) error {
			if h == 4 {
				return errors.New("a broken keeper")
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			n, err := New(Config{
				BlockInterval: 10 * time.Millisecond,
				Genesis:       app.Genesis{ChainID: "faulty-1", Market: market.DefaultParams("uakt")},
			})
			require.NoError(t, err)
			n.wrap = func(a abci.Application) abci.Application { return broken{a, fail} }
			err = n.Run(t.Context())
			require.ErrorIs(t, err, ErrFault)
			assert.ErrorContains(t, err, "block 4")
			assert.ErrorContains(t, err, "a broken keeper")
		})
	}
}
