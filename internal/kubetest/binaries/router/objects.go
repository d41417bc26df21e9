package main

import (
	"context"
	"crypto/tls"
	"log/slog"
	"reflect"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// rebuild makes a new table of all objects and says in their status that they
// are served.
func (r *router) rebuild(ctx context.Context) {
	t := &table{certificates: map[string]*tls.Certificate{}}
	ingresses, _ := r.typed.Networking().V1().Ingresses().Lister().List(labels.Everything())
	for _, i := range ingresses {
		if i.Spec.IngressClassName != nil && *i.Spec.IngressClassName == className {
			r.ingress(t, i)
		}
	}
	routes := r.gatewayRoutes(ctx, t)
	t.sort()
	r.table.Store(t)
	// What says that it is served is served by now.
	for _, i := range ingresses {
		if i.Spec.IngressClassName != nil && *i.Spec.IngressClassName == className {
			r.ingressStatus(ctx, i)
		}
	}
	for _, write := range routes {
		write()
	}
}

func (r *router) ingress(t *table, i *networkingv1.Ingress) {
	for _, spec := range i.Spec.TLS {
		if c := r.secret(i.Namespace, spec.SecretName); c != nil {
			for _, host := range spec.Hosts {
				t.certificates[host] = c
			}
		}
	}
	a := func(name string) string { return i.Annotations["nginx.ingress.kubernetes.io/"+name] }
	for _, spec := range i.Spec.Rules {
		if spec.HTTP == nil {
			continue
		}
		for _, p := range spec.HTTP.Paths {
			if p.Backend.Service == nil {
				continue
			}
			t.rules = append(t.rules, rule{
				host: spec.Host, path: defaulted(p.Path, "/"), exact: p.PathType != nil && *p.PathType == networkingv1.PathTypeExact,
				namespace: i.Namespace, service: p.Backend.Service.Name,
				port: p.Backend.Service.Port.Number, portName: p.Backend.Service.Port.Name,
				plain: true, secure: true, since: i.CreationTimestamp.Time,
				maxBody: size(a("proxy-body-size")), timeout: seconds(a("proxy-read-timeout")),
			})
		}
	}
}

func defaulted(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// size reads nginx's sizes: bytes, or a number with k, m or g.
func size(s string) int64 {
	if s == "" {
		return 0
	}
	shift := strings.Index("_kmg", strings.ToLower(s[len(s)-1:]))
	if shift > 0 {
		s = s[:len(s)-1]
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return n << (10 * max(shift, 0))
}

// seconds reads nginx's times: seconds, with or without the letter s.
func seconds(s string) time.Duration {
	n, err := strconv.Atoi(strings.TrimSuffix(s, "s"))
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}

// secret reads a TLS secret; nil when there is none that can be used.
func (r *router) secret(namespace, name string) *tls.Certificate {
	s, err := r.typed.Core().V1().Secrets().Lister().Secrets(namespace).Get(name)
	if err != nil {
		return nil
	}
	c, err := tls.X509KeyPair(s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		slog.Warn("secret cannot be used", "namespace", namespace, "secret", name, "err", err)
		return nil
	}
	return &c
}

func (r *router) ingressStatus(ctx context.Context, i *networkingv1.Ingress) {
	want := networkingv1.IngressStatus{LoadBalancer: networkingv1.IngressLoadBalancerStatus{
		Ingress: []networkingv1.IngressLoadBalancerIngress{{IP: r.address}},
	}}
	if reflect.DeepEqual(i.Status, want) {
		return
	}
	i = i.DeepCopy()
	i.Status = want
	if _, err := r.client.NetworkingV1().Ingresses(i.Namespace).UpdateStatus(ctx, i, metav1.UpdateOptions{}); err != nil {
		slog.Info("status of an ingress", "err", err) // seen again with its next event
	}
}
