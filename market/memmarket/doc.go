// Package memmarket hosts the whole market in memory: the rules of package
// market/machine over ordered maps, a bank that is a map, and blocks that are
// made by hand ([Market.Advance]), by a ticker ([Market.Run]) or by each
// submission (Config.BlockPerSubmit). It is for programs that want a market
// without a chain, and for tests.
//
// [New] makes a [Market]; [Market.Client] gives a [market.Client] for an
// account. Accounts need no keys: whoever holds the Market may speak for
// anyone.
//
// A Market starts no goroutine and opens nothing; it works inside a
// testing/synctest bubble. Time in blocks is virtual: it starts at Config.Start
// and moves on by Config.BlockTime per block.
//
// Everything handed in or out is copied.
package memmarket
