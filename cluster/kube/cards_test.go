package kube_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/kube"
	"github.com/moorage-dev/moorage/market"
)

// makersDriver is the name of a maker's device driver and of its class.
const makersDriver = "gpu.nvidia.com"

func card(name, product, memory string) resourcev1.Device {
	return resourcev1.Device{
		Name:       name,
		Attributes: map[resourcev1.QualifiedName]resourcev1.DeviceAttribute{"productName": {StringValue: &product}},
		Capacity:   map[resourcev1.QualifiedName]resourcev1.DeviceCapacity{"memory": {Value: resource.MustParse(memory)}},
	}
}

// models counts the cards that a driver sees, per model.
func models(ctx context.Context, d *kube.Driver) (map[string]int, error) {
	nodes, err := d.Nodes(ctx)
	out := map[string]int{}
	for _, n := range nodes {
		for _, g := range n.Allocatable.GPUs {
			out[g.Model]++
		}
	}
	return out, err
}

// TestCardsOfADeviceDriverAreCountedAndHandedOut has the scheduler allocate, and
// the kubelet prepare, what a device driver publishes.
func TestCardsOfADeviceDriverAreCountedAndHandedOut(t *testing.T) {
	r := realCluster(t)
	r.Own(t)
	cards, err := r.Cards(t.Context(), makersDriver, 1,
		card("a100-0", "NVIDIA-A100-SXM4-80GB", "80Gi"), card("a100-1", "NVIDIA-A100-SXM4-80GB", "80Gi"), card("t4-0", "Tesla-T4", "16Gi"))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, cards.Close(context.Background())) })
	name := instance()
	r.sweep(t, name)
	d := open(t, r.config(name))
	sees := func(want map[string]int) {
		t.Helper()
		eventually(t, func() error {
			got, err := models(t.Context(), d)
			if err == nil && !assert.ObjectsAreEqual(want, got) {
				err = fmt.Errorf("cards: %v, want %v", got, want)
			}
			return err
		})
	}
	sees(map[string]int{"a100": 2, "t4": 1})

	id := lease(name, 1)
	s := r.service("train", "on a card")
	s.Resources.GPU = market.GPU{Units: 1, Attributes: market.Attributes{{Key: "vendor/nvidia/model/t4", Value: "true"}}}
	require.NoError(t, d.Apply(t.Context(), workload(id, 1, s)))
	ready(t, d, id, 1)
	assert.Equal(t, []string{"t4-0"}, cards.Prepared(kube.Namespace(id)))
	sees(map[string]int{"a100": 2, "t4": 1}) // what leases have is the ledger's

	require.NoError(t, r.foreignCard(t, "NVIDIA-A100-SXM4-80GB"))
	sees(map[string]int{"a100": 1, "t4": 1})
	two := lease(name, 2)
	s.Resources.GPU = market.GPU{Units: 2, Attributes: market.Attributes{{Key: "vendor/nvidia/model/a100", Value: "true"}}}
	require.Error(t, d.Apply(t.Context(), workload(two, 1, s)), "one of the two is somebody else's")
	s.Resources.GPU.Units = 1
	require.NoError(t, d.Apply(t.Context(), workload(two, 1, s)))
	ready(t, d, two, 1)
	assert.Len(t, cards.Prepared(kube.Namespace(two)), 1)
	require.NoError(t, d.Delete(t.Context(), id))
	eventually(t, func() error {
		if got := cards.Prepared(kube.Namespace(id)); len(got) > 0 {
			return fmt.Errorf("still prepared: %v", got)
		}
		return nil
	})
	_, err = d.Status(t.Context(), id)
	require.ErrorIs(t, err, driver.ErrNotFound)
}

// foreignCard has a pod that is no lease's take a card until the test ends.
func (r *rig) foreignCard(t *testing.T, product string) error {
	t.Helper()
	claim := &resourcev1.ResourceClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "foreign", Namespace: metav1.NamespaceDefault},
		Spec: resourcev1.ResourceClaimSpec{Devices: resourcev1.DeviceClaim{Requests: []resourcev1.DeviceRequest{{
			Name: "gpu", Exactly: &resourcev1.ExactDeviceRequest{
				DeviceClassName: makersDriver, AllocationMode: resourcev1.DeviceAllocationModeExactCount, Count: 1,
				Selectors: []resourcev1.DeviceSelector{{CEL: &resourcev1.CELDeviceSelector{
					Expression: fmt.Sprintf("device.attributes[%q].productName == %q", makersDriver, product),
				}}},
			},
		}}}},
	}
	_, err := r.Client().ResourceV1().ResourceClaims(claim.Namespace).Create(t.Context(), claim, metav1.CreateOptions{})
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "foreign-card", Namespace: claim.Namespace},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: new(int64(0)),
			ResourceClaims:                []corev1.PodResourceClaim{{Name: "gpu", ResourceClaimName: &claim.Name}},
			Containers: []corev1.Container{{
				Name: "c", Image: r.guest, Resources: corev1.ResourceRequirements{Claims: []corev1.ResourceClaim{{Name: "gpu"}}},
			}},
		},
	}
	if err == nil {
		_, err = r.Client().CoreV1().Pods(pod.Namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	}
	t.Cleanup(func() {
		ctx := context.Background()
		assert.NoError(t, errors.Join(
			r.Client().CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{}),
			r.Client().ResourceV1().ResourceClaims(claim.Namespace).Delete(ctx, claim.Name, metav1.DeleteOptions{})))
	})
	return err
}
