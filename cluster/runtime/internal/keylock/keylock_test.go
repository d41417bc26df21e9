package keylock_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/runtime/internal/keylock"
)

func TestOneNameIsHeldOnceAndOthersAreFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k keylock.Locks
		unlock, err := k.Lock(t.Context(), "a")
		require.NoError(t, err)
		other, err := k.Lock(t.Context(), "b")
		require.NoError(t, err)
		other()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = k.Lock(short, "a")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		got := make(chan struct{})
		go func() {
			again, err := k.Lock(context.Background(), "a")
			if err == nil {
				again()
			}
			close(got)
		}()
		synctest.Wait()
		select {
		case <-got:
			require.Fail(t, "held twice")
		default:
		}
		unlock()
		<-got
	})
}

func TestAnEndedContextGetsNoLock(t *testing.T) {
	var k keylock.Locks
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		_, err := k.Lock(ctx, "a")
		require.ErrorIs(t, err, context.Canceled)
	}
}
