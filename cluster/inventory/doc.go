// Package inventory accounts for what a cluster has and what it has promised:
// nodes, capacity, reservations, placement. It is pure: values in, values out,
// no clock, no goroutine, and no result depends on map order or on the order in
// which nodes or units are listed.
//
// Start with [New], which makes a [Ledger] for the nodes of a cluster. A bid
// engine calls [Ledger.Reserve] with the text of its bid's ID; when the bid
// wins, the reservation is the placement of the lease, under the same key (the
// text of a lease is the text of its bid). [Ledger.Release] gives it back. A
// [Snapshot] is an immutable picture to decide on.
//
// # Placement
//
// A group fits when every replica of every unit has a node with enough free
// processor time, memory (volumes of class "ram" count as memory), ephemeral
// storage, storage of each persistent class and graphics cards, and with the
// architecture and attributes that were asked for. All of a group is placed, or
// nothing. The tightest node on the scarcest resource is tried first; what does
// not fit that way is searched for within a bound, so an answer "fits" is
// always true and an answer "does not fit" is nearly always.
//
// Cards are handed out one by one and never twice. The cards of one replica
// are all of one kind (vendor, model, memory, interface); replicas of one unit
// may have different kinds where the unit's patterns allow that.
//
// # What it does not do
//
// It knows no prices, no addresses and no provider attributes; package
// provider/bidengine does. It does not move what runs: when nodes vanish or
// shrink, [Ledger.Displaced] says which reservations no longer hold, and where a
// cluster runs something elsewhere than promised, [Ledger.Settle] follows.
package inventory
