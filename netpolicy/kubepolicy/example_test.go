package kubepolicy_test

import (
	"fmt"

	"github.com/moorage-dev/moorage/netpolicy"
	"github.com/moorage-dev/moorage/netpolicy/kubepolicy"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

func ExampleRender() {
	group := manifest.Group{Services: []manifest.Service{
		{Name: "db", Expose: []manifest.Expose{{Port: 5432, Proto: manifest.TCP, Service: "web"}}},
		{Name: "web", Expose: []manifest.Expose{{Port: 8080, ExternalPort: 80, Proto: manifest.TCP, Global: true}}},
	}}
	policy, err := netpolicy.Compile(group, nil, netpolicy.Surroundings{})
	if err != nil {
		fmt.Println(err)
		return
	}
	objects, err := kubepolicy.Render(policy, kubepolicy.Options{Namespace: "lease-1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, o := range objects {
		fmt.Println(o.Name, o.Spec.PolicyTypes)
	}
	fmt.Println(kubepolicy.Stale(objects, []string{"moorage-in-cache", "moorage-in-web"}))
	// Output:
	// moorage-in-db [Ingress]
	// moorage-in-web [Ingress]
	// moorage-lease [Ingress Egress]
	// [moorage-in-cache]
}
