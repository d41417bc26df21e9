package sdl

import "github.com/moorage-dev/moorage/sdl/manifest"

// Bounds on a document. They hold before anything is believed about it, so that
// no input makes the compiler use unreasonable time or memory. The time to
// compile grows linearly with the document up to each of them.
const (
	// MaxBytes is the size of a document: 32 MiB holds a hundred thousand
	// services, far beyond what any market takes.
	MaxBytes = 32 << 20
	// MaxNodes is the number of keys, values and items: about 250 MB of memory.
	MaxNodes = 4_000_000
	// MaxGeneralNodes is the same for a document that needs the general YAML
	// parser, because of anchors, tabs or unusual layout: that parser
	// takes five times the memory per node. What is bounded is an estimate: the
	// count of line ends and of the characters that can begin a node.
	MaxGeneralNodes = 1_500_000
	// MaxDepth is how deep mappings and lists nest: the bound of the YAML library.
	// The grammar needs 10, but keys that are ignored may hold anything.
	MaxDepth = 10_000
	// MaxKeys is the number of keys of one mapping.
	MaxKeys = 500_000
	// MaxAliases is the number of places that use an anchor.
	MaxAliases = 10_000
	// MaxExpansions is the number of nodes read through aliases: what keeps an
	// alias bomb small.
	MaxExpansions = 200_000
	// MaxDiagnostics is the number of problems reported for one document. The
	// last one says that there are more.
	MaxDiagnostics = 1_000
)

// Ranges of values, all inclusive. Those marked "strict" are named by the
// reference but not enforced by it: passing them is a warning in
// [ModeCompatible] and an error in [ModeStrict].
const (
	MinMilliCores        = 10
	MaxMilliCores        = 384_000
	MaxGPUs              = 24
	MinMemoryBytes       = 1 << 20
	MaxMemoryBytes       = 2 << 40
	MinVolumeBytes       = 5 << 20
	MaxVolumeBytes       = 32 << 40
	MaxPrice             = 10_000_000
	MaxGroupMilliCores   = 50 * MaxMilliCores
	MaxGroupGPUs         = 50 * MaxGPUs
	MaxGroupMemoryBytes  = 50 * MaxMemoryBytes
	MaxGroupStorageBytes = 50 * MaxVolumeBytes // strict
	MaxReplicas          = 50                  // strict
	MaxGroups            = 20                  // strict
	MaxUnits             = 20                  // strict
	MaxPort              = 65535
	MaxServiceNameLength = 63 // strict; what Kubernetes takes
)

// Defaults and ranges of HTTP options: sizes in bytes, times in milliseconds.
// The ranges are those of the manifest.
const (
	DefaultBodySize    = 1 << 20
	MaxBodySize        = manifest.MaxBodySize
	DefaultReadTimeout = 60_000
	MaxReadTimeout     = manifest.MaxReadTimeout
	DefaultSendTimeout = 60_000
	MaxSendTimeout     = manifest.MaxSendTimeout
	DefaultNextTries   = 3
	MaxProxyBufferSize = manifest.MaxProxyBufferSize
)
