// Package policyagent enforces NetworkPolicy objects on the nodes of the test
// cluster: it watches pods, namespaces and policies and writes one nftables table.
// It exists because no engine that can be had here does it; it is for tests and
// knows one node or several that share nothing but the objects.
//
// [Render] is pure. Who judges it is somebody else: the matcher of cyclonus, by
// random objects, and real packets.
//
// By the rules of networking.k8s.io/v1 a pod that policies select for a direction
// may have what any of them allows in that direction, and every other pod has all;
// the node of a pod always reaches it. What a pod sends to its own node is judged
// like everything else that leaves it. Pods in the host's network have no policies.
package policyagent
