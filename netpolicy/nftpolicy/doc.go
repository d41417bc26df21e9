// Package nftpolicy renders network policies of leases as one nftables table, for
// hosts that run containers without Kubernetes.
//
// Start with [Table]: [Table.Ruleset] replaces the whole table, [Table.Replace]
// changes one network of it. Both are texts for "nft -f -", which applies a text
// in one transaction: there is no moment with half of the rules.
//
// The host has one bridge for each network, and every packet between two
// containers, also of one network, must pass the forward hook: the bridge's ports
// are isolated from one another, and the bridge answers for its containers
// (proxy_arp_pvlan), or bridge-nf-call-iptables is on. A packet that opens a
// connection is judged twice, where it leaves and where it enters, and so is every
// later one in the same direction: a change of policy cuts connections that it
// denies. Replies pass.
//
// The host itself is no outsider: what it sends to containers is not judged. What
// containers send to the host is dropped, but DNS to resolvers that live there.
package nftpolicy
