package kube

import (
	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/kube/internal/render"
)

// Policies says what surrounds leases, so that network policies can be rendered.
type Policies struct{}

// render makes the function that renders policies.
func (p *Policies) render(*render.Options) func(driver.Workload) ([]render.Object, error) {
	return func(driver.Workload) ([]render.Object, error) { return nil, nil }
}
