// Owndriver is a provider on a cluster of its own making: a driver whose images
// are Go functions, on a market in memory. A tenant deploys an SDL document on it
// and reads the page.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/moorage-dev/moorage/cluster"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/memmarket"
	"github.com/moorage-dev/moorage/market/tenant"
	"github.com/moorage-dev/moorage/provider"
	"github.com/moorage-dev/moorage/provider/bidengine"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/sdl"
)

const document = `version: "2.0"
services:
  web:
    image: greeter
    env: [NAME=tenant]
    expose: [{port: 80, to: [{global: true}]}]
profiles:
  compute: {small: {resources: {cpu: {units: 0.1}, memory: {size: 16Mi}, storage: {size: 16Mi}}}}
  placement: {here: {pricing: {small: {denom: uact, amount: 10}}}}
deployment: {web: {here: {profile: small, count: 1}}}
`

// greeter is an image of this cluster.
func greeter(env map[string]string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "hello, %s", env["NAME"]) })
}

// node is what this cluster has for sale.
func node() inventory.Node {
	return inventory.Node{Name: "here", Architecture: "amd64", Allocatable: inventory.Quantities{
		MilliCores: 4000, MemoryBytes: 4 << 30, EphemeralBytes: 64 << 30,
	}}
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) (err error) {
	m, err := memmarket.New(memmarket.Config{BlockPerSubmit: true, Balances: map[market.Address]market.Coins{
		"provider": {market.NewCoin("uact", 1_000_000)}, "tenant": {market.NewCoin("uact", 1_000_000)},
	}})
	if err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	functions, err := NewFunctions(map[string]Image{"greeter": greeter}, node(), l.Addr().String())
	if err != nil {
		return err
	}
	pages := &http.Server{Handler: functions, ReadHeaderTimeout: time.Minute}
	go func() { _ = pages.Serve(l) }()
	defer func() { _ = pages.Close() }()
	c, err := cluster.New(functions, cluster.Config{})
	if err != nil {
		return err
	}
	p, err := provider.New(provider.Config{
		Market: m.Client("provider"), Cluster: c, HostURI: "https://provider.example.com:8443",
		Pricer: bidengine.PricerFunc(func(context.Context, bidengine.Request) (market.Decimal, error) { return market.NewDecimal(1), nil }),
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	defer func() {
		cancel()
		err = errors.Join(err, <-ended)
	}()
	return deploy(ctx, out, m.Client("tenant"), p)
}

// deploy brings the document to a page and prints it.
func deploy(ctx context.Context, out io.Writer, m market.Client, p *provider.Provider) error {
	compiled, err := sdl.Compile([]byte(document), sdl.Options{})
	if err != nil {
		return err
	}
	// In one process the provider itself is the gateway.
	t, err := tenant.New(tenant.Config{Market: m, Dial: func(market.Provider) (tenant.Gateway, error) { return front{p}, nil }})
	if err != nil {
		return err
	}
	r, err := t.Deploy(ctx, tenant.Plan{DSeq: 1, Groups: compiled.Groups, Manifest: compiled.Manifest, Hash: compiled.Hash})
	if err != nil {
		return err
	}
	page, err := fetch(ctx, r.Status[0].Services[0].URIs[0])
	fmt.Fprintf(out, "lease %s\npage  %s\n", r.Leases[0], page)
	return err
}

// fetch reads a page. Whatever its name is, it is on this machine.
func fetch(ctx context.Context, uri string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return "", err
	}
	here := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
	}}
	resp, err := (&http.Client{Transport: here}).Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", uri, resp.Status)
	}
	return string(body), err
}

// front lets the tenant speak to the provider without a network.
type front struct{ *provider.Provider }

// Screen implements [tenant.Gateway].
func (f front) Screen(ctx context.Context, groups []market.GroupSpec) ([]api.Offer, error) {
	return f.Provider.Screen(ctx, "tenant", groups)
}
