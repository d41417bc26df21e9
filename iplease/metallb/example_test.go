package metallb_test

import (
	"context"
	"fmt"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/moorage-dev/moorage/iplease/metallb"
	"github.com/moorage-dev/moorage/market"
)

// An announcer for the cluster that the driver uses: it finds pods where the
// driver puts them.
func Example() {
	config := &rest.Config{Host: "https://192.0.2.1:6443"}
	announcer, err := metallb.New(metallb.Config{
		Client:  kubernetes.NewForConfigOrDie(config),
		Dynamic: dynamic.NewForConfigOrDie(config),
		Place: func(_ market.LeaseID, service string) metallb.Place {
			// With the driver of package cluster/kube: kube.Namespace and kube.Selector.
			return metallb.Place{Namespace: "lease", Selector: map[string]string{"moorage.dev/service": service}}
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // a program runs it for as long as it lives
	fmt.Println(announcer.Run(ctx), announcer.Close())
	// Output: context canceled <nil>
}
