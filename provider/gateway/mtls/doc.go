// Package mtls makes and checks the certificates by which tenants and providers
// know each other.
//
// A certificate is self-signed: ECDSA on P-256, common name = the account's
// address, good for both ends of a TLS connection. What makes it worth anything
// is that its owner published it on the market with a signed
// [market.CreateCertificate]; no certificate authority has a part in it. So
// there is one rule for both directions: a certificate is good when the market
// has the very same bytes under (common name, serial number), not revoked, and
// the dates and key usages fit. The TLS handshake proves that the peer holds the
// key.
//
// Start with [Generate] and [NewVerifier]. A gateway asks for client
// certificates with [ServerConfig] and verifies each request's with
// [Verifier.Verify], so that a revocation also reaches connections that are
// open. A client dials with [Verifier.ClientConfig], which accepts a server only
// as the provider it means to speak to.
//
// The package reads no files and does not publish anything.
package mtls
