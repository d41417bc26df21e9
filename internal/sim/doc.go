// Package sim runs whole markets in virtual time under faults: tenants who
// deploy, update, scale and close, lease addresses, move and park them, providers
// that crash before or after any step and start again, that drain and take capacity
// back, transactions that are rejected, delayed or whose answer is lost, reads that
// fail, watches that break, events that are lost, late or told twice, clusters and
// networks that cannot be seen, nodes that go.
//
// One seed makes the markets and the faults: whether one strikes depends on the
// seed, on whom, at what and when, not on who asks first. The order of goroutines
// within a moment is the scheduler's, and a transaction that misses its block
// shifts what comes after: a seed plays again much alike, not always the same.
//
// After every block (every tenth once the faults have stopped) the money and the
// state of the market are checked, that no node is promised more than it has, that
// no leased address leads to another tenant than the one whose claim it is or comes
// to another without a rest, that the claims on disk are sound and those in use, and
// that nothing lasts that may not: a reservation without a lease or a bid, a
// workload or an address without a lease, a lease with neither a workload nor a
// stated reason. At the end, when the faults have
// stopped, everything must have converged: every active lease runs as many
// replicas of the manifest that was accepted as it pays for, nothing else runs,
// exactly that is promised, exactly the addresses that leases have are announced
// and every endpoint is served or says truly why not, and no lease was lost for want of a manifest that had
// been accepted.
package sim
