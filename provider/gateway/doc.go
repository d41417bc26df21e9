// Package gateway is the front door of a provider: an HTTPS interface through
// which tenants send manifests and see, read and enter what runs for them.
package gateway
