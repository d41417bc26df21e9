// Package node runs a chain of package market/chain/app inside a program: the
// application, CometBFT, and the servers that clients talk to.
//
// Start with [New] and [Node.Run]; [Node.Ready] tells when blocks are made, and
// [Node.Dial] connects a client without a network. With a home folder the chain
// goes on where it stopped, also after a power cut or kill -9; without one it
// lives in memory and ends with the program.
//
//	n, err := node.New(node.Config{Genesis: app.Genesis{ChainID: "lab-1", ...}})
//	go func() { done <- n.Run(ctx) }()
//	<-n.Ready()
//	conn, err := n.Dial()
//
// # Goroutines
//
// Run owns CometBFT's goroutines, one per server, and two that watch, and waits
// for all of them before it returns. CometBFT leaves two small ones behind per
// run, of the library that rotates its write-ahead log.
//
// # What CometBFT and the SDK force
//
// Importing this package links net/http/pprof, which adds handlers to
// [net/http.DefaultServeMux]: do not serve that mux to strangers. Metrics are
// off, since CometBFT registers them globally and a second node would panic.
package node
