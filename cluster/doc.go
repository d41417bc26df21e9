// Package cluster is the portable type over a driver of package
// cluster/driver: what a program uses to run workloads, whatever the back end.
//
// Start with [New]. A [Cluster] checks arguments, serializes Apply and Delete
// per lease, keeps revisions in order, repeats what failed for a reason that
// may pass, waits until a workload is ready, tells changes ("drift") and
// compares what runs with what should ([Cluster.Recover]). It starts nothing by
// itself and keeps no state that a restart would lose.
//
// Every error is an [Error]; callers match the sentinels of package
// cluster/driver with [errors.Is]: ErrNotFound, ErrExhausted, ErrInvalid,
// ErrConflict, ErrClosed, and [errors.ErrUnsupported] for an ability the driver
// does not have.
package cluster
