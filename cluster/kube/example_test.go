package kube_test

import (
	"context"
	"fmt"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/moorage-dev/moorage/cluster"
	"github.com/moorage-dev/moorage/cluster/kube"
	"github.com/moorage-dev/moorage/market"
)

func ExampleNamespace() {
	id, err := market.ParseLeaseID("akash1tenant/4711/1/1/akash1provider")
	fmt.Println(kube.Namespace(id), err)
	// Output:
	// moorage-e3nnu8mccdsjc6ci3h1u0tf8hdu1nb1dca5p1ql8df6go <nil>
}

// A provider on the cluster of the usual kubeconfig, with pages by ingress-nginx.
func ExampleNew() { //nolint:testableexamples // it needs a cluster
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	rest, err := clientcmd.BuildConfigFromFlags("", clientcmd.RecommendedHomeFile)
	if err != nil {
		fmt.Println(err)
		return
	}
	d, err := kube.New(kube.Config{
		REST: rest, Domain: "apps.provider.example", PublicHost: "provider.example",
		Router:         kube.Router{Ingress: "nginx", TLS: true},
		StorageClasses: map[string]string{"beta2": "ssd", "beta3": "nvme"},
		StorageBytes:   map[string]uint64{"beta2": 10 << 40, "beta3": 2 << 40},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := cluster.New(d, cluster.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = c.Close() }()
	go func() {
		if err := d.Run(ctx); err != nil {
			fmt.Println(err)
		}
	}()
	<-d.Ready()
	fmt.Println(c.List(ctx))
}
