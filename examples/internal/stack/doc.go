// Package stack puts the parts together that the example programs share: a
// provider with its cluster and gateway, and a tenant with its credentials.
package stack
