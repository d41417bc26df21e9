package notify_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/internal/notify"
)

func TestWhatIsPublishedBeforeTheFirstIterationIsSeenOnce(t *testing.T) {
	var h notify.Hub
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seq := h.Watch(ctx)
	for range 1000 {
		h.Publish("b")
		h.Publish("a")
	}
	var got []string
	for name, err := range seq {
		require.NoError(t, err)
		if got = append(got, name); len(got) == 2 {
			cancel()
		}
	}
	require.Equal(t, []string{"a", "b"}, got)
}

func TestClosingEndsWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h notify.Hub
		ended := make(chan struct{})
		seq := h.Watch(t.Context())
		go func() {
			defer close(ended)
			for _, err := range seq {
				assert.NoError(t, err)
			}
		}()
		synctest.Wait()
		h.Close()
		h.Close()
		<-ended
		for _, err := range h.Watch(t.Context()) {
			require.NoError(t, err)
			require.Fail(t, "a closed hub says nothing")
		}
	})
}

func TestAWatcherWhoLeavesDoesNotHinderOthers(t *testing.T) {
	var h notify.Hub
	one, two := h.Watch(t.Context()), h.Watch(t.Context())
	h.Publish("a")
	for _, err := range one {
		require.NoError(t, err)
		break
	}
	h.Publish("b")
	var got []string
	for name, err := range two {
		require.NoError(t, err)
		if got = append(got, name); len(got) == 2 {
			break
		}
	}
	require.Equal(t, []string{"a", "b"}, got)
}
