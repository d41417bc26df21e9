// Package manifest holds what a tenant sends privately to the provider of a
// lease: which images run, with which environment, and which ports they open.
//
// The compiler in package sdl makes a [Manifest] out of a document. Its version
// hash is on the chain, so that a provider can tell that it got the right one.
// The package links only the standard library and package market.
package manifest

import "github.com/moorage-dev/moorage/market"

// Manifest is one [Group] per group of the deployment, in the same order.
type Manifest []Group

// Group is what runs in one placement.
type Group struct {
	Name string
	// Services are sorted by name.
	Services []Service
}

// Service is a set of equal replicas of one container.
//
// For Command, Args and Env nil and empty differ in the version hash: nil means
// that the document has no such key.
type Service struct {
	Name    string
	Image   string
	Command []string
	Args    []string
	// Env holds NAME=VALUE or NAME. It often holds secrets.
	Env []string
	// Resources of one replica; Resources.ID names the unit of the group spec.
	Resources   market.Resources
	Count       uint32
	Expose      []Expose
	Params      *Params
	Credentials *Credentials
}

// Protocol is a transport protocol.
type Protocol string

// Protocols, in the spelling of the canonical form.
const (
	TCP Protocol = "TCP"
	UDP Protocol = "UDP"
)

// Expose is a port that a service opens to somebody.
type Expose struct {
	// Port is where the container listens, 1 to 65535.
	Port uint32
	// ExternalPort is the port that clients use; 0 means the same as Port.
	ExternalPort uint32
	Proto        Protocol
	// Service is the one service that may reach the port; "" with Global false
	// means every service of the group.
	Service string
	// Global opens the port to the world.
	Global bool
	// Hosts are the names that the tenant wants; nil and empty differ in the hash.
	Hosts       []string
	HTTPOptions HTTPOptions
	// IP names the leased address the port is on, "" for none.
	IP string
	// EndpointSequenceNumber numbers the leased address inside the deployment.
	EndpointSequenceNumber uint32
}

// External returns the port that clients use.
func (e Expose) External() uint32 {
	if e.ExternalPort != 0 {
		return e.ExternalPort
	}
	return e.Port
}

// HTTP reports whether the port is served by the provider's shared HTTP router:
// global, TCP, and port 80 outside.
func (e Expose) HTTP() bool { return e.Global && e.Proto == TCP && e.External() == 80 }

// HTTPOptions tune the HTTP router for one expose. Sizes are bytes, times
// milliseconds.
type HTTPOptions struct {
	MaxBodySize     uint32
	ReadTimeout     uint32
	SendTimeout     uint32
	NextTries       uint32
	NextTimeout     uint32
	NextCases       []string
	ProxyBufferSize uint32
}

// Params are optional settings of a service.
type Params struct {
	// Storage is sorted by volume name; nil prints as null.
	Storage     []StorageParams
	Permissions *Permissions
	TEE         *TEE
}

// StorageParams say where a volume is mounted.
type StorageParams struct {
	Name     string
	Mount    string
	ReadOnly bool
}

// Permissions say what the workload may read about itself.
type Permissions struct {
	Read []string
}

// TEE asks for a trusted execution environment.
type TEE struct {
	Type        string
	Attestation bool
}

// Credentials log in to the registry of an image. They never appear in text:
// every printing form is redacted.
type Credentials struct {
	Host     string
	Email    string
	Username string
	Password string
}
