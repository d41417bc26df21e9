package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/provider"
	"github.com/moorage-dev/moorage/provider/metrics"
)

type source struct{ err error }

func (s source) Overview(context.Context) (provider.Overview, error) {
	return provider.Overview{Leases: []provider.LeaseOverview{
		{State: "ready"}, {State: "ready"}, {State: "failing", Trouble: provider.Trouble{Kind: provider.TroubleFailing}},
	}}, s.err
}

// The metrics follow the conventions of Prometheus, as its own linter sees them.
func TestMetricsAreWellFormed(t *testing.T) {
	m := metrics.New()
	m.Attach(source{})
	m.Observe(provider.Event{Kind: provider.EventBid})
	problems, err := testutil.GatherAndLint(m.Registry())
	require.NoError(t, err)
	assert.Empty(t, problems)
}

func TestAProviderThatCannotBeReadIsAFailedScrapeAndNoPanic(t *testing.T) {
	m := metrics.New()
	m.Attach(source{errors.New("boom")})
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	assert.Equal(t, 500, w.Code)
}

func Example() {
	m := metrics.New()
	m.Attach(source{}) // a provider
	m.Observe(provider.Event{Kind: provider.EventBid})
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "moorage_provider_leases{") {
			fmt.Print(line)
		}
	}
	// Output:
	// moorage_provider_leases{state="failing"} 1
	// moorage_provider_leases{state="ready"} 2
}
