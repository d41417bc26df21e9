// Package api holds what a gateway and its clients say to each other: the JSON
// documents, the error body, the scopes and what a credential grants.
//
// Start with [Error], the one form of every refusal, and [LeaseStatus]. The
// server is package provider/gateway, the client provider/gateway/client, the
// reliable framing of logs, events and shells provider/gateway/stream. Nothing
// here does input or output.
//
// All sizes are bytes, CPU is thousandths of a core, times are RFC 3339 in UTC.
// Paths and scopes follow the reference network's provider API where that makes
// sense.
package api
