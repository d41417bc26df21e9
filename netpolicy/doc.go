// Package netpolicy says which network flows a lease's containers may have, and
// why: everything else is denied.
//
// Start with [Compile]: it turns the manifest group of a lease into a [Policy].
// [Policy.Evaluate] answers for one [Flow] with a [Verdict]. The answer is the
// oracle: what a renderer makes of a policy for a real data plane (package
// netpolicy/kubepolicy for Kubernetes, netpolicy/nftpolicy for plain hosts,
// anybody's own) is right when it lets through what Evaluate allows and nothing
// else. Package netpolicy/netpolicytest checks that.
//
// What is allowed:
//
//   - between replicas of one service: everything;
//   - from one service of the lease to another: the ports that the other exposes
//     to it, to every service, or to the world;
//   - from the shared HTTP router: the ports exposed as HTTP;
//   - from anywhere: the ports exposed to the world that are not HTTP, and the
//     ports of leased addresses, from their list of sources if they have one;
//   - from the node that the container is on: everything (health checks, and a
//     router or port forwarder that lives there);
//   - to the resolvers: DNS;
//   - to the control plane: only services that may read about themselves;
//   - to the rest of the world: public addresses, without the ranges of [Denied]
//     and those that the provider calls its own ([Surroundings]).
//
// Ports are those of the container, not those that clients use. A reply belongs
// to its flow. The package is pure and knows no cluster; IPv4 and IPv6 are equal.
package netpolicy
