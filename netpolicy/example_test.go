package netpolicy_test

import (
	"fmt"
	"net/netip"

	"github.com/moorage-dev/moorage/netpolicy"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

func ExampleCompile() {
	group := manifest.Group{Services: []manifest.Service{
		{Name: "db", Expose: []manifest.Expose{{Port: 5432, Proto: manifest.TCP, Service: "web"}}},
		{Name: "mail"},
		{Name: "web", Expose: []manifest.Expose{{Port: 8080, ExternalPort: 80, Proto: manifest.TCP, Global: true}}},
	}}
	policy, err := netpolicy.Compile(group, nil, netpolicy.Surroundings{})
	if err != nil {
		fmt.Println(err)
		return
	}
	postgres := netpolicy.Port{Protocol: manifest.TCP, Number: 5432}
	https := netpolicy.Port{Protocol: manifest.TCP, Number: 443}
	for _, flow := range []netpolicy.Flow{
		{From: netpolicy.Of("web"), To: netpolicy.Of("db"), Port: postgres},
		{From: netpolicy.Of("mail"), To: netpolicy.Of("db"), Port: postgres},
		{From: netpolicy.Of("mail"), To: netpolicy.At(netip.MustParseAddr("9.9.9.9")), Port: https},
		{From: netpolicy.Of("mail"), To: netpolicy.At(netip.MustParseAddr("169.254.169.254")), Port: https},
	} {
		fmt.Printf("%s: %s\n", flow, policy.Evaluate(flow))
	}
	// Output:
	// service web to service db TCP/5432: allowed: exposed to this service
	// service mail to service db TCP/5432: denied: the port is exposed, but to others
	// service mail to 9.9.9.9 TCP/443: allowed: a public address
	// service mail to 169.254.169.254 TCP/443: denied: the range is not public: 169.254.0.0/16 (link-local; metadata of most clouds, RFC 3927)
}
