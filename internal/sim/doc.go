// Package sim runs whole markets in virtual time under faults: tenants who
// deploy, update and close, providers that crash between any two steps and start
// again, transactions that are rejected, delayed or whose answer is lost, reads
// that fail, watches that break, clusters that cannot be seen, nodes that go.
// One seed makes the markets and the faults; the order of goroutines within a
// moment is the scheduler's, so that a seed that failed plays again most of the
// time, not always.
//
// After every block the money and the state of the market are checked; at the
// end, when the faults have stopped, everything must have converged: a workload
// for every active lease with a manifest, none without, nothing promised
// without reason.
package sim
