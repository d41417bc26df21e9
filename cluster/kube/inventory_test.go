package kube_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/cluster/kube"
	"github.com/moorage-dev/moorage/market"
)

// addNode adds a node that exists only as an object, ready until the test ends.
func (r *rig) addNode(t *testing.T, name string, labels map[string]string, allocatable corev1.ResourceList) {
	t.Helper()
	nodes := r.Client().CoreV1().Nodes()
	// A taint keeps the cluster's own pods away; it is lifted by toleration of none.
	_, err := nodes.Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, nodes.Delete(context.Background(), name, metav1.DeleteOptions{})) })
	status := corev1.NodeStatus{
		Allocatable: allocatable, Capacity: allocatable, NodeInfo: corev1.NodeSystemInfo{Architecture: "arm64"},
		Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now()}},
	}
	eventually(t, func() error { // the cluster writes to it too
		n, err := nodes.Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		n.Status = status
		_, err = nodes.UpdateStatus(t.Context(), n, metav1.UpdateOptions{})
		return err
	})
	eventually(t, func() error { // the taint of new nodes
		n, err := nodes.Get(t.Context(), name, metav1.GetOptions{})
		if err != nil || len(n.Spec.Taints) == 0 {
			return err
		}
		n.Spec.Taints = nil
		return patch(nodes.Update(t.Context(), n, metav1.UpdateOptions{}))
	})
}

func named(nodes []inventory.Node, name string) (inventory.Node, error) {
	i := slices.IndexFunc(nodes, func(n inventory.Node) bool { return n.Name == name })
	if i < 0 {
		return inventory.Node{}, fmt.Errorf("no node %s among %d", name, len(nodes))
	}
	return nodes[i], nil
}

func TestNodesAreWhatPodsOfOthersLeave(t *testing.T) {
	r := realCluster(t)
	d := open(t, r.config(instance()))
	told := make(chan struct{})
	watching, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	go func() {
		for nodes, err := range d.WatchNodes(watching) {
			if _, missing := named(nodes, "big"); err == nil && missing == nil {
				close(told)
				return
			}
		}
	}()
	r.addNode(t, "big", map[string]string{"attributes.moorage.dev/region": "eu"}, corev1.ResourceList{
		"cpu": resource.MustParse("8"), "memory": resource.MustParse("16Gi"), "ephemeral-storage": resource.MustParse("100Gi"), "pods": resource.MustParse("110"),
	})
	select {
	case <-told:
	case <-watching.Done():
		t.Fatal("nobody was told of the new node")
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "foreign", Namespace: "default"},
		Spec: corev1.PodSpec{
			NodeName: "big", AutomountServiceAccountToken: new(false),
			InitContainers: []corev1.Container{{Name: "i", Image: "x", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("3")}}}},
			Containers: []corev1.Container{{Name: "c", Image: "x", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
				"cpu": resource.MustParse("1500m"), "memory": resource.MustParse("2Gi"),
			}}}},
		},
	}
	_, err := r.Client().CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, r.Client().CoreV1().Pods("default").Delete(context.Background(), "foreign", metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}))
	})
	eventually(t, func() error {
		nodes, err := d.Nodes(t.Context())
		if err != nil {
			return err
		}
		n, err := named(nodes, "big")
		if err == nil && (n.Allocatable.MilliCores != 5000 || n.Allocatable.MemoryBytes != 14<<30) {
			err = fmt.Errorf("%+v", n)
		}
		return err
	})
	nodes, err := d.Nodes(t.Context())
	require.NoError(t, err)
	n, err := named(nodes, "big")
	require.NoError(t, err)
	assert.Equal(t, "arm64", n.Architecture)
	assert.Equal(t, market.Attributes{{Key: "region", Value: "eu"}}, n.Attributes)
	assert.EqualValues(t, 100<<30, n.Allocatable.EphemeralBytes)
	assert.NotEmpty(t, n.Allocatable.PersistentBytes)

	_, err = r.Client().CoreV1().Nodes().Patch(t.Context(), "big", "application/merge-patch+json", []byte(`{"spec":{"unschedulable":true}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	eventually(t, func() error {
		nodes, err := d.Nodes(t.Context())
		if _, missing := named(nodes, "big"); err == nil && missing == nil {
			err = fmt.Errorf("a node that takes no pods is still for sale")
		}
		return err
	})
}

func TestCardsAreFoundAndAskedFor(t *testing.T) {
	r := realCluster(t)
	name := instance()
	r.sweep(t, name)
	d := open(t, r.config(name))
	r.addNode(t, "cards", map[string]string{"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB", "nvidia.com/gpu.memory": "81920"}, corev1.ResourceList{
		"cpu": resource.MustParse("8"), "memory": resource.MustParse("16Gi"), "ephemeral-storage": resource.MustParse("100Gi"), "pods": resource.MustParse("110"),
		"nvidia.com/gpu": resource.MustParse("2"),
	})
	eventually(t, func() error {
		nodes, err := d.Nodes(t.Context())
		if err != nil {
			return err
		}
		n, err := named(nodes, "cards")
		if err == nil && len(n.Allocatable.GPUs) != 2 {
			err = fmt.Errorf("%+v", n.Allocatable.GPUs)
		}
		return err
	})
	nodes, err := d.Nodes(t.Context())
	require.NoError(t, err)
	n, err := named(nodes, "cards")
	require.NoError(t, err)
	assert.Equal(t, inventory.GPU{ID: "nvidia-0", Vendor: "nvidia", Model: "a100", MemoryBytes: 80 << 30, Interface: "sxm"}, n.Allocatable.GPUs[0])

	s := r.service("train", "x")
	s.Resources.GPU = market.GPU{Units: 1, Attributes: market.Attributes{{Key: "vendor/nvidia/model/h100", Value: "true"}}}
	require.ErrorIs(t, d.Apply(t.Context(), workload(lease(name, 1), 1, s)), driver.ErrInvalid)
	s.Resources.GPU.Attributes[0].Key = "vendor/nvidia/model/a100/ram/80Gi/interface/sxm"
	require.NoError(t, d.Apply(t.Context(), workload(lease(name, 1), 1, s)))
	eventually(t, func() error {
		dep, err := r.Client().AppsV1().Deployments(kube.Namespace(lease(name, 1))).Get(t.Context(), "train", metav1.GetOptions{})
		if err != nil {
			return err
		}
		pod := dep.Spec.Template.Spec
		terms := pod.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
		assert.Equal(t, []string{"NVIDIA-A100-SXM4-80GB"}, terms[0].MatchExpressions[0].Values)
		cards := pod.Containers[0].Resources.Limits["nvidia.com/gpu"]
		assert.EqualValues(t, 1, cards.Value())
		return nil
	})
}

func TestProductNamesAreRead(t *testing.T) {
	rows := map[string]inventory.GPU{
		"NVIDIA-A100-SXM4-80GB":      {Vendor: "nvidia", Model: "a100", MemoryBytes: 80 << 30, Interface: "sxm"},
		"NVIDIA-A100-PCIE-40GB":      {Vendor: "nvidia", Model: "a100", MemoryBytes: 40 << 30, Interface: "pcie"},
		"NVIDIA-H100-80GB-HBM3":      {Vendor: "nvidia", Model: "h100", MemoryBytes: 80 << 30},
		"NVIDIA-GeForce-RTX-4090":    {Vendor: "nvidia", Model: "rtx4090"},
		"NVIDIA-GeForce-RTX-3060-Ti": {Vendor: "nvidia", Model: "rtx3060ti"},
		"Tesla-T4":                   {Vendor: "nvidia", Model: "t4"},
		"NVIDIA-RTX-A6000":           {Vendor: "nvidia", Model: "rtxa6000"},
		"NVIDIA L40S":                {Vendor: "nvidia", Model: "l40s"},
		"":                           {Vendor: "nvidia"},
		"Quadro-RTX-8000-SHARED":     {Vendor: "nvidia", Model: "rtx8000"},
		"NVIDIA-H200-NVL":            {Vendor: "nvidia", Model: "h200"},
	}
	for product, want := range rows {
		assert.Equal(t, want, kube.ParseProduct("nvidia", product), product)
	}
}
