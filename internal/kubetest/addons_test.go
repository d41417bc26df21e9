package kubetest_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/internal/kubetest"
)

// TestNamesAndLeasedAddressesAnswer has everything on: the router serves an
// Ingress and an HTTPRoute, and MetalLB announces a Service.
func TestNamesAndLeasedAddressesAnswer(t *testing.T) {
	c := kubetest.Start(t, kubetest.Options{Router: true, MetalLB: true})
	lan, err := c.Lan()
	require.NoError(t, err)
	deploy(t, c, guestImage(t, c), 1, 30083)
	namespace := strings.ToLower(t.Name())
	require.NoError(t, c.Apply(t.Context(), fmt.Appendf(nil, `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: %[1]s}
spec:
  ingressClassName: %[2]s
  rules:
  - host: by-ingress.example
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {name: http}}}}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: %[1]s}
spec:
  parentRefs: [{name: moorage, namespace: router}]
  hostnames: [by-route.example]
  rules: [{backendRefs: [{name: web, port: 80}]}]
---
apiVersion: v1
kind: Service
metadata:
  name: leased
  namespace: %[1]s
  annotations: {metallb.io/loadBalancerIPs: "192.168.77.201,fd77::201"}
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  selector: {app: web}
  ports: [{name: http, port: 8000, targetPort: 8080}]
`, namespace, kubetest.RouterClass)))

	v4, _ := kubetest.NodeAddress(1)
	router := netip.AddrPortFrom(v4, 80).String()
	require.Equal(t, "ahoy", eventually(t, lan, router, "http://by-ingress.example/"))
	require.Equal(t, "ahoy", eventually(t, lan, router, "http://by-route.example/"))
	_, err = get(t.Context(), lan, router, "http://by-nobody.example/")
	require.ErrorContains(t, err, "404")

	require.Equal(t, "ahoy", eventually(t, lan, "", "http://192.168.77.201:8000/"))
	require.Equal(t, "ahoy", eventually(t, lan, "", "http://[fd77::201]:8000/"))
}
