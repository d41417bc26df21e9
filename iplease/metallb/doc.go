// Package metallb announces leased addresses of a Kubernetes cluster through
// MetalLB (https://metallb.io, version 0.14.9 or later: the metallb.io
// annotations). Start from [New].
//
// A claim becomes Services of type LoadBalancer that share its addresses, each
// pinned to them (metallb.io/loadBalancerIPs, metallb.io/allow-shared-ip):
//
//   - one anchor in [Config.Namespace]. It holds the addresses for as long as the
//     claim is announced, whichever ports open and close and whichever deployment
//     they lead to, and it carries the announcement itself, so that an announcer
//     that was restarted goes on. Its only port is SCTP, so that all ports of TCP
//     and UDP are free for the tenant; its endpoint is an address that nobody has
//     (RFC 5737), because MetalLB announces only what has one.
//   - one in the namespace of each lease, for each service and set of sources,
//     with the ports that lead there. It selects the pods by label, so that the
//     cluster itself follows them.
//
// MetalLB decides which node answers and moves an address when a node dies. The
// nodes' proxies lead packets to pods, and hold ports to their sources
// (loadBalancerSourceRanges).
//
// # What it does not do
//
// Pods see a node's address instead of the client's: addresses that several
// services share need the traffic policy Cluster. Connections that pods open do
// not leave from the leased address. Both addresses of a claim with two must be in
// one pool of MetalLB.
//
// Nobody reports when a node's proxy has taken a change over. Apply and Withdraw
// therefore wait [Config.Settle] after the API shows it.
//
// # Permissions
//
// [ClusterRole] is what an announcer may do, in all namespaces: services and
// endpoint slices of its own, namespaces made, and what MetalLB says read.
package metallb
