package sdl

import (
	"time"

	"github.com/moorage-dev/moorage/market"
)

// Document is an SDL document of any version as Go values. [Parse] makes one
// out of text; a program can also fill one in and compile it with
// [Document.Compile] or write it with [Document.Marshal].
//
// Lists are in the order of the text. Names inside each list are unique. The
// Pos fields say where an entry starts; they are ignored when writing.
type Document struct {
	// Version is the version as written, for example "2.0". See [Document.Dialect].
	Version string
	// Include is read and has no effect.
	Include     []string
	Services    []Service
	Compute     []ComputeProfile
	Placement   []PlacementProfile
	Deployment  []Deployment
	Endpoints   []Endpoint
	Reclamation *Reclamation

	tree *tree
	// dialect is what the text was parsed as, 0 for a document built in Go.
	dialect Dialect
	// repeated is set when a top-level key came twice.
	repeated bool
	// fromGo is set when the values may have been changed since reading.
	fromGo bool
}

// Dialect is the way a version is compiled.
type Dialect uint8

// Dialects. Version 2.0 makes a resource unit of each service; 2.1 and all
// later ones make one of all services of a placement that use one profile.
const (
	Dialect20 Dialect = iota + 1
	Dialect21
)

// Service is what runs: one container image and how it is reached.
type Service struct {
	Name  string
	Image string
	// Command, Args and Env: nil is an absent key, which compiles differently
	// from an empty list. Env holds NAME=VALUE or NAME.
	Command, Args, Env []string
	Expose             []Expose
	// Dependencies names services; it is read and has no effect.
	Dependencies []string
	Params       *Params
	Credentials  *Credentials
	Pos          Pos

	node int32
}

// Expose opens a port of a service.
type Expose struct {
	// Port is where the container listens, 1 to 65535.
	Port uint32
	// As is the port outside, 0 for the same.
	As uint32
	// Proto is tcp or udp in any case; "" is TCP.
	Proto string
	// Accept lists host names; nil is an absent key.
	Accept []string
	// To lists who may reach the port; none is every service of the group.
	To          []ExposeTo
	HTTPOptions HTTPOptions
	Pos         Pos

	node int32
}

// ExposeTo lets somebody reach a port.
type ExposeTo struct {
	// Service is the one service that may; "" is every service.
	Service string
	// Global opens the port to the world.
	Global bool
	// IP names a declared endpoint whose leased address carries the port.
	IP  string
	Pos Pos

	node int32
}

// HTTPOptions tune the HTTP router; 0 and empty stand for the default. Sizes
// are bytes, times milliseconds.
type HTTPOptions struct {
	// MaxBodySize is at most 104857600, 1048576 by default.
	MaxBodySize uint32
	// ReadTimeout and SendTimeout are at most and by default 60000.
	ReadTimeout, SendTimeout uint32
	// NextTries is 3 by default.
	NextTries   uint32
	NextTimeout uint32
	// NextCases is error and timeout by default.
	NextCases []string
	// ProxyBufferSize is at most 1048576; 0 leaves it to the provider.
	ProxyBufferSize uint32
}

// Params are optional settings of a service.
type Params struct {
	Storage []Mount
	// Permissions is nil when the key is absent.
	Permissions *Permissions
	// TEE is "", "cpu" or "cpu-gpu".
	TEE string

	node int32
}

// Permissions say what the workload may read about itself: deployment, logs,
// events.
type Permissions struct {
	Read []string

	node int32
}

// Mount attaches a volume of the compute profile to the file system.
type Mount struct {
	// Volume names a volume of the profile.
	Volume string
	// Path is absolute.
	Path     string
	ReadOnly bool
	Pos      Pos

	node int32
}

// Credentials log in to the registry of an image. They are redacted in every
// printing form.
type Credentials struct {
	Host, Email, Username, Password string

	node int32
}

// ComputeProfile is what one replica needs. A nil part is an absent key.
type ComputeProfile struct {
	Name string
	// Resources is false when a text has no such key; such a profile cannot be
	// used. Building in Go it need not be set.
	Resources bool
	CPU       *CPU
	Memory    *Memory
	GPU       *GPU
	Storage   []Volume
	Pos       Pos

	node int32
}

// CPU is processor time.
type CPU struct {
	// MilliCores is thousandths of a core, 10 to 384000.
	MilliCores uint32
	// Attributes holds "arch" at most.
	Attributes market.Attributes

	node int32
}

// Memory is main memory in bytes, 1 MiB to 2 TiB.
type Memory struct {
	Bytes uint64

	node int32
}

// GPU is a number of cards.
type GPU struct {
	// Units is 0 to 24.
	Units uint64
	// Attributes says which cards; needed when Units is not 0, else nil.
	Attributes *GPUAttributes

	node int32
}

// GPUAttributes list the acceptable models of NVIDIA, any when empty.
type GPUAttributes struct {
	Nvidia []GPUModel

	node int32
}

// GPUModel is one acceptable model.
type GPUModel struct {
	// Model is the name, for example "a100".
	Model string
	// RAM is the memory of the card in bytes, rounded down to whole GiB when
	// compiled; nil for any.
	RAM *uint64
	// Interface is "", "pcie" or "sxm".
	Interface string
	Pos       Pos

	node int32
}

// Volume is storage of one replica.
type Volume struct {
	// Name is "default" when the text gives none.
	Name string
	// Bytes is 5 MiB to 32 TiB.
	Bytes uint64
	// Attributes is nil for plain ephemeral storage.
	Attributes *VolumeAttributes
	Pos        Pos

	node int32
}

// VolumeAttributes say what kind of storage a volume is.
type VolumeAttributes struct {
	// Persistent storage outlives its containers.
	Persistent bool
	// Class is default, beta1, beta2, beta3 or ram, or "".
	Class string
}

// PlacementProfile says where to run and at what price.
type PlacementProfile struct {
	Name string
	// Attributes a provider must have, sorted by key.
	Attributes market.Attributes
	// SignedBy names auditors. nil and empty lists differ in the group spec.
	SignedBy market.SignedBy
	// Pricing has an entry for each profile that runs here.
	Pricing []ProfilePrice
	Pos     Pos

	node int32
}

// ProfilePrice is the most to be paid for one replica of a profile for one
// block.
type ProfilePrice struct {
	Profile string
	Price   market.Price
	Pos     Pos

	node int32
	// unset marks a null entry.
	unset bool
}

// Deployment says where a service runs.
type Deployment struct {
	Service    string
	Placements []ServicePlacement
	Pos        Pos

	node int32
}

// ServicePlacement runs Count replicas of a service in a placement.
type ServicePlacement struct {
	Placement string
	Profile   string
	Count     uint32
	Pos       Pos

	node int32
}

// Endpoint declares a leased address.
type Endpoint struct {
	Name string
	// Kind is "ip".
	Kind string
	Pos  Pos

	node int32
}

// Reclamation is what the tenant asks of a provider that wants a lease back.
type Reclamation struct {
	// MinWindow is the notice, more than 0.
	MinWindow time.Duration

	node int32
}

// Dialect returns how the document is compiled: by the version, or [Dialect20]
// when the version is unknown.
func (d *Document) Dialect() Dialect {
	if d.dialect != 0 {
		return d.dialect
	}
	dialect, _ := parseVersion(d.Version)
	if dialect == 0 {
		return Dialect20
	}
	return dialect
}
