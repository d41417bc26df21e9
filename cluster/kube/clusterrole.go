package kube

import _ "embed" // the file is what an operator applies

//go:embed clusterrole.yaml
var clusterRole []byte

// ClusterRole returns the rights that the driver needs, as YAML for kubectl
// apply: one ClusterRole named moorage-kube. Nothing else is needed, and tests
// run with nothing else.
func ClusterRole() []byte { return append([]byte(nil), clusterRole...) }
