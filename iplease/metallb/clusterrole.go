package metallb

import _ "embed" // the file is what an operator applies

//go:embed clusterrole.yaml
var clusterRole []byte

// ClusterRole returns the rights that an announcer needs, as YAML for kubectl
// apply: one ClusterRole named moorage-metallb. Nothing else is needed, and tests
// run with nothing else.
func ClusterRole() []byte { return append([]byte(nil), clusterRole...) }
