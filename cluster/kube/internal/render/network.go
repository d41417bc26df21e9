package render

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	core "k8s.io/client-go/applyconfigurations/core/v1"
	networking "k8s.io/client-go/applyconfigurations/networking/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gateway "sigs.k8s.io/gateway-api/applyconfiguration/apis/v1"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// servicePort opens number for target.
func servicePort(number, target uint32, proto manifest.Protocol) core.ServicePortApplyConfiguration {
	return core.ServicePortApplyConfiguration{
		Name: new(portName(number, proto)), Protocol: new(corev1.Protocol(proto)),
		Port: new(int32(number)), TargetPort: new(intstr.FromInt32(int32(target))),
	}
}

// names renders the Service by which others of the lease find this one: at the
// number they were told, and, where that is free, at the container's own.
func (r *renderer) names(s manifest.Service) {
	var ports []core.ServicePortApplyConfiguration
	taken := make(map[string]bool)
	open := func(number uint32, e manifest.Expose) {
		if name := portName(number, e.Proto); !taken[name] {
			taken[name] = true
			ports = append(ports, servicePort(number, e.Port, e.Proto))
		}
	}
	for _, e := range s.Expose {
		open(e.External(), e)
	}
	for _, e := range s.Expose {
		open(e.Port, e)
	}
	if len(ports) > 0 {
		r.service(s.Name, s, &core.ServiceSpecApplyConfiguration{Type: new(corev1.ServiceTypeClusterIP), Ports: ports}, nil)
	}
}

// Forwarded lists the exposes that need a port outside, each container port and
// protocol once: nodes choose the number.
func Forwarded(s manifest.Service) []manifest.Expose {
	var out []manifest.Expose
	for _, e := range s.Expose {
		same := func(f manifest.Expose) bool { return f.Port == e.Port && f.Proto == e.Proto }
		if e.Global && !e.HTTP() && !slices.ContainsFunc(out, same) {
			out = append(out, e)
		}
	}
	return out
}

// Balanced lists the exposes that need a port at a load balancer, where each
// number that the tenant wrote is opened.
func Balanced(s manifest.Service) []manifest.Expose {
	var out []manifest.Expose
	for _, e := range s.Expose {
		same := func(f manifest.Expose) bool {
			return f.Port == e.Port && f.External() == e.External() && f.Proto == e.Proto
		}
		if e.Global && !e.HTTP() && !slices.ContainsFunc(out, same) {
			out = append(out, e)
		}
	}
	return out
}

// nodePorts counts the ports that the lease may have on nodes. Services beside
// the lease, such as those of answers to a certificate authority, may have some.
func (r *renderer) nodePorts() int64 {
	var n int64
	if r.o.Router.Issuer != "" {
		n += slackObjects / quotaFactor
	}
	for _, s := range r.in.Workload.Group.Services {
		n += int64(len(r.o.Forwarded(s)))
		for _, e := range s.Expose {
			if e.IP != "" {
				n++
			}
		}
	}
	return n * quotaFactor
}

// serviceObjects counts the Services that the lease may have: names, forwarded
// ports, and one per leased port from whoever announces its address.
func (r *renderer) serviceObjects() int64 {
	n := int64(quotaFactor * len(r.in.Workload.Group.Services))
	for _, s := range r.in.Workload.Group.Services {
		for _, e := range s.Expose {
			if e.IP != "" {
				n += quotaFactor
			}
		}
	}
	return n
}

// Forwarded lists the exposes that need a port outside, in the way that the
// operator chose.
func (o *Options) Forwarded(s manifest.Service) []manifest.Expose {
	if o.LoadBalancer {
		return Balanced(s)
	}
	return Forwarded(s)
}

// forwards renders the Service that opens ports to the world. Its ports have
// the container's numbers at the node and those outside at a load balancer.
func (r *renderer) forwards(s manifest.Service) {
	exposes := r.o.Forwarded(s)
	if len(exposes) == 0 {
		return
	}
	spec := &core.ServiceSpecApplyConfiguration{Type: new(corev1.ServiceTypeNodePort)}
	var annotations map[string]string
	if r.o.LoadBalancer {
		spec.Type, annotations = new(corev1.ServiceTypeLoadBalancer), r.o.LoadBalancerAnnotations
	}
	taken := make(map[string]bool)
	for _, e := range exposes {
		number := e.Port
		if r.o.LoadBalancer {
			number = e.External()
		}
		name := portName(number, e.Proto)
		if taken[name] {
			r.err = fmt.Errorf("%w: service %s: two ports would be %s %d outside", driver.ErrInvalid, s.Name, e.Proto, number)
			return
		}
		taken[name] = true
		spec.Ports = append(spec.Ports, servicePort(number, e.Port, e.Proto))
	}
	r.service(ForwardName(s.Name), s, spec, annotations)
}

func (r *renderer) service(name string, s manifest.Service, spec *core.ServiceSpecApplyConfiguration, annotations map[string]string) {
	spec.Selector = r.selector(s.Name)
	spec.IPFamilyPolicy = new(corev1.IPFamilyPolicyPreferDualStack) // IPv4 and IPv6 are equal
	k := Services()
	r.add(k, name, s.Name, &core.ServiceApplyConfiguration{
		TypeMetaApplyConfiguration: Type(k), ObjectMetaApplyConfiguration: r.Meta(k, name, s.Name, annotations), Spec: spec,
	})
}

// HTTPHosts are the names under which an expose is served, its own name first.
func (o *Options) HTTPHosts(f Frame, hostname string, e manifest.Expose) []string {
	out := []string{hostname}
	for _, h := range e.Hosts {
		if h = strings.ToLower(h); !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}

// routes renders how HTTP comes to a service. Its own name leads to its first
// HTTP port.
func (r *renderer) routes(s manifest.Service) {
	own := Hostname(r.in.Workload.Lease, s.Name, r.o.Domain)
	taken := make(map[string]bool)
	for _, e := range s.Expose {
		if !e.HTTP() {
			continue
		}
		var hosts []string
		for _, h := range r.o.HTTPHosts(r.Frame, own, e) {
			if !taken[h] {
				taken[h] = true
				hosts = append(hosts, h)
			}
		}
		if len(hosts) == 0 {
			continue
		}
		if r.o.Router.Ingress != "" {
			r.ingress(s, e, hosts)
		}
		if r.o.Router.Gateway != nil {
			r.route(s, e, hosts)
		}
	}
}

func routeName(s manifest.Service, e manifest.Expose) string {
	return derive("http", s.Name, strconv.FormatUint(uint64(e.Port), 10))
}

func (r *renderer) ingress(s manifest.Service, e manifest.Expose, hosts []string) {
	backend := &networking.IngressBackendApplyConfiguration{Service: &networking.IngressServiceBackendApplyConfiguration{
		Name: new(s.Name), Port: &networking.ServiceBackendPortApplyConfiguration{Number: new(int32(e.External()))},
	}}
	spec := &networking.IngressSpecApplyConfiguration{IngressClassName: &r.o.Router.Ingress}
	for _, h := range hosts {
		spec.Rules = append(spec.Rules, networking.IngressRuleApplyConfiguration{
			Host: new(h), IngressRuleValueApplyConfiguration: networking.IngressRuleValueApplyConfiguration{
				HTTP: &networking.HTTPIngressRuleValueApplyConfiguration{Paths: []networking.HTTPIngressPathApplyConfiguration{{
					Path: new("/"), PathType: new(networkingv1.PathTypePrefix), Backend: backend,
				}}},
			},
		})
	}
	annotations := nginxOptions(e.HTTPOptions)
	maps.Copy(annotations, r.o.Router.Annotations)
	name := routeName(s, e)
	if r.o.Router.TLS {
		tls := networking.IngressTLSApplyConfiguration{Hosts: hosts}
		if r.o.Router.Issuer != "" {
			annotations["cert-manager.io/cluster-issuer"] = r.o.Router.Issuer
			tls.SecretName = new(derive("tls", s.Name, strconv.FormatUint(uint64(e.Port), 10)))
		}
		spec.TLS = []networking.IngressTLSApplyConfiguration{tls}
	}
	k := Ingresses()
	r.add(k, name, s.Name, &networking.IngressApplyConfiguration{
		TypeMetaApplyConfiguration: Type(k), ObjectMetaApplyConfiguration: r.Meta(k, name, s.Name, annotations), Spec: spec,
	})
}

// nginxOptions are http_options in the words of ingress-nginx, which others
// read too.
func nginxOptions(o manifest.HTTPOptions) map[string]string {
	const prefix = "nginx.ingress.kubernetes.io/"
	out := make(map[string]string)
	number := func(key string, n uint32) {
		if n > 0 {
			out[prefix+key] = strconv.FormatUint(uint64(n), 10)
		}
	}
	number("proxy-body-size", o.MaxBodySize)
	number("proxy-read-timeout", seconds(o.ReadTimeout))
	number("proxy-send-timeout", seconds(o.SendTimeout))
	number("proxy-next-upstream-tries", o.NextTries)
	number("proxy-next-upstream-timeout", seconds(o.NextTimeout))
	number("proxy-buffer-size", o.ProxyBufferSize)
	if cases := nextCases(o.NextCases); len(cases) > 0 {
		out[prefix+"proxy-next-upstream"] = strings.Join(cases, " ")
	}
	return out
}

// nextCases translates 500 to http_500 and leaves words as they are.
func nextCases(cases []string) []string {
	out := slices.Clone(cases)
	for i, c := range out {
		if _, err := strconv.Atoi(c); err == nil {
			out[i] = "http_" + c
		}
	}
	return out
}

// seconds rounds milliseconds up.
func seconds(ms uint32) uint32 { return uint32((uint64(ms) + 999) / 1000) }

// httpOptions are http_options for a Gateway, as annotations: the Gateway API has
// no words for them, and policies of a Gateway's maker are made from them. Its
// timeouts are of whole exchanges, so they would cut long downloads and streams
// of events; those of http_options are of one read or write.
func httpOptions(o manifest.HTTPOptions) map[string]string {
	const prefix = "moorage.dev/http-"
	out := make(map[string]string)
	number := func(key string, n uint32) {
		if n > 0 {
			out[prefix+key] = strconv.FormatUint(uint64(n), 10)
		}
	}
	number("max-body-size", o.MaxBodySize)
	number("read-timeout", o.ReadTimeout)
	number("send-timeout", o.SendTimeout)
	number("next-tries", o.NextTries)
	number("next-timeout", o.NextTimeout)
	number("proxy-buffer-size", o.ProxyBufferSize)
	if len(o.NextCases) > 0 {
		out[prefix+"next-cases"] = strings.Join(o.NextCases, " ")
	}
	return out
}

func (r *renderer) route(s manifest.Service, e manifest.Expose, hosts []string) {
	g := r.o.Router.Gateway
	parent := gateway.ParentReferenceApplyConfiguration{
		Group: new(gatewayv1.Group(Routes().Group)), Kind: new(gatewayv1.Kind("Gateway")),
		Namespace: new(gatewayv1.Namespace(g.Namespace)), Name: new(gatewayv1.ObjectName(g.Name)),
	}
	if g.Section != "" {
		parent.SectionName = new(gatewayv1.SectionName(g.Section))
	}
	names := make([]gatewayv1.Hostname, len(hosts))
	for i, h := range hosts {
		names[i] = gatewayv1.Hostname(h)
	}
	rule := gateway.HTTPRouteRuleApplyConfiguration{BackendRefs: []gateway.HTTPBackendRefApplyConfiguration{{
		BackendRefApplyConfiguration: gateway.BackendRefApplyConfiguration{
			BackendObjectReferenceApplyConfiguration: gateway.BackendObjectReferenceApplyConfiguration{
				Group: new(gatewayv1.Group("")), Kind: new(gatewayv1.Kind("Service")),
				Name: new(gatewayv1.ObjectName(s.Name)), Port: new(int32(e.External())),
			},
			Weight: new(int32(1)),
		},
	}}}
	annotations := httpOptions(e.HTTPOptions)
	maps.Copy(annotations, r.o.Router.Annotations)
	k, name := Routes(), routeName(s, e)
	route := &gateway.HTTPRouteApplyConfiguration{
		TypeMetaApplyConfiguration: Type(k), ObjectMetaApplyConfiguration: r.Meta(k, name, s.Name, annotations),
		Spec: &gateway.HTTPRouteSpecApplyConfiguration{Hostnames: names, Rules: []gateway.HTTPRouteRuleApplyConfiguration{rule}},
	}
	route.Spec.ParentRefs = []gateway.ParentReferenceApplyConfiguration{parent}
	r.add(k, name, s.Name, route)
}
