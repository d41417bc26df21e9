package kube

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/kube/internal/render"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// ports are the numbers outside of the forwarded ports of a lease, as far as the
// cluster has given them.
func (d *Driver) ports(rec *record) map[render.PortKey]uint16 {
	d.mu.Lock()
	w := rec.state.Workload
	d.mu.Unlock()
	out := make(map[render.PortKey]uint16)
	for _, s := range w.Group.Services {
		exposes := render.Forwarded(s)
		if len(exposes) == 0 {
			continue
		}
		svc := d.newestForward(rec, s.Name)
		if svc == nil {
			continue
		}
		for _, e := range exposes {
			if n := outside(svc, e); n != 0 {
				out[render.PortKey{Service: s.Name, Port: uint16(e.Port), Proto: e.Proto}] = n
			}
		}
	}
	return out
}

// newestForward is the Service of a service's forwarded ports as the server
// answered when it was written, or as the watch has it, whichever is newer. The
// watch is a moment behind, and pods that are rendered without the numbers would
// be replaced at once.
func (d *Driver) newestForward(rec *record, service string) *corev1.Service {
	d.mu.Lock()
	id := rec.state.Workload.Lease
	m := rec.memo[memoKey(render.Services().Kind, render.ForwardName(service))]
	d.mu.Unlock()
	svc := d.forwardService(id, service)
	if m.answer != nil && (svc == nil || versionNumber(svc.ResourceVersion) < m.version) {
		return m.answer
	}
	return svc
}

// outside is the number under which an expose is reached by a Service: at the
// node, or at the load balancer; 0 when the cluster has not said so yet.
func outside(svc *corev1.Service, e manifest.Expose) uint16 {
	if svc.Spec.Type == corev1.ServiceTypeLoadBalancer {
		return uint16(e.External())
	}
	for _, p := range svc.Spec.Ports {
		if p.TargetPort.IntValue() == int(e.Port) && string(p.Protocol) == string(e.Proto) {
			return uint16(p.NodePort)
		}
	}
	return 0
}

// forwardService is the Service of a service's forwarded ports; nil when it is
// not known.
func (d *Driver) forwardService(id market.LeaseID, service string) *corev1.Service {
	obj, ok, err := d.store.kinds[render.Services().Kind].GetStore().GetByKey(Namespace(id) + "/" + render.ForwardName(service))
	if err != nil || !ok {
		return nil
	}
	svc, _ := obj.(*corev1.Service)
	return svc
}

// addressStatus tells where a service is reached.
func (d *Driver) addressStatus(w driver.Workload, s manifest.Service, out *driver.ServiceStatus) {
	routed := d.cfg.Router.Ingress != "" || d.cfg.Router.Gateway != nil
	for _, e := range s.Expose {
		if !e.HTTP() || !routed {
			continue
		}
		for _, host := range d.opts.HTTPHosts(render.Frame{}, render.Hostname(w.Lease, s.Name, d.cfg.Domain), e) {
			if uri := d.uri(host); !slices.Contains(out.URIs, uri) {
				out.URIs = append(out.URIs, uri)
			}
		}
	}
	svc := d.forwardService(w.Lease, s.Name)
	if svc == nil {
		return
	}
	for _, e := range d.opts.Forwarded(s) {
		if p, ok := d.forwarded(svc, e); ok {
			out.Ports = append(out.Ports, p)
		}
	}
	slices.SortFunc(out.Ports, comparePorts)
}

func comparePorts(a, b driver.ForwardedPort) int {
	return cmp.Or(cmp.Compare(a.Port, b.Port), strings.Compare(string(a.Proto), string(b.Proto)), cmp.Compare(a.ExternalPort, b.ExternalPort))
}

// forwarded tells where an expose is reached; false when the cluster has not
// said so yet.
func (d *Driver) forwarded(svc *corev1.Service, e manifest.Expose) (driver.ForwardedPort, bool) {
	out := driver.ForwardedPort{Host: d.cfg.PublicHost, Port: uint16(e.Port), ExternalPort: outside(svc, e), Proto: e.Proto}
	if svc.Spec.Type == corev1.ServiceTypeLoadBalancer {
		all := svc.Status.LoadBalancer.Ingress
		if len(all) == 0 {
			return out, false
		}
		out.Host = cmp.Or(all[0].Hostname, all[0].IP)
	}
	return out, out.ExternalPort != 0
}

// uri is where an HTTP service is reached under a name.
func (d *Driver) uri(host string) string {
	scheme := "http"
	if d.cfg.Router.TLS {
		scheme = "https"
	}
	if port := d.cfg.Router.Port; port != 0 {
		host = net.JoinHostPort(host, strconv.Itoa(int(port)))
	}
	return scheme + "://" + host
}

// checkHostnames refuses names that belong to somebody else: another lease, the
// provider, or a route that was made by hand. The caller holds mu.
func (d *Driver) checkHostnames(w driver.Workload) error {
	own, by := make(map[string]bool), make(map[string]string)
	for _, s := range w.Group.Services {
		own[render.Hostname(w.Lease, s.Name, d.cfg.Domain)] = true
		for _, name := range (driver.Workload{Group: manifest.Group{Services: []manifest.Service{s}}}).Hostnames() {
			if other, taken := by[name]; taken {
				return fmt.Errorf("%w: services %s and %s both ask for host name %s", driver.ErrInvalid, other, s.Name, name)
			}
			by[name] = s.Name
		}
	}
	for _, name := range w.Hostnames() {
		if !own[name] && (name == d.cfg.Domain || name == d.cfg.PublicHost || strings.HasSuffix(name, "."+d.cfg.Domain)) {
			return fmt.Errorf("%w: host name %s: this name and those under %s are the provider's", driver.ErrConflict, name, d.cfg.Domain)
		}
		if id, ok := d.hostnameOwner(name); ok && id != w.Lease {
			return fmt.Errorf("%w: host name %s belongs to another lease", driver.ErrConflict, name)
		}
		if where := d.foreignRoute(w.Lease, name); where != "" && !own[name] {
			return fmt.Errorf("%w: host name %s is routed by somebody else (%s)", driver.ErrConflict, name, where)
		}
	}
	return nil
}

// hostnameOwner finds the lease that asked for a name. The caller holds mu.
func (d *Driver) hostnameOwner(name string) (market.LeaseID, bool) {
	for id, rec := range d.records {
		if rec.state == nil {
			continue
		}
		w := rec.state.Workload
		if slices.Contains(w.Hostnames(), name) {
			return id, true
		}
		for _, s := range w.Group.Services {
			if slices.ContainsFunc(s.Expose, manifest.Expose.HTTP) && render.Hostname(id, s.Name, d.cfg.Domain) == name {
				return id, true
			}
		}
	}
	return market.LeaseID{}, false
}

// foreignRoute finds a route to a name that is not of this instance, also one to
// all names under a domain ("*.corp.example"). What a certificate authority asks
// the lease itself for is its own.
func (d *Driver) foreignRoute(id market.LeaseID, name string) string {
	names := []string{name}
	for domain := name; ; {
		_, rest, more := strings.Cut(domain, ".")
		if !more {
			break
		}
		names, domain = append(names, "*."+rest), rest
	}
	for _, kind := range []string{render.Ingresses().Kind, render.Routes().Kind} {
		informer := d.store.kinds[kind]
		if informer == nil {
			continue
		}
		for _, at := range names {
			objs, err := informer.GetIndexer().ByIndex(byHost, at)
			if err != nil {
				continue
			}
			for _, obj := range objs {
				if m, ok := obj.(metav1.Object); ok && !d.owns(m) && !solves(m, id) {
					return kind + " " + cache.MetaObjectToName(m).String()
				}
			}
		}
	}
	return ""
}

// solves reports whether a route is cert-manager's answer for a lease.
func solves(m metav1.Object, id market.LeaseID) bool {
	return m.GetNamespace() == Namespace(id) && m.GetLabels()[labelSolver] == "true"
}

// HostnameOwner implements [driver.ExclusiveHostnames].
func (d *Driver) HostnameOwner(ctx context.Context, hostname string) (market.LeaseID, error) {
	if err := d.check(ctx); err != nil {
		return market.LeaseID{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if id, ok := d.hostnameOwner(strings.ToLower(hostname)); ok {
		return id, nil
	}
	return market.LeaseID{}, driver.ErrNotFound
}
