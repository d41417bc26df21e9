// Package providertest is the conformance suite for what a provider is joined
// from: a market, a cluster, a store, a pricing strategy. Whoever builds one of
// them runs a whole provider on it, through the life of leases, crashes between
// any two steps included.
//
// Start with [Harness]: name what is yours, leave out the rest, which then is in
// memory, and call [Run]:
//
//	providertest.Run(t, providertest.Harness{Run: synctest.Test, Pricer: mine})
//
// Cases are functions that return errors, so the suite itself is tested: markets,
// clusters, stores and strategies with one fault each must be noticed by the
// right case.
//
// [Crasher] is of use alone: it ends a provider before or after any of the steps
// with which it changes the world.
package providertest
