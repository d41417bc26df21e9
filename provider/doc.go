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
//	order open, no bid      decide, reserve, bid
//	order open, bid open    keep the reservation; withdraw a stale bid
//	order matched to us     the lease is looked at
//	order lost or closed    release the reservation
//	lease active, no manifest   wait until the deadline, then close the bid
//	lease active, manifest      apply it; watch it; close the bid if it fails too long
//	lease closed            delete the workload, release, forget
//
// What must outlive the process is in a [Store]: a record per lease with the
// manifest that was accepted. Reservations are not stored: they follow from the
// open bids and active leases on the market.
//
// # Goroutines
//
// Run starts one goroutine each for the market's news, the cluster's news and
// the clock, and [Config.Workers] for the work; it waits for all of them. Work
// on one order or lease never runs twice at a time.
package provider
