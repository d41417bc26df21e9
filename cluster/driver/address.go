package driver

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/moorage-dev/moorage/sdl/manifest"
)

// MaxAddresses bounds the leased ports of a workload: each port at each address
// is one.
const MaxAddresses = 4096

// LeasedAddress is a port of a leased address that leads to a service. The
// address is made reachable by an announcer (package iplease/driver), not by the
// cluster: a driver tells the containers in their environment and lets in what
// comes to the container port.
type LeasedAddress struct {
	// Endpoint is the name of the address in the tenant's document.
	Endpoint string     `json:"endpoint"`
	Address  netip.Addr `json:"address"`
	// Protocol and External are what clients use, Port is where the containers of
	// Service listen.
	Protocol manifest.Protocol `json:"protocol"`
	External uint16            `json:"external"`
	Service  string            `json:"service"`
	Port     uint16            `json:"port"`
	// Sources are the prefixes that clients may have; nil is all.
	Sources []netip.Prefix `json:"sources,omitempty"`
	// Withheld says that another deployment of the tenant has the address at
	// present: nothing comes in by it, though the environment is the same, so that
	// no container starts anew when it is moved here.
	Withheld bool `json:"withheld,omitempty"`
}

// Leased returns the ports of leased addresses that lead to a service now.
func (w Workload) Leased(service string) []LeasedAddress {
	return slices.DeleteFunc(slices.Clone(w.Addresses), func(a LeasedAddress) bool { return a.Service != service || a.Withheld })
}

// AddressEnv returns what the containers of a service are told of its leased
// addresses, as NAME=VALUE, sorted by name. E is the name of the endpoint in
// capitals, with "_" for every other character than a letter or digit:
//
//	MOORAGE_IP_E             the address: IPv4 if there is one, else IPv6
//	MOORAGE_IPV4_E           the IPv4 address, if there is one
//	MOORAGE_IPV6_E           the IPv6 address, if there is one
//	MOORAGE_IP_E_TCP_8080    the port outside that leads to container port 8080;
//	                         the lowest if there are several; UDP in the same way
//
// An entry of the manifest with the same name goes before it.
func (w Workload) AddressEnv(service string) []string {
	env := map[string]string{}
	ports := map[string]uint16{}
	for _, a := range w.Addresses {
		if a.Service != service {
			continue
		}
		name := manifest.EndpointVariable(a.Endpoint)
		family := "MOORAGE_IPV6_"
		if a.Address.Is4() {
			family = "MOORAGE_IPV4_"
		}
		env[family+name] = a.Address.String()
		if _, ok := env["MOORAGE_IP_"+name]; !ok || a.Address.Is4() {
			env["MOORAGE_IP_"+name] = a.Address.String()
		}
		key := fmt.Sprintf("MOORAGE_IP_%s_%s_%d", name, a.Protocol, a.Port)
		if p, ok := ports[key]; !ok || a.External < p {
			ports[key] = a.External
			env[key] = strconv.Itoa(int(a.External))
		}
	}
	out := make([]string, 0, len(env))
	for k, v := range env {
		out = append(out, k+"="+v)
	}
	slices.Sort(out)
	return out
}

// validateAddresses checks the leased ports against the services. Services with
// the same endpoint share its addresses; no port is there twice.
func (w Workload) validateAddresses() error {
	if len(w.Addresses) > MaxAddresses {
		return faultf("%d leased ports, at most %d", len(w.Addresses), MaxAddresses)
	}
	type key struct {
		address netip.Addr
		proto   manifest.Protocol
		port    uint16
	}
	seen := make(map[key]bool, len(w.Addresses))
	for _, a := range w.Addresses {
		if err := a.validate(); err != nil {
			return err
		}
		if !slices.ContainsFunc(w.Group.Services, func(s manifest.Service) bool { return s.Name == a.Service }) {
			return faultf("leased port %s/%d: there is no service %.63q", a.Protocol, a.External, a.Service)
		}
		k := key{a.Address, a.Protocol, a.External}
		if seen[k] {
			return faultf("leased port %s/%d of %s is there twice", a.Protocol, a.External, a.Address)
		}
		seen[k] = true
	}
	return nil
}

func (a LeasedAddress) validate() error {
	switch {
	case a.Endpoint == "" || len(a.Endpoint) > maxLabelBytes+1 || strings.ContainsFunc(a.Endpoint, unprintable):
		return faultf("leased port %s/%d: no name of an endpoint", a.Protocol, a.External)
	case !a.Address.IsValid() || a.Address.Zone() != "" || a.Address.Is4In6():
		return faultf("endpoint %s: %s is no plain address", a.Endpoint, a.Address)
	case a.Protocol != manifest.TCP && a.Protocol != manifest.UDP:
		return faultf("endpoint %s: protocol %.8q", a.Endpoint, a.Protocol)
	case a.External == 0 || a.Port == 0:
		return faultf("endpoint %s: port %d to %d: want 1 to 65535", a.Endpoint, a.External, a.Port)
	}
	for _, p := range a.Sources {
		if !p.IsValid() {
			return faultf("endpoint %s: port %d: a client prefix is invalid", a.Endpoint, a.External)
		}
	}
	return nil
}

// cloneAddresses copies leased ports deeply.
func cloneAddresses(as []LeasedAddress) []LeasedAddress {
	as = slices.Clone(as)
	for i := range as {
		as[i].Sources = slices.Clone(as[i].Sources)
	}
	return as
}
