// Package gateway is the front door of a provider: an HTTPS interface through
// which tenants send manifests and see, read and enter what runs for them.
//
// Start with [New], which needs a [Backend], and [Gateway.Serve]; or mount the
// [Gateway], an [http.Handler], in a server of your own that asks for client
// certificates. The client is package provider/gateway/client, the documents are
// in provider/gateway/api, the certificates in provider/gateway/mtls and the
// framing of streams in provider/gateway/stream.
//
// # Who may do what
//
// Every route is in one table with the scope it needs ([Routes]). A caller
// without a credential gets the public ones and 401 for all others, before
// anything of the request is looked at. A credential is a client certificate that
// its account has published on the market, verified for each request, or a bearer
// token when a [TokenVerifier] is configured; both at once are refused. The tenant
// is the account that the credential proves, and IDs are made with it, so that
// nobody can name a lease of somebody else: what is not one's own is not found.
//
// # Answers
//
// Answers are JSON. Every refusal is an [api.Body] with the status of its code.
// Logs and events come as newline-delimited JSON to a plain GET, and over
// WebSocket in the frames of package stream, as shells do; those streams survive a
// short loss of connection. All bounds are in [Limits] and the constants here. A
// plain stream whose reader takes nothing for [WriteTimeout] is cut off. A slow
// reader holds up its own stream and what feeds it, nobody else's.
//
// The package opens no sockets but those it is given, and knows no cluster and no
// chain.
package gateway
