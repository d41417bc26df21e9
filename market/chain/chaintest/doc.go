// Package chaintest is the real application of the chain in one process,
// without a consensus engine: the test finalizes the blocks, each takes a few
// milliseconds, and the block time is the test's.
//
// Start with [New]. [Chain.Dial] gives a connection on which the client of
// package market/chain/client works as on a real node:
//
//	c, err := chaintest.New(chaintest.Config{Genesis: app.Genesis{…}})
//	conn, err := c.Dial()
//
// What it leaves out is CometBFT: nothing here is gossiped, voted on or replayed
// from a log. For that, run package market/chain/node.
package chaintest
