package operator_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/memcluster"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/memmarket"
	"github.com/moorage-dev/moorage/provider"
	"github.com/moorage-dev/moorage/provider/bidengine"
	"github.com/moorage-dev/moorage/provider/metrics"
	"github.com/moorage-dev/moorage/provider/operator"
)

// world is a provider with its operator's door on a market in memory.
type world struct {
	market *memmarket.Market
	p      *provider.Provider
	server *httptest.Server
	seen   chan provider.Event
}

func newWorld(t *testing.T, m *memmarket.Market, account market.Address) *world {
	t.Helper()
	w := &world{market: m, seen: make(chan provider.Event, 1000)}
	shown := metrics.New()
	var err error
	w.p, err = provider.New(provider.Config{
		Market: m.Client(account), Cluster: memcluster.New(memcluster.Config{}), HostURI: "https://" + string(account) + ".test",
		Pricer: bidengine.PricerFunc(func(context.Context, bidengine.Request) (market.Decimal, error) {
			return market.NewDecimal(5), nil
		}),
		Observer: provider.Observers{shown, provider.ObserverFunc(func(e provider.Event) { w.seen <- e })},
	})
	require.NoError(t, err)
	shown.Attach(w.p)
	w.server = httptest.NewServer(operator.New(w.p, shown.Handler()))
	t.Cleanup(w.server.Close)
	return w
}

func (w *world) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.p.Run(ctx) }()
	t.Cleanup(func() { cancel(); assert.NoError(t, <-ended) })
	w.await(t, provider.EventRegistered)
}

func (w *world) await(t *testing.T, kind provider.EventKind) {
	t.Helper()
	limit := time.After(10 * time.Second)
	for {
		select {
		case e := <-w.seen:
			if e.Kind == kind {
				return
			}
		case <-limit:
			t.Fatalf("no %s", kind)
		}
	}
}

func (w *world) do(t *testing.T, method, path, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, w.server.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(text)
}

func newMarket(t *testing.T) *memmarket.Market {
	t.Helper()
	coins := market.Coins{market.NewCoin("uact", 10_000_000)}
	m, err := memmarket.New(memmarket.Config{BlockPerSubmit: true, Balances: map[market.Address]market.Coins{
		"tenant": coins, "one": coins, "two": coins,
	}})
	require.NoError(t, err)
	return m
}

func order(t *testing.T, m *memmarket.Market, dseq, cores uint64) {
	t.Helper()
	_, err := m.Client("tenant").Submit(t.Context(), market.CreateDeployment{
		ID: market.DeploymentID{Owner: "tenant", DSeq: dseq}, Hash: market.Hash{1}, Deposit: market.NewCoin("uact", 500_000),
		Groups: []market.GroupSpec{{Name: "g", Units: []market.ResourceUnit{{
			Resources: market.Resources{
				ID: 1, CPU: market.CPU{MilliCores: 1000 * cores}, Memory: market.Memory{Bytes: 1 << 28},
				Storage: []market.Volume{{Name: "default", Bytes: 1 << 28}},
			},
			Count: 1, Price: market.Price{Denom: "uact", AmountPerBlock: market.NewDecimal(100)},
		}}}},
	})
	require.NoError(t, err)
}

func TestTheDoorShowsHealthReasonsAndMetrics(t *testing.T) {
	w := newWorld(t, newMarket(t), "one")
	code, text := w.do(t, "GET", "/readyz", "")
	assert.Equal(t, http.StatusServiceUnavailable, code)
	assert.Contains(t, text, "starting")
	w.run(t)
	order(t, w.market, 1, 1)
	w.await(t, provider.EventBid)
	order(t, w.market, 2, 300)
	w.await(t, provider.EventDeclined)
	code, _ = w.do(t, "GET", "/readyz", "")
	assert.Equal(t, http.StatusOK, code)
	code, _ = w.do(t, "GET", "/healthz", "")
	assert.Equal(t, http.StatusOK, code)

	code, text = w.do(t, "GET", "/overview", "")
	require.Equal(t, http.StatusOK, code)
	var o provider.Overview
	require.NoError(t, json.Unmarshal([]byte(text), &o))
	require.Len(t, o.Bids, 1)
	require.Len(t, o.Declined, 1)
	assert.Equal(t, bidengine.Code("insufficient-cpu"), o.Declined[0].Reasons[0].Code)
	assert.Equal(t, market.Coins{market.NewCoin("uact", 500_000)}, o.Deposits)
	assert.Equal(t, map[string]int{"insufficient-cpu": 1}, o.Status.Refusals)

	_, text = w.do(t, "GET", "/metrics", "")
	for _, want := range []string{
		`moorage_provider_events_total{kind="bid"} 1`, `moorage_provider_declined_total{reason="insufficient-cpu"} 1`,
		`moorage_provider_refusals{reason="insufficient-cpu"} 1`, `moorage_provider_bids 1`, `moorage_provider_ready 1`,
		`moorage_provider_bid_latency_seconds_count 1`, `moorage_provider_bid_deposits{denom="uact"} 500000`,
		`moorage_provider_available{resource="milli_cores"} 63000`, `moorage_provider_allocatable{resource="milli_cores"} 64000`,
	} {
		assert.Contains(t, text, want)
	}
}

func TestDrainingAndTakingCapacityBack(t *testing.T) {
	w := newWorld(t, newMarket(t), "one")
	w.run(t)
	order(t, w.market, 1, 1)
	w.await(t, provider.EventBid)
	id := market.LeaseID{OrderID: market.OrderID{GroupID: market.GroupID{DeploymentID: market.DeploymentID{Owner: "tenant", DSeq: 1}, GSeq: 1}, OSeq: 1}, Provider: "one"}
	_, err := w.market.Client("tenant").Submit(t.Context(), market.CreateLease{ID: id.Bid()})
	require.NoError(t, err)
	w.await(t, provider.EventLeaseWon)

	code, _ := w.do(t, "POST", "/drain", `{"on": true, "notice": "new fans until noon"}`)
	require.Equal(t, http.StatusOK, code)
	order(t, w.market, 2, 1)
	w.await(t, provider.EventDeclined)
	_, text := w.do(t, "GET", "/overview", "")
	assert.Contains(t, text, `"draining"`)
	assert.Contains(t, text, "new fans until noon")
	_, text = w.do(t, "GET", "/metrics", "")
	assert.Contains(t, text, "moorage_provider_draining 1")

	code, _ = w.do(t, "POST", "/withdraw", "")
	assert.Equal(t, http.StatusOK, code)
	code, text = w.do(t, "POST", "/reclaim", `{"lease": "`+id.String()+`"}`)
	assert.Equal(t, http.StatusOK, code, text)
	w.await(t, provider.EventLeaseClosed)
	lease, err := w.market.Client("tenant").Lease(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, market.ReasonDecommission, lease.Reason)
	code, _ = w.do(t, "POST", "/reclaim", `{"lease": "`+id.String()+`"}`)
	assert.Equal(t, http.StatusNotFound, code)
}

func TestNobodyOpensTheDoorThroughAnOperatorsBrowser(t *testing.T) {
	w := newWorld(t, newMarket(t), "one")
	code, _ := w.do(t, "POST", "/drain", `{"on": true}`, "Sec-Fetch-Site", "cross-site")
	assert.Equal(t, http.StatusForbidden, code)
	for _, body := range []string{"", "{", `{"on": 1}`, `{"off": true}`, strings.Repeat("[", 1<<17)} {
		code, _ = w.do(t, "POST", "/drain", body)
		assert.Equal(t, http.StatusBadRequest, code)
	}
}

func TestTwoProvidersOfOneProcessHaveMetricsOfTheirOwn(t *testing.T) {
	m := newMarket(t)
	one, two := newWorld(t, m, "one"), newWorld(t, m, "two")
	one.run(t)
	two.run(t)
	one.p.Drain(true, "")
	order(t, m, 1, 1)
	two.await(t, provider.EventBid)
	one.await(t, provider.EventDeclined)
	_, text := one.do(t, "GET", "/metrics", "")
	assert.Contains(t, text, "moorage_provider_bids 0")
	assert.Contains(t, text, "moorage_provider_draining 1")
	_, text = two.do(t, "GET", "/metrics", "")
	assert.Contains(t, text, "moorage_provider_bids 1")
	assert.Contains(t, text, "moorage_provider_draining 0")
}
