// Package gatewaytest has what tests of gateways and their clients need: a market
// registry and a provider in memory, a gateway on loopback, and a network that
// breaks when told to.
//
// Start with [Start].
package gatewaytest
