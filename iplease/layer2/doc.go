// Package layer2 announces leased addresses from hosts of one Ethernet segment:
// it answers ARP and NDP for them, and leads their ports to replicas on this host
// with nftables, the client's address kept.
//
// [New] makes the [Announcer] of one host and [Announcer.Run] runs it. Hosts that
// are told of each other ([Config.Peers]) share what is to be announced, so it is
// enough to call Apply on one of them, and exactly one answers for an address at a
// time. When it dies another takes over.
//
// Without [Config.Interface] the host is alone: addresses sit on a bridge of its
// own, its kernel answers, and nothing is lost while the process is away. The host
// itself reaches them, its neighbours too by IPv4, and whoever has a route by this
// host.
//
// # Who answers
//
// Of the hosts that live and have a replica of the claim, or of all that live if
// none has, the one answers that already does, and otherwise the one with the
// highest hash of (host, claim). Before a host answers it asks all others, who
// must agree and be silent, and then the segment, where nobody may answer. See
// docs/decisions/0019-layer2-election.md for what happens when hosts die, freeze
// or lose touch.
//
// # What it leaves on the host
//
// One nftables table, moorage_ip_<instance>; without an interface also a bridge,
// mip<instance>. Both go when Run ends. Forwarding is switched on and stays on.
//
// Linux only. It needs root and the program nft.
package layer2
