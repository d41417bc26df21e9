// Package keys has the keys that programs sign with: in memory, or in a Cosmos
// SDK keyring on disk.
//
// Start with [New] for a key that lives in memory, or [Open] for a keyring. A
// [Key] fits market/chain/client. Set the address prefix first, with
// ConfigureAddresses of package market/chain/app: addresses are written with
// it.
//
// Secrets are never part of errors or of String.
package keys
