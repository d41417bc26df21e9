package cluster_test

import (
	"context"
	"iter"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster"
	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/market"
)

// printed is a driver that has lines and looks at no option.
type printed struct {
	driver.Driver
	lines []driver.LogLine
}

func (p printed) Logs(context.Context, market.LeaseID, driver.LogOptions) iter.Seq2[driver.LogLine, error] {
	return func(yield func(driver.LogLine, error) bool) {
		for _, l := range p.lines {
			if !yield(l, nil) {
				return
			}
		}
		yield(driver.LogLine{}, assert.AnError)
	}
}

func TestLogsBeforeATimeAndOfOtherReplicasAreLeftOutForEveryDriver(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	c, err := cluster.New(printed{lines: []driver.LogLine{
		{Text: "old", Time: at(1)}, {Text: "zero", Time: at(2)}, {Text: "one", Replica: 1, Time: at(3)},
	}}, cluster.Config{})
	require.NoError(t, err)
	zero := uint32(0)
	for want, o := range map[string]driver.LogOptions{
		"old zero one ": {}, "zero one ": {Since: at(2)}, "zero ": {Since: at(2), Replica: &zero},
	} {
		got := ""
		var last error
		for l, err := range c.Logs(t.Context(), market.LeaseID{}, o) {
			if last = err; err == nil {
				got += l.Text + " "
			}
		}
		assert.Equal(t, want, got)
		assert.ErrorIs(t, last, assert.AnError, "a failure is never left out")
	}
}
