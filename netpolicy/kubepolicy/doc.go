// Package kubepolicy renders a network policy of a lease as NetworkPolicy objects
// of Kubernetes (networking.k8s.io/v1).
//
// Start with [Render]. The objects stand in the lease's namespace, which has
// nothing else in it, and find pods by the label that carries the service's name.
// Applying them, and deleting those that [Stale] names, is the caller's.
//
// What a cluster's network does with the objects is up to it; by the rules of
// Kubernetes the node that a pod is on always reaches the pod, which health checks
// need, and addresses are judged after translation. [netpolicy.Surroundings] must
// list the ranges of pods, services and nodes where they are not private, and the
// pools of leased addresses: the objects know no nodes. A list of sources counts
// only where the client's address is kept (externalTrafficPolicy: Local).
package kubepolicy
