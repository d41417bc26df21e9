package metallb

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/iplease/driver"
)

// Pools implements [driver.PoolReporter] from the status of the IPAddressPools and
// of the Services of others. A pool that MetalLB has not counted yet has nothing
// available.
func (a *Announcer) Pools(ctx context.Context) ([]driver.Pool, error) {
	if err := a.begin(ctx); err != nil {
		return nil, err
	}
	list, err := a.cfg.Dynamic.Resource(metallbResource("ipaddresspools")).Namespace(a.cfg.MetalLB).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fault(ctx, "list pools", err)
	}
	inUse, err := a.inUse(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]driver.Pool, 0, len(list.Items))
	for _, o := range list.Items {
		p, err := pool(o)
		if err != nil {
			return nil, fmt.Errorf("metallb: pool %s: %w", o.GetName(), err)
		}
		for _, at := range inUse {
			if slices.ContainsFunc(p.Ranges, func(r driver.Range) bool { return iplease.Range(r).Contains(at) }) {
				p.InUse = append(p.InUse, at)
			}
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(x, y driver.Pool) int { return strings.Compare(x.Name, y.Name) })
	return out, nil
}

// inUse returns the addresses that Services of others have, sorted.
func (a *Announcer) inUse(ctx context.Context) ([]netip.Addr, error) {
	list, err := a.cfg.Client.CoreV1().Services(metav1.NamespaceAll).List(ctx, metav1.ListOptions{LabelSelector: labelInstance + "!=" + a.cfg.Instance})
	if err != nil {
		return nil, fault(ctx, "list services", err)
	}
	var out []netip.Addr
	for _, s := range list.Items {
		for _, i := range s.Status.LoadBalancer.Ingress {
			if at, err := netip.ParseAddr(i.IP); err == nil {
				out = append(out, at)
			}
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out), nil
}

func pool(o unstructured.Unstructured) (driver.Pool, error) {
	p := driver.Pool{Name: o.GetName()}
	texts, _, err := unstructured.NestedStringSlice(o.Object, "spec", "addresses")
	if err != nil {
		return p, err
	}
	for _, text := range texts {
		r, err := parseRange(text)
		if err != nil {
			return p, err
		}
		p.Ranges = append(p.Ranges, r)
	}
	for name, sum := range map[string]*uint64{
		"assignedIPv4": &p.Assigned, "assignedIPv6": &p.Assigned, "availableIPv4": &p.Available, "availableIPv6": &p.Available,
	} {
		n, _, err := unstructured.NestedInt64(o.Object, "status", name)
		if err != nil {
			return p, err
		}
		*sum += uint64(max(n, 0))
	}
	return p, nil
}

// parseRange reads a range of a pool: a prefix, or first-last.
func parseRange(text string) (driver.Range, error) {
	if first, last, ok := strings.Cut(text, "-"); ok {
		from, err := netip.ParseAddr(strings.TrimSpace(first))
		if err != nil {
			return driver.Range{}, err
		}
		to, err := netip.ParseAddr(strings.TrimSpace(last))
		return driver.Range{First: from, Last: to}, err
	}
	prefix, err := netip.ParsePrefix(strings.TrimSpace(text))
	if err != nil {
		return driver.Range{}, err
	}
	prefix = prefix.Masked()
	last := prefix.Addr().AsSlice()
	for bit := prefix.Bits(); bit < prefix.Addr().BitLen(); bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	to, _ := netip.AddrFromSlice(last)
	return driver.Range{First: prefix.Addr(), Last: to}, nil
}
