// Package client speaks to the gateway of a provider: it sends the manifest of a
// deployment and sees, reads and enters what runs for a lease.
//
// Start with [New]. The client accepts no server but the provider it is for: the
// server's certificate must be the one that the provider has published on the
// market. It shows the tenant's certificate, or a token.
//
// Refusals are [*api.Error] and match the sentinels of packages market and
// cluster/driver. A connection that cannot be made is tried a few times; what was
// sent is never sent again, but for streams: logs, events and shells go on where
// they were after a short loss of connection.
//
// A Client has Logs and Exec as a cluster driver does, so that what is written
// for the one works with the other.
package client
