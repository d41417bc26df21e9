package kube

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/cluster/kube/internal/render"
)

// resolve finds out where the cards of a workload are. The caller holds mu.
func (d *Driver) resolve(driver.Workload) (render.Resolution, error) { return render.Resolution{}, nil }

// cards lists the cards of a node.
func (d *Driver) cards(*corev1.Node, corev1.ResourceList, corev1.ResourceList) []inventory.GPU {
	return nil
}
