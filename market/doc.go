// Package market holds the vocabulary of a compute marketplace: who deploys,
// what is asked for, what is offered, what is agreed and what it costs.
//
// Everything here is a value. An [OrderID], a [GroupSpec] or a [Price] means
// the same on a blockchain, in memory and inside a provider. Heights are passed
// in; nothing in this package reads a clock, opens a file, keeps a global or
// starts a goroutine, and it links only the standard library.
//
// Start with [GroupSpec] (what a tenant asks for), [OrderID] (the thing
// providers bid on) and [Client] (how a program talks to a market, wherever it
// is hosted). The rules that move these values from state to state are in
// package market/machine; the arithmetic of escrow is in package lease.
//
// # States
//
//	deployment  active -> closed
//	group       open -> paused -> open, open -> starved -> open, any -> closed
//	order       open -> matched -> closed, open -> closed
//	bid         open -> won|lost|withdrawn, won -> closed, withdrawn -> open
//	lease       active -> closing -> closed, active -> closed
//	account     open -> overdrawn -> open, open|overdrawn -> closed
//	payment     open -> overdrawn -> open, open|overdrawn -> closed
//	retainer    open -> closed -> open
//
// Who causes each transition, and what it moves in money, is in
// docs/state-machines.md.
//
// Amounts of money are integers: [Amount] counts whole units of a denomination,
// [Decimal] is an exact fixed-point number with 18 decimals, used for prices
// per block. Memory and storage are bytes, CPU is thousandths of a core.
package market
