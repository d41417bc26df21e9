// Package jwt makes and checks the bearer tokens of AEP-64: a tenant signs with
// the key of its account what a holder of the token may do on its leases, and
// gives it to a program or a person, who needs no key and no transaction.
//
// A provider puts a [Verifier] into gateway.Config.Tokens. A tenant fills in
// [Claims] and calls [Sign].
//
// The signature is ES256K (ECDSA on secp256k1 with SHA-256), or ES256KADR36 as
// browser wallets make it, where the signed text is wrapped in an ADR-36 document.
// The token names its issuer by address only. An address is the hash of a public
// key, so the key is recovered from the signature and hashed: a token is checked
// without asking the chain, also while that stands still. This works for accounts
// with one secp256k1 key; tokens of multisig accounts are refused.
//
// # What a token grants
//
// Access is full (everything), scoped (some scopes on every lease of the issuer)
// or granular (per provider; and there again full, scoped, or per deployment with
// scopes and services, and optionally group and order). A grant for some services
// of a deployment lets whole-deployment requests pass (a manifest cannot be sent
// in parts), and what is read is cut down to those services.
//
// AEP-64 has no audience. A token with an aud claim is good only for the provider
// it names; a granular one only for the providers in it.
package jwt
