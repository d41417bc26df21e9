// Package tenant is the buyer's side of a market: from a compiled SDL document
// to a running lease, and back to every coin accounted for.
//
// [Tenant.Deploy] does it all in one call: it creates the deployment, waits for
// bids, chooses, makes the leases, sends the manifest to the providers and
// waits until everything runs. Each step is also a method of its own. When a
// step fails, Deploy closes the deployment again, so that nothing stays
// reserved or paid for, and says why; for an order without bids the providers
// themselves are asked for their reasons.
//
// The package knows markets and gateways by their interfaces: it works with a
// chain, with a market in memory, and with any gateway client.
package tenant
