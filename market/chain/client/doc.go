// Package client is a market on a Cosmos SDK chain as a program sees it: it
// implements [market.Client] over gRPC alone.
//
// Start with [New] over a connection: the one a node in the same process gives
// (market/chain/node, Node.Dial), or that of [Dial] to a node elsewhere.
//
// # Transactions
//
// [Client.Submit] puts its messages into one transaction, asks the node what it
// would use of gas, signs and sends it, and reads blocks until it is found.
// Transactions are unordered ones with a time limit, so that any number may be
// on the way for one account at once, also from several programs. A transaction
// is signed once and only ever sent again as the same bytes, which the chain
// carries out at most once; only when a block's time has passed its limit and
// no block holds it does Submit say that nothing was carried out.
//
// # Watching
//
// [Client.Watch] keeps a height, asks for the head, and reads every block in
// between. It subscribes to nothing, so there is nothing to lose when a
// connection drops or a reader is slow.
//
// This package does not link the application, only the SDK's types and codec.
package client
