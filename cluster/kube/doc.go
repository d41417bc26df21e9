// Package kube is the driver for Kubernetes clusters: it turns the workload of
// a lease into objects, keeps them true, reports them and takes them away.
package kube
