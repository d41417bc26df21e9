// Package shim is the small process that stands beside each container: it owns
// libcontainer for that container, keeps its output, reaps it and records how it
// ended, and takes commands on a socket in the container's folder. It lives in a
// session, a mount namespace and a cgroup of its own, so that neither Ctrl-C nor
// the death of the agent touches it.
//
// Goroutines of a running shim: one per output stream, one that waits for the
// container, one that watches disk use, one that accepts connections and one for
// each of them. All end with the container; then the process exits.
package shim
