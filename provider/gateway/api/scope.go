package api

import (
	"slices"

	"github.com/moorage-dev/moorage/market"
)

// Scope is a right that a credential grants and a route needs, in the spelling
// of AEP-64. Every route of the gateway names exactly one.
type Scope string

// Scopes. They leave the process in tokens: do not rename.
const (
	// ScopePublic needs no credential.
	ScopePublic Scope = "public"
	// ScopeAny needs a valid credential, whatever it grants.
	ScopeAny             Scope = "any"
	ScopeSendManifest    Scope = "send-manifest"
	ScopeGetManifest     Scope = "get-manifest"
	ScopeLogs            Scope = "logs"
	ScopeShell           Scope = "shell"
	ScopeEvents          Scope = "events"
	ScopeStatus          Scope = "status"
	ScopeRestart         Scope = "restart"
	ScopeHostnameMigrate Scope = "hostname-migrate"
	ScopeIPMigrate       Scope = "ip-migrate"
	ScopeAttestation     Scope = "attestation"
)

// GrantableScopes returns the scopes a token can grant, in the order of AEP-64.
func GrantableScopes() []Scope {
	return []Scope{
		ScopeSendManifest, ScopeGetManifest, ScopeLogs, ScopeShell, ScopeEvents, ScopeStatus,
		ScopeRestart, ScopeHostnameMigrate, ScopeIPMigrate, ScopeAttestation,
	}
}

// Grantable reports whether a token can grant the scope.
func (s Scope) Grantable() bool { return slices.Contains(GrantableScopes(), s) }

// Access is what a request wants, as far as grants can depend on it.
type Access struct {
	Scope    Scope
	Provider market.Address
	// DSeq is 0 for requests that are about no deployment.
	DSeq uint64
	// GSeq and OSeq are 0 for requests that are about a whole deployment.
	GSeq, OSeq uint32
	// Service is "" for requests that are about all services. Such a request is
	// allowed when it is for any; what it reads is then cut down by asking again
	// for each group and service.
	Service string
}

// Grants is what a credential allows.
type Grants interface {
	// Allows reports whether the access is granted. It is not asked for
	// [ScopePublic] and [ScopeAny].
	Allows(a Access) bool
}

// All grants everything, as a certificate does.
type All struct{}

// Allows implements [Grants].
func (All) Allows(Access) bool { return true }

var _ Grants = All{}
