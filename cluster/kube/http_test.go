package kube_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/moorage-dev/moorage/cluster/clustertest"
	"github.com/moorage-dev/moorage/cluster/kube"
	"github.com/moorage-dev/moorage/internal/kubetest"
)

// TestWebPagesComeByAGateway runs the cases of the conformance suite that fetch
// pages, with HTTPRoutes instead of Ingress objects.
func TestWebPagesComeByAGateway(t *testing.T) {
	r := realCluster(t)
	r.Own(t)
	h := r.harness(func(cfg *kube.Config) {
		cfg.Router = kube.Router{Gateway: &kube.Gateway{Namespace: "router", Name: "moorage"}}
	})
	ran := 0
	for _, c := range clustertest.Cases() {
		if !slices.Contains(c.Needs, clustertest.HTTP) {
			continue
		}
		ran++
		t.Run(c.Name, func(t *testing.T) {
			assert.NoError(t, c.Check(t.Context(), h.Env(h.New(t))), c.Clause)
		})
	}
	assert.Positive(t, ran)
}

func TestWebPagesHaveHTTPS(t *testing.T) {
	r := realCluster(t)
	r.Own(t)
	for name, way := range map[string]func(t *testing.T, cfg *kube.Config, key, cert []byte){
		"gateway": r.secureGateway, "ingress": func(_ *testing.T, cfg *kube.Config, _, _ []byte) {
			cfg.Router = kube.Router{Ingress: kubetest.RouterClass, TLS: true, Issuer: "test"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			who := instance()
			r.sweep(t, who)
			cfg := r.config(who)
			key, cert, trusted := certificate(t, "*."+cfg.Domain)
			way(t, &cfg, key, cert)
			d, id := open(t, cfg), lease(who, 1)
			require.NoError(t, d.Apply(t.Context(), workload(id, 1, r.service("web", "hi in private"))))
			s := ready(t, d, id, 1)
			r.issue(t, kube.Namespace(id), key, cert)
			require.NotEmpty(t, s.Services[0].URIs)
			for _, uri := range s.Services[0].URIs {
				require.True(t, strings.HasPrefix(uri, "https://"), uri)
				eventually(t, func() error {
					got, err := r.getTrusting(t.Context(), uri, trusted)
					if err == nil && got != "hi in private" {
						err = errors.New(got)
					}
					return err
				})
			}
		})
	}
}

// secureGateway makes a Gateway that has a certificate for the names of an
// instance.
func (r *rig) secureGateway(t *testing.T, cfg *kube.Config, key, cert []byte) {
	t.Helper()
	cfg.Router = kube.Router{Gateway: &kube.Gateway{Namespace: "router", Name: cfg.Instance, Section: "https"}, TLS: true}
	_, err := r.Client().CoreV1().Secrets("router").Create(t.Context(), tlsSecret(cfg.Instance, key, cert), metav1.CreateOptions{})
	require.NoError(t, err)
	require.NoError(t, r.Apply(t.Context(), fmt.Appendf(nil, `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: %[1]s, namespace: router}
spec:
  gatewayClassName: %[2]s
  listeners:
  - name: https
    protocol: HTTPS
    port: 443
    hostname: "*.%[3]s"
    tls: {certificateRefs: [{name: %[1]s}]}
    allowedRoutes: {namespaces: {from: All}}
`, cfg.Instance, kubetest.RouterClass, cfg.Domain)))
}

// issue does what cert-manager would: it makes the Secrets that the Ingress
// objects of a namespace name.
func (r *rig) issue(t *testing.T, namespace string, key, cert []byte) {
	t.Helper()
	list, err := r.Client().NetworkingV1().Ingresses(namespace).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	for _, i := range list.Items {
		require.Equal(t, "test", i.Annotations["cert-manager.io/cluster-issuer"])
		for _, s := range i.Spec.TLS {
			_, err := r.Client().CoreV1().Secrets(namespace).Create(t.Context(), tlsSecret(s.SecretName, key, cert), metav1.CreateOptions{})
			require.NoError(t, err)
		}
	}
}

func tlsSecret(name string, key, cert []byte) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: cert, corev1.TLSPrivateKeyKey: key},
	}
}

// certificate makes a certificate that signs itself, and a pool that has it.
func certificate(t *testing.T, name string) (key, cert []byte, trusted *x509.CertPool) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	now := time.Now()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	require.NoError(t, err)
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	require.NoError(t, err)
	cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	trusted = x509.NewCertPool()
	require.True(t, trusted.AppendCertsFromPEM(cert))
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), cert, trusted
}
