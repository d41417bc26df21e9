package provider

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/moorage-dev/moorage/iplease"
	ipdriver "github.com/moorage-dev/moorage/iplease/driver"
	"github.com/moorage-dev/moorage/provider/gateway/api"
)

// addPorts tells of each port that a lease wants at each address there is for it.
// What the announcer does not say is pending, never an error.
func (p *Provider) addPorts(ctx context.Context, out *api.LeasedIP, c iplease.Claim, w iplease.Want) {
	seen, err := p.addresses.cfg.Announcer.Status(ctx, c.ID)
	unseen := "the announcer has not taken it yet"
	p.addresses.look(func(*iplease.Table) {
		if why := p.addresses.refused[c.ID]; why != "" {
			unseen = why
		}
	})
	if err != nil && !errors.Is(err, ipdriver.ErrNotFound) {
		unseen = "the announcer cannot be seen at the moment"
	}
	for _, at := range c.Addresses() {
		for _, port := range w.Ports {
			one := api.LeasedPort{
				Address: at, Service: port.Service, ExternalPort: port.External, Port: port.Port, Proto: port.Protocol.String(),
				State: string(out.State), Reason: out.Reason,
			}
			has, ok := c.Port(port.Protocol, port.External)
			if ok && c.State == iplease.Bound && has.Lease == port.Lease && has.Service == port.Service {
				one.Sources = slices.Clone(has.Sources)
				one.State, one.Reason = ipdriver.Pending.String(), unseen
				observed(&one, seen, at, has)
			}
			out.Ports = append(out.Ports, one)
		}
	}
	slices.SortStableFunc(out.Ports, func(a, b api.LeasedPort) int {
		return cmp.Or(cmp.Compare(a.ExternalPort, b.ExternalPort), cmp.Compare(a.Proto, b.Proto), a.Address.Compare(b.Address))
	})
}

// addressDifferences tells which endpoints are not as before.
func addressDifferences(before, after api.LeaseStatus, now time.Time) []api.Event {
	var out []api.Event
	for _, ip := range after.IPs {
		i := slices.IndexFunc(before.IPs, func(old api.LeasedIP) bool { return old.Endpoint == ip.Endpoint })
		if i >= 0 && before.IPs[i].State == ip.State && before.IPs[i].Reason == ip.Reason && slices.Equal(before.IPs[i].Addresses, ip.Addresses) {
			continue
		}
		e := api.Event{Time: now, Kind: api.EventAddressChanged, State: string(ip.State), Message: "endpoint " + ip.Endpoint}
		for _, a := range ip.Addresses {
			e.Message += " " + a.String()
		}
		if ip.Reason != "" {
			e.Message += ": " + ip.Reason
		}
		out = append(out, e)
	}
	return out
}

// observed puts in what the announcer sees of a port.
func observed(out *api.LeasedPort, seen ipdriver.Status, at netip.Addr, port iplease.Port) {
	for _, s := range seen.Ports {
		if s.Address == at && s.Port.Protocol == port.Protocol && s.Port.External == port.External {
			out.State, out.Reason = s.State.String(), s.Reason
		}
	}
	for _, a := range seen.Addresses {
		if a.Address == at {
			out.Node, out.Egress, out.EgressReason = a.Node, a.Egress, a.EgressReason
		}
	}
}
