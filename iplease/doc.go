// Package iplease says which tenant has which public address, and which port of
// it leads to which service. It is pure: heights and times are arguments, the
// results depend on nothing else, and it links only package market.
//
// Start with [New], which makes a [Table] over the [Pool]s of a provider. A
// provider calls [Table.Reserve] before it bids, [Table.Update] when a manifest
// comes, [Table.Close] when the lease ends and [Table.Expire] as time passes.
// What an announcer is to make reachable is in each [Claim]; making it reachable
// is not done here.
//
// # Claims
//
// A claim is one address of each family that was asked for, held for one
// [ClaimID]: a tenant and the name of an endpoint in its documents. It is held
// by one deployment at a time. Several services, also of several groups of that
// deployment, share it on different ports. A second deployment of the tenant
// that uses the same name gets a [WithheldError] until the claim is moved to it
// ([Table.Prepare]) or the first one closes.
//
//	from       to         by
//	free       reserved   Reserve: a bid was made
//	free       bound      Update, Bind: a manifest came, without a bid before
//	reserved   free       Unreserve, Expire, Close: the bid came to nothing
//	reserved   bound      Update, Bind
//	bound      cooling    Update, Close: no port is left
//	bound      parked     the same, while the claim is retained
//	parked     bound      Update, Bind: a later deployment uses the name
//	parked     cooling    Unretain, Expire: nobody pays for it any more
//	cooling    bound      Update, Bind: the same tenant uses the same name again, or
//	                      the same deployment another one instead
//	cooling    parked     Retain: the same tenant asks for it in time
//	cooling    free       Expire: the cooling time is over
//
// A lease has at most one claim for each number that its order has paid for.
// Renaming an endpoint therefore takes its address along, and no address rests
// meanwhile. Where no address is free, a parked claim can back an order of its
// tenant: it stays parked, counts for one order only, and serves a manifest that
// uses its name ([Table.Serves]).
//
// An announcer knows a claim by its ID. A claim whose name has changed keeps the
// former ones until [Table.Withdrawn] says that nobody answers under them.
//
// Free is the absence of a claim. [State.CanBecome] is this table; a migration
// moves a claim between deployments and leaves it bound.
//
// # Persistence
//
// [Table.Unsaved] returns a [Record] for each claim that changed since the last
// call, and [Restore] makes the same table out of all records. An owner of a
// table writes the records of one call in one transaction and acts on the change
// afterwards; a crash between two calls then loses only what had no effect.
//
// A Table is not safe for concurrent use.
package iplease
