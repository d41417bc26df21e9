package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// rule sends requests of a host below a path to a Service.
type rule struct {
	host, path, namespace, service string
	port                           int32
	portName                       string
	plain, secure                  bool
	maxBody                        int64         // bytes, 0 means no limit
	timeout                        time.Duration // 0 means none
	exact                          bool
	// since decides between rules of the same host and path.
	since time.Time
}

// table is all rules, the most specific first, and certificates by host name.
type table struct {
	rules        []rule
	certificates map[string]*tls.Certificate
}

// matches reports whether a pattern (a name, *.name or nothing) covers a host.
func matches(pattern, host string) bool {
	if suffix, wild := strings.CutPrefix(pattern, "*"); wild {
		return strings.HasSuffix(host, suffix)
	}
	return pattern == "" || strings.EqualFold(pattern, host)
}

func (r rule) covers(path string) bool {
	if r.exact || path == r.path {
		return path == r.path
	}
	return strings.HasPrefix(path, strings.TrimSuffix(r.path, "/")+"/")
}

func (t *table) sort() {
	slices.SortStableFunc(t.rules, func(a, b rule) int {
		specific := func(r rule) int { // names before wildcards, long paths before short ones
			n := len(r.path)
			if !strings.HasPrefix(r.host, "*") {
				n += 1 << 20
			}
			return n + len(r.host)<<10
		}
		if d := specific(b) - specific(a); d != 0 {
			return d
		}
		return a.since.Compare(b.since)
	})
}

func (t *table) find(host, path string, secure bool) *rule {
	for i, r := range t.rules {
		if matches(r.host, host) && r.covers(path) && (secure && r.secure || !secure && r.plain) {
			return &t.rules[i]
		}
	}
	return nil
}

func (t *table) certificate(name string) (*tls.Certificate, error) {
	for pattern, c := range t.certificates {
		if matches(pattern, name) {
			return c, nil
		}
	}
	return nil, fmt.Errorf("no certificate for %q", name)
}

func (r *router) handler(secure bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		host := req.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		found := r.table.Load().find(host, req.URL.Path, secure)
		if found == nil {
			http.Error(w, "no route for this host", http.StatusNotFound)
			return
		}
		if found.maxBody > 0 {
			if req.ContentLength > found.maxBody {
				http.Error(w, "body too large", http.StatusRequestEntityTooLarge)
				return
			}
			req.Body = http.MaxBytesReader(w, req.Body, found.maxBody)
		}
		if found.timeout > 0 {
			ctx, cancel := context.WithTimeout(req.Context(), found.timeout)
			defer cancel()
			req = req.WithContext(ctx)
		}
		r.pass(w, req, found, secure)
	})
}

func (r *router) pass(w http.ResponseWriter, req *http.Request, to *rule, secure bool) {
	addresses := r.endpoints(to)
	if len(addresses) == 0 {
		http.Error(w, "no endpoint is ready", http.StatusServiceUnavailable)
		return
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(&url.URL{Scheme: "http", Host: "endpoint"})
			p.Out.Host = p.In.Host
			p.SetXForwarded()
			if secure {
				p.Out.Header.Set("X-Forwarded-Proto", "https")
			}
		},
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, _ string) (c net.Conn, err error) {
			const patience = 2 * time.Second
			for _, a := range addresses { // the next one when one does not answer
				d := net.Dialer{Timeout: patience}
				if c, err = d.DialContext(ctx, network, a); err == nil {
					return c, nil
				}
			}
			return nil, err
		}},
		ErrorHandler: func(w http.ResponseWriter, req *http.Request, err error) {
			status := http.StatusBadGateway
			if req.Context().Err() != nil {
				status = http.StatusGatewayTimeout
			}
			http.Error(w, err.Error(), status)
		},
	}
	proxy.ServeHTTP(w, req)
}

// endpoints returns the addresses of ready pods behind a rule's Service, rotated
// a little with each call.
func (r *router) endpoints(to *rule) []string {
	service, err := r.typed.Core().V1().Services().Lister().Services(to.namespace).Get(to.service)
	if err != nil {
		return nil
	}
	name, found := portName(service, to)
	if !found {
		return nil
	}
	selector := labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: to.service})
	slicesOf, _ := r.typed.Discovery().V1().EndpointSlices().Lister().EndpointSlices(to.namespace).List(selector)
	var out []string
	for _, s := range slicesOf {
		for _, p := range s.Ports {
			if p.Name == nil || *p.Name != name || p.Port == nil {
				continue
			}
			for _, e := range s.Endpoints {
				if e.Conditions.Ready != nil && !*e.Conditions.Ready || len(e.Addresses) == 0 {
					continue
				}
				out = append(out, net.JoinHostPort(e.Addresses[0], strconv.Itoa(int(*p.Port))))
			}
		}
	}
	if len(out) > 1 {
		n := int(time.Now().UnixNano()>>10) % len(out)
		out = append(out[n:], out[:n]...)
	}
	return out
}

func portName(s *corev1.Service, to *rule) (string, bool) {
	for _, p := range s.Spec.Ports {
		if to.portName != "" && p.Name == to.portName || to.portName == "" && p.Port == to.port && p.Protocol != corev1.ProtocolUDP {
			return p.Name, true
		}
	}
	return "", false
}
