// Package app is the blockchain application that hosts the market: the Cosmos
// SDK's accounts, bank, staking, distribution, minting, slashing, governance,
// grants and upgrades, wired by hand, and the market module.
//
// Start with [ConfigureAddresses], once, in main; then [New] makes the
// application over a database, and [Genesis] makes the state it begins with.
// Package market/chain/node runs it with CometBFT, package
// market/chain/chaintest without.
//
// Nothing here runs on import. The SDK keeps one thing per process that cannot
// be injected, the prefix of addresses; only ConfigureAddresses sets it. Two
// chains run in one process as long as they share the prefix.
//
// The application database must be in memory or pebble. goleveldb, at the
// revision that module selection gives to dependents of the SDK, returns nil
// for an existing empty value, and the store then reports versions as lost.
package app
