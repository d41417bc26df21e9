// Package nfteval is a small kernel that exists only to judge packets by nftables
// rules: it runs the scripts that renderers write and says what would become of a
// packet. It is written from the manual of nft and knows what renderers of network
// policies need: tables of family inet, filter chains, sets, verdict maps, and
// matches of interfaces, addresses, ports, ICMP types and connection state. What it
// does not know is an error, never a guess.
//
// Like the kernel it takes a script as a whole or not at all, refuses to delete
// what is still referred to, and matches a field of a protocol only in packets of
// that protocol.
package nfteval
