// Package image keeps OCI images on disk for runtimes that have no engine of
// their own. Start from [New]; [Store.Pull] brings an image from a registry or
// from an OCI image layout, [Store.Image] says where its layers lie.
//
// Layers are unpacked once each, in the form that overlayfs stacks: a whiteout
// is a character device 0:0, an opaque directory has the attribute
// trusted.overlay.opaque. The folder is named by the layer's diff ID (digest of
// the uncompressed tar), and content is checked against it while it streams in,
// so a damaged or forged layer is never used. An image is recorded only after
// all its layers are on disk and synced: a crash leaves nothing half done that
// would be taken for whole.
//
// A private image is not given to whoever knows its name: the registry is asked
// at every pull, and when it cannot be reached the cached copy serves only a
// request with the credentials it came with (kept as a keyed hash).
//
// Unpacking needs root on Linux. The store runs no goroutine of its own.
//
// It follows the OCI image specification 1.1 (image-layout, layer: whiteouts).
package image
