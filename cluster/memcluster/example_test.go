package memcluster_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/memcluster"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

func Example() {
	ctx := context.Background()
	d := memcluster.New(memcluster.Config{Programs: map[string]memcluster.Program{
		"hello:1": {HTTP: func(p memcluster.Process) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello from ", p.Service) })
		}},
	}})
	id, _ := market.ParseLeaseID("tenant/1/1/1/provider")
	service := manifest.Service{Name: "web", Image: "hello:1", Count: 1}
	service.Resources.CPU.MilliCores, service.Resources.Memory.Bytes = 100, 64<<20
	service.Expose = []manifest.Expose{{Port: 8080, ExternalPort: 80, Proto: manifest.TCP, Global: true}}
	err := d.Apply(ctx, driver.Workload{Lease: id, Revision: 1, Group: manifest.Group{Services: []manifest.Service{service}}})
	if err != nil {
		panic(err)
	}
	s, _ := d.Status(ctx, id)
	body, err := d.World().Get(ctx, s.Services[0].URIs[0])
	fmt.Println(s.State, body, err)

	d.World().Break(id, "web", "out of memory") // what a test does
	s, _ = d.Status(ctx, id)
	fmt.Println(s.State, s.Services[0].Reason)
	// Output:
	// ready hello from web <nil>
	// failing out of memory
}
