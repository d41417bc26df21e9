// Package moorage is a library for a decentralized compute marketplace: a tenant
// says in SDL what should run, an order opens on a market, providers bid, the
// best bid becomes a lease, the provider runs the containers and is paid per
// block out of escrow.
//
// This package holds no code. Take the package that fits what you build:
//
//   - You have SDL documents to check or compile: package sdl, which links no
//     chain and no cluster.
//   - You want the rules of the market, without a chain or on one of your own:
//     packages market, lease and market/machine are pure; market/memmarket is
//     a whole market in memory.
//   - You want the market on Cosmos SDK and CometBFT: packages below market/chain.
//   - You sell capacity: package provider joins everything; provider/bidengine
//     decides and prices; provider/gateway serves tenants. Each works alone.
//   - You have a cluster that no driver knows: implement cluster/driver and run
//     cluster/clustertest against it.
//   - You want to see it work: examples/localnet is all of it in one process.
//
// The map of the project is ARCHITECTURE.md.
package moorage
