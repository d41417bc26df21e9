// Package provider sells the capacity of a cluster on a market: it watches
// orders, bids, wins leases, takes the tenants' manifests, runs them, keeps
// them running, is paid, and cleans up.
//
// [New] joins a [market.Client], a [cluster.Cluster] and a
// [bidengine.Pricer]; [Provider.Run] does the work until its context ends.
// A Provider is also a [gateway.Backend], so that tenants reach it through
// package provider/gateway.
//
// # How it works
//
// Everything is level-triggered. News from the market and the cluster only
// says which order or lease to look at; the work itself reads the state of
// both and does what is missing. The same work therefore serves a new order, a
// restart after a crash, a lost event and a repeated one:
//
//	order open, no bid      decide, reserve, write that down, bid
//	order open, bid open    keep the reservation; withdraw a stale bid
//	order matched to us     the lease is looked at
//	order lost or closed    release the reservation
//	lease active, no manifest   wait until the deadline, then close the bid
//	lease active, manifest      apply it; watch it; close the bid if it fails too long
//	request to scale waits      reserve the room, then confirm; or decline with a reason
//	notice was given            keep the workload until the lease is closed
//	lease closed            delete the workload, release, forget
//
// What must outlive the process is in a [Store]: a record per lease and per bid,
// with what is promised and the manifest that was accepted. It is written before
// the market or the tenant hears of it. At the start all that was promised is
// back in the ledger before anything new is.
//
// A workload that is not as it should be has a [Trouble]: pending, failing, or out
// of sight. Each has a deadline of its own, which a restart does not begin anew.
//
// # Operating it
//
// [Provider.Status] is what anybody may know, [Provider.Overview] what its
// operator may, [Config.Observer] hears of every step; packages provider/metrics
// and provider/operator show them to Prometheus and over HTTP. [Provider.Drain]
// stops new bids, [Provider.Reclaim] takes a lease's capacity back.
//
// # Goroutines
//
// Run starts one goroutine each for the market's news, the cluster's news and that of
// its nodes, the clock and the money, [Config.Workers] for the work on leases and
// [Config.BidWorkers] for that on orders; it waits for all of them. The workers
// never work on one order or lease twice at a time. A tenant's request (a manifest,
// a restart, a migration) may look at a lease at the same moment as a worker: the
// changes of its record are one after another, and the cluster takes no older
// revision.
package provider
