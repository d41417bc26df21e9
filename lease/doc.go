// Package lease is the arithmetic of escrow and the life of a lease, pure: an
// escrow account with its payment streams goes in with a height, and comes out
// settled, paid, revived or closed. It links only the standard library and
// package market.
//
// Start with [Book]: an account and those of its payments that are not closed.
//
// # Money
//
// A lease costs price × blocks, from the block it began in to the block it ends
// in (not counting that one). Amounts due are whole units; the fraction of a
// unit is carried from one settlement to the next, so that what is paid over
// the life of a lease is exactly the whole part of price × blocks, whoever
// settles, withdraws or deposits how often, also several times in one block.
// The fraction that is left when the lease ends, less than one unit, stays with
// the tenant: it was never taken out of the deposits.
//
// A price that changes ([Book.Reprice]) holds from a height on: the lease costs
// the whole part of the sum of each price × its blocks.
//
// Deposits are spent first in, first out, per denomination: a later deposit waits
// behind all earlier ones, also when its depositor has one there already. A payment
// touches only deposits of its own denomination.
//
// # Overdraft
//
// Where the funds of a denomination do not cover what falls due in a block,
// they are shared among its payments in proportion to what each is due, to the
// last unit, by largest remainder. From then on the payment is overdrawn: the
// price goes on falling due as Unpaid. The height and the shares do not depend
// on when somebody looks: a settlement long after gives what settling in every
// block would have given. A deposit pays unpaid dues first, in proportion; when
// none are left the payment is open again. How long to wait for that is the
// caller's (grace).
//
// A payment that is closed before its dues are paid goes on being owed them: the
// account stays overdrawn, deposits pay that first, in proportion with the rest
// ([Book.Redeem]), and no new payment starts before. Only with the account does
// the debt end. So ending a lease and beginning another buys no new grace.
//
//	payment  open -> overdrawn -> open, open|overdrawn -> closed
//	account  overdrawn while something is unpaid, else open; closed is final
//	lease    active -> closing -> closed, active -> closed
//
// # Retainers
//
// A [Retained] is a retainer being settled: an account with one depositor and
// one payment, without grace, that may expire. Its arithmetic is that of leases.
package lease
