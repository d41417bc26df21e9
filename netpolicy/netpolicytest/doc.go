// Package netpolicytest is the conformance suite of renderers of network policies:
// for worlds of leases, by hand and at random, what a renderer made of their
// policies must let through exactly the packets that [netpolicy.Policy.Evaluate]
// allows.
//
// A renderer's test describes in a [Harness] how to render a [World] and how to ask
// the result about a [Packet]: an interpreter of the rendered text, somebody else's
// reading of it, or real packets. Then it calls [Run].
//
// Cases are functions that return errors, so the suite itself can be tested: it
// catches policies with one fault each ([Faults]), and so can the test of a renderer.
// Package nfteval interprets nftables.
package netpolicytest
