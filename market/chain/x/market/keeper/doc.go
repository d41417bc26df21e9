// Package keeper hosts the market in a Cosmos SDK store: it binds the tables of
// [machine.State] to the block being made, lends the machine the chain's bank,
// and answers messages and queries. It holds no rule of the market.
//
// Start with [New]. A [Keeper] is safe for concurrent use as far as contexts
// are: queries run on contexts of their own.
package keeper
