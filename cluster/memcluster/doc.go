// Package memcluster is a cluster in memory: the reference implementation of
// the driver contract, for tests and for programs that try things out.
//
// A [World] is the cluster; [World.Driver] opens it. A world outlives its
// drivers as a real cluster outlives the process that talks to it, so a test
// restarts a provider by closing one driver and opening another. Nothing runs in
// the background: what time does (a replica becomes ready) is computed when
// somebody looks, so a world lives inside a testing/synctest bubble and needs
// no closing.
//
// Images are Go functions, see [Program]. How long replicas take to become
// ready, which calls fail and which services break is up to the test:
// [Config.ReadyAfter], [World.SetFault], [World.Break].
package memcluster
