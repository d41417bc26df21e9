// Package docker runs containers by an engine that speaks the Docker API on a
// unix socket: Docker or Podman. Start from [New].
//
// The engine keeps containers, so they survive the program. What is Moorage's is
// known by labels: dev.moorage.instance, and names begin with moorage-INSTANCE-.
// The instance comes from the state directory unless it is given.
//
// Containers get the engine's default seccomp profile, the capabilities that
// package runc leaves (no NET_RAW, no MKNOD), no new privileges, limits for
// processor, memory without swap and processes, bounded logs, a network of their
// own kind. What an engine does not give, and package runc does: user namespaces
// (unless the engine remaps), a writable layer that is bounded by itself (it is
// measured while this program runs, and the container killed), and walls toward
// the host: a container reaches services of the host that listen on the bridge's
// address or on all. Put a firewall there, or prefer package runc.
//
// Image digests that Pull returns are the engine's image IDs (the digest of the
// configuration), as engines run by those.
//
// The state directory must be seen under the same path by the engine: /etc/hosts
// of containers lies there.
package docker
