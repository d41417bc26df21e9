// Package machine is the market as one pure machine: every rule of
// deployments, groups, orders, bids, leases, escrow, providers, audits and
// certificates, joined. It does no I/O of its own, reads no clock and starts no
// goroutine; the host brings storage, money, height and time.
//
// A host of the market keeps a [State] (one [Table] per kind of thing), lends
// the machine a [Bank], and calls
//
//	m := machine.Machine{State: state, Bank: bank, Params: params}
//	events, err := m.Execute(at, msg) // for every message of a block, in order
//	events, err := m.EndBlock(at)     // once, after them
//
// On an error the host discards everything that was written since the call
// began, or since the batch of messages began that must be carried out
// together. The machine keeps nothing between calls: it may be made anew for
// each.
//
// Signatures, fees for block space, sequence numbers and the order of messages
// are the host's. Before Execute the host makes sure that msg.Signer() has
// signed. The machine trusts that and checks everything else.
//
// Every refusal is a [market.RuleError] with a stable name; any other error
// comes from storage, from the bank, or from state that breaks an invariant.
//
// # What a message costs
//
// Work is bounded by the parameters: a message touches its deployment's groups
// and open payments and its order's open bids, never closed ones and never
// those of others; a message on a retainer touches nothing but that. EndBlock handles at most [MaxTimersPerBlock] due things;
// what is left over waits for the next block, and money comes out the same.
package machine
