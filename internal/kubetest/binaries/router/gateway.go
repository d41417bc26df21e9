package main

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

const controllerName gatewayv1.GatewayController = "moorage.dev/test-router"

// list converts everything in a cache.
func list[T any](r *router, resource string) []*T {
	lister := r.lists[gatewayResource(resource)]
	if lister == nil {
		return nil
	}
	objects, _ := lister.List(labels.Everything())
	out := make([]*T, 0, len(objects))
	for _, o := range objects {
		v := new(T)
		err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.(*unstructured.Unstructured).Object, v)
		if err != nil {
			slog.Warn("object cannot be read", "resource", resource, "err", err)
			continue
		}
		out = append(out, v)
	}
	return out
}

// gatewayRoutes adds the rules of HTTPRoutes to the table and returns what is to
// be written into the objects' status once the table is in force.
func (r *router) gatewayRoutes(ctx context.Context, t *table) (writes []func()) {
	for _, c := range list[gatewayv1.GatewayClass](r, "gatewayclasses") {
		if c.Spec.ControllerName == controllerName {
			old := c.DeepCopy()
			condition(&c.Status.Conditions, "Accepted", c.Generation)
			writes = append(writes, r.status(ctx, "gatewayclasses", old, c))
		}
	}
	gateways := map[string]*gatewayv1.Gateway{}
	attached := map[string]map[gatewayv1.SectionName]int32{}
	for _, g := range list[gatewayv1.Gateway](r, "gateways") {
		if g.Spec.GatewayClassName == className {
			gateways[g.Namespace+"/"+g.Name] = g
			attached[g.Namespace+"/"+g.Name] = map[gatewayv1.SectionName]int32{}
			r.certificates(t, g)
		}
	}
	for _, route := range list[gatewayv1.HTTPRoute](r, "httproutes") {
		old := route.DeepCopy()
		route.Status.Parents = slices.DeleteFunc(route.Status.Parents, func(p gatewayv1.RouteParentStatus) bool { return p.ControllerName == controllerName })
		for _, parent := range route.Spec.ParentRefs {
			key := string(deref(parent.Namespace, gatewayv1.Namespace(route.Namespace))) + "/" + string(parent.Name)
			g := gateways[key]
			if g == nil {
				continue
			}
			for _, l := range g.Spec.Listeners {
				if (parent.SectionName == nil || *parent.SectionName == l.Name) && r.allowed(g, l, route.Namespace) {
					attached[key][l.Name]++
					r.route(t, l, route)
				}
			}
			route.Status.Parents = append(route.Status.Parents, parentStatus(old, parent))
		}
		writes = append(writes, r.status(ctx, "httproutes", old, route))
	}
	for key, g := range gateways {
		old := g.DeepCopy()
		r.gatewayStatus(g, attached[key])
		writes = append(writes, r.status(ctx, "gateways", old, g))
	}
	return writes
}

func (r *router) certificates(t *table, g *gatewayv1.Gateway) {
	for _, l := range g.Spec.Listeners {
		if l.TLS == nil {
			continue
		}
		for _, ref := range l.TLS.CertificateRefs {
			namespace := string(deref(ref.Namespace, gatewayv1.Namespace(g.Namespace)))
			if c := r.secret(namespace, string(ref.Name)); c != nil {
				t.certificates[string(deref(l.Hostname, ""))] = c
			}
		}
	}
}

// allowed reports whether a listener takes routes of a namespace.
func (r *router) allowed(g *gatewayv1.Gateway, l gatewayv1.Listener, namespace string) bool {
	from := gatewayv1.NamespacesFromSame
	if l.AllowedRoutes != nil && l.AllowedRoutes.Namespaces != nil {
		from = deref(l.AllowedRoutes.Namespaces.From, from)
	}
	switch from {
	case gatewayv1.NamespacesFromAll:
		return true
	case gatewayv1.NamespacesFromSelector:
		selector, err := metav1.LabelSelectorAsSelector(l.AllowedRoutes.Namespaces.Selector)
		if err != nil {
			return false
		}
		ns, err := r.typed.Core().V1().Namespaces().Lister().Get(namespace)
		return err == nil && selector.Matches(labels.Set(ns.Labels))
	default:
		return namespace == g.Namespace
	}
}

func (r *router) route(t *table, l gatewayv1.Listener, route *gatewayv1.HTTPRoute) {
	hosts := []gatewayv1.Hostname{deref(l.Hostname, "")}
	if len(route.Spec.Hostnames) > 0 {
		hosts = slices.DeleteFunc(slices.Clone(route.Spec.Hostnames), func(h gatewayv1.Hostname) bool {
			return !matches(string(deref(l.Hostname, "")), string(h))
		})
	}
	for _, spec := range route.Spec.Rules {
		paths := spec.Matches
		if len(paths) == 0 {
			paths = []gatewayv1.HTTPRouteMatch{{}}
		}
		for _, b := range spec.BackendRefs {
			for _, host := range hosts {
				for _, match := range paths {
					t.rules = append(t.rules, routeRule(l, route, spec, b, string(host), match))
				}
			}
		}
	}
}

func routeRule(l gatewayv1.Listener, route *gatewayv1.HTTPRoute, spec gatewayv1.HTTPRouteRule, b gatewayv1.HTTPBackendRef, host string, match gatewayv1.HTTPRouteMatch) rule {
	out := rule{
		host: host, path: "/", namespace: string(deref(b.Namespace, gatewayv1.Namespace(route.Namespace))), service: string(b.Name),
		port: int32(deref(b.Port, 0)), plain: l.Protocol == gatewayv1.HTTPProtocolType, secure: l.Protocol == gatewayv1.HTTPSProtocolType,
		since: route.CreationTimestamp.Time,
	}
	if match.Path != nil {
		out.path = deref(match.Path.Value, "/")
		out.exact = deref(match.Path.Type, gatewayv1.PathMatchPathPrefix) == gatewayv1.PathMatchExact
	}
	if spec.Timeouts != nil {
		text := string(deref(spec.Timeouts.Request, deref(spec.Timeouts.BackendRequest, "0s")))
		out.timeout, _ = time.ParseDuration(text)
	}
	return out
}

func parentStatus(route *gatewayv1.HTTPRoute, parent gatewayv1.ParentReference) gatewayv1.RouteParentStatus {
	out := gatewayv1.RouteParentStatus{ParentRef: parent, ControllerName: controllerName}
	for _, p := range route.Status.Parents {
		if apiequality.Semantic.DeepEqual(p.ParentRef, parent) {
			out.Conditions = slices.Clone(p.Conditions)
		}
	}
	condition(&out.Conditions, "Accepted", route.Generation)
	condition(&out.Conditions, "ResolvedRefs", route.Generation)
	return out
}

func (r *router) gatewayStatus(g *gatewayv1.Gateway, attached map[gatewayv1.SectionName]int32) {
	condition(&g.Status.Conditions, "Accepted", g.Generation)
	condition(&g.Status.Conditions, "Programmed", g.Generation)
	kind := gatewayv1.IPAddressType
	g.Status.Addresses = []gatewayv1.GatewayStatusAddress{{Type: &kind, Value: r.address}}
	old := g.Status.Listeners
	g.Status.Listeners = nil
	for _, l := range g.Spec.Listeners {
		s := gatewayv1.ListenerStatus{Name: l.Name, AttachedRoutes: attached[l.Name], SupportedKinds: []gatewayv1.RouteGroupKind{{Kind: "HTTPRoute"}}}
		for _, o := range old {
			if o.Name == l.Name {
				s.Conditions = o.Conditions
			}
		}
		for _, name := range []string{"Accepted", "Programmed", "ResolvedRefs"} {
			condition(&s.Conditions, name, g.Generation)
		}
		g.Status.Listeners = append(g.Status.Listeners, s)
	}
}

func condition(to *[]metav1.Condition, kind string, generation int64) {
	apimeta.SetStatusCondition(to, metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: kind, ObservedGeneration: generation})
}

// status returns the writing of an object's status, if it differs.
func (r *router) status(ctx context.Context, resource string, old, now metav1.Object) func() {
	return func() {
		if apiequality.Semantic.DeepEqual(old, now) {
			return
		}
		object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(now)
		if err == nil {
			u := &unstructured.Unstructured{Object: object}
			u.SetAPIVersion("gateway.networking.k8s.io/v1")
			u.SetKind(map[string]string{"gatewayclasses": "GatewayClass", "gateways": "Gateway", "httproutes": "HTTPRoute"}[resource])
			_, err = r.dynamic.Resource(gatewayResource(resource)).Namespace(now.GetNamespace()).UpdateStatus(ctx, u, metav1.UpdateOptions{})
		}
		if err != nil && !strings.Contains(err.Error(), "modified") {
			slog.Warn("status", "resource", resource, "name", now.GetName(), "err", err)
		}
	}
}

func deref[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
