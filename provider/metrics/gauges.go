package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider"
	"github.com/moorage-dev/moorage/provider/gateway/api"
)

// gauges are read from the provider when somebody asks.
type gauges struct {
	ready, draining, height, blockSeconds *prometheus.Desc
	leases, troubles, bids, orders        *prometheus.Desc
	waiting, refusals, firstRunOut, ends  *prometheus.Desc
	deposits, funds                       *prometheus.Desc
	allocatable, available, nodes         *prometheus.Desc
	addresses                             *prometheus.Desc
}

func newGauges() gauges {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(namespace+"_"+name, help, labels, nil)
	}
	return gauges{
		ready:        desc("ready", "1 when the market and the cluster can be seen."),
		draining:     desc("draining", "1 when no new bids are made."),
		height:       desc("height", "The newest block that was worked through."),
		blockSeconds: desc("block_seconds", "The measured time between blocks."),
		leases:       desc("leases", "Leases that are served, per state of their workloads.", "state"),
		troubles:     desc("leases_in_trouble", "Leases whose workloads are not as they should be, per kind.", "kind"),
		bids:         desc("bids", "Bids that stand."),
		orders:       desc("orders", "Open orders without a bid of this provider."),
		waiting:      desc("waiting", "Orders and leases that wait for work or are worked on.", "what"),
		refusals:     desc("refusals", "Open orders that are not bid on, per reason.", "reason"),
		firstRunOut:  desc("first_run_out_timestamp_seconds", "When the funds of the first tenant are expected to run out."),
		ends:         desc("leases_overdrawn", "Leases whose tenants' funds have run out."),
		deposits:     desc("bid_deposits", "Money behind open bids.", "denom"),
		funds:        desc("account_funds", "What the provider's account could spend.", "denom"),
		allocatable:  desc("allocatable", "What may be leased in all: milli-cores, bytes, cards.", "resource"),
		available:    desc("available", "What is not promised: milli-cores, bytes, cards.", "resource"),
		nodes:        desc("nodes", "Nodes of the cluster."),
		addresses:    desc("addresses", "Addresses to lease, per pool, family and state.", "pool", "family", "state"),
	}
}

func (g gauges) all() []*prometheus.Desc {
	return []*prometheus.Desc{
		g.ready, g.draining, g.height, g.blockSeconds, g.leases, g.troubles, g.bids, g.orders, g.waiting, g.refusals,
		g.firstRunOut, g.ends, g.deposits, g.funds, g.allocatable, g.available, g.nodes, g.addresses,
	}
}

func (g gauges) describe(ch chan<- *prometheus.Desc) {
	for _, d := range g.all() {
		ch <- d
	}
}

func (g gauges) collect(ch chan<- prometheus.Metric, o provider.Overview) {
	set := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	s := o.Status
	set(g.ready, ready(s.State))
	set(g.draining, map[bool]float64{true: 1}[s.State == api.ProviderDraining])
	set(g.height, float64(s.Height))
	set(g.blockSeconds, o.BlockTime.Seconds())
	set(g.bids, float64(s.Bids))
	set(g.orders, float64(s.Orders))
	set(g.waiting, float64(o.WaitingOrders), "orders")
	set(g.waiting, float64(o.WaitingLeases), "leases")
	for reason, n := range s.Refusals {
		set(g.refusals, float64(n), reason)
	}
	coins := func(d *prometheus.Desc, cs market.Coins) {
		for _, c := range cs {
			if v, err := strconv.ParseFloat(c.Amount.String(), 64); err == nil {
				set(d, v, c.Denom)
			}
		}
	}
	coins(g.deposits, o.Deposits)
	coins(g.funds, o.Funds)
	g.collectLeases(set, o.Leases)
	for _, c := range o.Addresses {
		for _, n := range []struct {
			state string
			count uint64
		}{{"free", c.Free}, {"reserved", c.Reserved}, {"bound", c.Bound}, {"parked", c.Parked}, {"cooling", c.Cooling}} {
			set(g.addresses, float64(n.count), c.Pool, c.Family.String(), n.state)
		}
	}
	if s.Inventory != nil {
		set(g.nodes, float64(s.Inventory.Nodes))
		quantities(func(v float64, resource string) { set(g.allocatable, v, resource) }, s.Inventory.Allocatable)
		quantities(func(v float64, resource string) { set(g.available, v, resource) }, s.Inventory.Available)
	}
}

func (g gauges) collectLeases(set func(*prometheus.Desc, float64, ...string), leases []provider.LeaseOverview) {
	states, troubles := map[string]float64{}, map[string]float64{}
	overdrawn, first := 0.0, 0.0
	for _, l := range leases {
		states[l.State]++
		if l.Trouble.Kind != "" {
			troubles[string(l.Trouble.Kind)]++
		}
		if l.RunOut.Overdrawn {
			overdrawn++
		} else if at := float64(l.RunOut.Time.Unix()); l.RunOut.Height > 0 && (first == 0 || at < first) {
			first = at
		}
	}
	for state, n := range states {
		set(g.leases, n, state)
	}
	for kind, n := range troubles {
		set(g.troubles, n, kind)
	}
	set(g.ends, overdrawn)
	if first > 0 {
		set(g.firstRunOut, first)
	}
}

func quantities(set func(float64, string), q api.Quantities) {
	set(float64(q.MilliCores), "milli_cores")
	set(float64(q.MemoryBytes), "memory_bytes")
	set(float64(q.EphemeralBytes), "ephemeral_bytes")
	for class, n := range q.PersistentBytes {
		set(float64(n), "persistent_bytes/"+class)
	}
	for model, n := range q.GPUs {
		set(float64(n), "gpu/"+model)
	}
}
