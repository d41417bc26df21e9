package kube_test

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/moorage-dev/moorage/cluster/clustertest"
	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/kube"
	"github.com/moorage-dev/moorage/cluster/kube/internal/render"
)

// abilities are what the driver and the test cluster can.
func (r *rig) abilities() []clustertest.Ability {
	all := []clustertest.Ability{
		clustertest.Watch, clustertest.Logs, clustertest.Exec, clustertest.Hostnames, clustertest.Reopen,
		clustertest.Names, clustertest.Images, clustertest.Restarts,
	}
	if r.ours() { // elsewhere nobody knows how to reach the router and the nodes, what classes there are and what is enforced
		all = append(all, clustertest.HTTP, clustertest.Forward, clustertest.Persistence, clustertest.Policy, clustertest.Isolation)
	}
	return all
}

func TestConformance(t *testing.T) {
	r := realCluster(t)
	clustertest.Run(t, r.harness(func(cfg *kube.Config) {}))
}

// harness runs each case as another provider on the shared cluster.
func (r *rig) harness(with func(*kube.Config)) clustertest.Harness {
	return clustertest.Harness{
		Abilities: r.abilities(), Image: r.guest, Guest: []string{"/guestd"}, MissingImage: "127.0.0.1:5000/none:1", Patience: 90 * time.Second,
		New: func(t *testing.T) *clustertest.Cluster {
			t.Helper()
			name := instance()
			r.sweep(t, name)
			cfg := r.config(name)
			with(&cfg)
			d := &renamed{open(t, cfg), name}
			return &clustertest.Cluster{
				Driver: d, Get: r.get, Ask: r.ask,
				Reopen: func(ctx context.Context) (driver.Driver, error) {
					if err := d.Close(); err != nil {
						return nil, err
					}
					next, err := openDriver(ctx, cfg, t.Cleanup)
					d = &renamed{next, name}
					return d, err
				},
			}
		},
	}
}

// deleteNamespaces deletes what an instance has, without waiting until it is
// gone. Pods are gone from the server at once: room that they took would come
// back in the middle of the next test.
func (r *rig) deleteNamespaces(ctx context.Context, instance string) error {
	list, err := r.Client().CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: render.LabelInstance + "=" + instance})
	if err != nil {
		return err
	}
	for _, ns := range list.Items {
		if ns.DeletionTimestamp == nil { // names of hosts are free at once
			err := r.Client().NetworkingV1().Ingresses(ns.Name).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
			if err != nil {
				return err
			}
			if err := r.Client().CoreV1().Namespaces().Delete(ctx, ns.Name, metav1.DeleteOptions{}); err != nil {
				return err
			}
			now := metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}
			if err := r.Client().CoreV1().Pods(ns.Name).DeleteCollection(ctx, now, metav1.ListOptions{}); err != nil {
				return err
			}
		}
	}
	return nil
}
