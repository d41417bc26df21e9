package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/moorage-dev/moorage/cluster"
	"github.com/moorage-dev/moorage/cluster/fleet"
	"github.com/moorage-dev/moorage/cluster/runtime/memruntime"
)

// A fleet of one host. With real containers the runtime comes from package
// cluster/runtime/runc; here they are Go functions.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	dir, err := os.MkdirTemp("", "fleet-example-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	machine := memruntime.NewMachine()
	defer machine.Close()
	machine.AddImage(image, guestImage())

	f, err := fleet.New(fleet.Config{
		Runtime: machine.Open(), Dial: machine.DialContext, StateDir: dir, IngressAddr: "127.0.0.1:0", Domain: "apps.example",
	})
	if err != nil {
		panic(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	c, err := cluster.New(f, cluster.Config{})
	if err != nil {
		panic(err)
	}
	w := workload(1, 1, web("web", "hello"))
	if err := c.Apply(ctx, w); err != nil {
		panic(err)
	}
	s, err := c.WaitReady(ctx, w.Lease, w.Revision)
	if err != nil {
		panic(err)
	}
	body, err := get(ctx, toIngress, s.Services[0].URIs[0]+"/")
	fmt.Println(s.State, body, err)
	err = c.Delete(ctx, w.Lease)
	fmt.Println("deleted", err)
	fmt.Println("closed", errors.Join(c.Close(), <-ended))
	// Output:
	// ready hello <nil>
	// deleted <nil>
	// closed <nil>
}

// toIngress leads every name to this machine.
func toIngress(ctx context.Context, network, address string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
}
