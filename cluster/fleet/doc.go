// Package fleet is a cluster driver for plain hosts: it runs workloads as
// containers, without any orchestrator beneath. At present a fleet is one host.
//
// Start with [New], hand the [Fleet] to cluster.New, and call [Fleet.Run] in a
// goroutine: it runs the agent that makes containers what they should be, the
// HTTP ingress and the forwarded ports.
//
// # Promises
//
// Apply writes the workload to disk before it returns. Everything else follows
// from comparing, again and again, what is on disk with what the container
// runtime reports: after a crash at any moment, a fleet opened on the same
// directory finds its containers and goes on; none is started twice. Containers
// survive the end of the process; what is forwarded to them through this
// process pauses.
//
// An update replaces only services whose definition changed, one replica after
// another; a replica without persistent volumes is started anew, and answers,
// before the old one is drained and stopped. A container that ends is started
// again, after a pause that doubles up to five minutes.
//
// Services of a lease reach one another by name on a private network. HTTP
// services are reached through one shared listener under
// <service>-<lease>.<domain> and the names that the tenant asked for; other
// global ports under port numbers of the host, which a lease keeps until it
// ends, also over restarts.
//
// Who may reach whom is the network policy of the lease (package netpolicy): a
// service reaches another only on ports that are exposed to it. The embedded runc
// enforces it; an engine behind the Docker API keeps leases apart and no more, and
// [Fleet.Enforces] tells which.
//
// # What it does not do
//
// It does not network between hosts or serve TLS. Leased addresses it tells to
// the containers; an announcer (package iplease/driver) makes them reachable. It
// limits what the runtime limits.
package fleet
