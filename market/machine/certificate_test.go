package machine_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/machine"
)

// certNow is the block time of these tests.
func certNow() time.Time { return time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC) }

func certTemplate() *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(42),
		Subject:      pkix.Name{CommonName: "tenant"},
		NotBefore:    certNow().Add(-time.Hour),
		NotAfter:     certNow().Add(time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
}

func ecKey(tb testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	tb.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	require.NoError(tb, err)
	return k
}

// signCert makes a certificate of a key, signed by another.
func signCert(tb testing.TB, c *x509.Certificate, k, by crypto.Signer) []byte {
	tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), by)
	require.NoError(tb, err)
	return der
}

func TestACertificateSaysWhoItsOwnerIs(t *testing.T) {
	k := ecKey(t, elliptic.P256())
	der := signCert(t, certTemplate(), k, k)
	c, err := machine.ParseCertificate("tenant", der, certNow())
	require.NoError(t, err)
	assert.Equal(t, market.Certificate{
		ID: market.CertificateID{Owner: "tenant", Serial: "42"}, State: market.CertificateValid, DER: der,
		NotBefore: certNow().Add(-time.Hour), NotAfter: certNow().Add(time.Hour),
	}, c)
	der[0] ^= 1
	assert.NotEqual(t, der, c.DER, "der is copied")
}

func TestCertificatesOfTheWrongKindAreRefused(t *testing.T) {
	k, other := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())
	p384 := ecKey(t, elliptic.P384())
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	bent := func(f func(*x509.Certificate)) []byte {
		c := certTemplate()
		f(c)
		return signCert(t, c, k, k)
	}
	good := signCert(t, certTemplate(), k, k)
	cases := []struct {
		name, rule string
		der        []byte
	}{
		{"nothing", "certificate-form", nil},
		{"something after it", "certificate-form", append(append([]byte(nil), good...), 0)},
		{"too large", "certificate-size", make([]byte, machine.MaxCertificateBytes+1)},
		{"another's name", "certificate-name", bent(func(c *x509.Certificate) { c.Subject.CommonName = "tenant2" })},
		{"an RSA key", "certificate-key", signCert(t, certTemplate(), rsaKey, rsaKey)},
		{"another curve", "certificate-key", signCert(t, certTemplate(), p384, p384)},
		{"signed by another key", "certificate-signature", signCert(t, certTemplate(), k, other)},
		{"signed over SHA-512", "certificate-signature", bent(func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA512 })},
		{"a serial number of 161 bits", "certificate-serial", bent(func(c *x509.Certificate) {
			c.SerialNumber = new(big.Int).Lsh(big.NewInt(1), 158)
			c.SerialNumber.SetBit(c.SerialNumber, 160, 1)
		})},
		{"no use for signatures", "certificate-usage", bent(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment })},
		{"no use for TLS", "certificate-usage", bent(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} })},
		{"an authority", "certificate-usage", bent(func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true })},
		{"expired", "certificate-dates", bent(func(c *x509.Certificate) { c.NotAfter = certNow() })},
		{"never valid", "certificate-dates", bent(func(c *x509.Certificate) { c.NotBefore = c.NotAfter })},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := machine.ParseCertificate("tenant", c.der, certNow())
			var re *market.RuleError
			require.ErrorAs(t, err, &re)
			assert.Equal(t, c.rule, re.Rule, "%v", err)
		})
	}
}

func FuzzParseCertificate(f *testing.F) {
	k := ecKey(f, elliptic.P256())
	f.Add(signCert(f, certTemplate(), k, k))
	f.Add([]byte{0x30, 0x00})
	f.Fuzz(func(t *testing.T, der []byte) {
		c, err := machine.ParseCertificate("tenant", der, certNow())
		if err != nil {
			var re *market.RuleError
			require.ErrorAs(t, err, &re)
			return
		}
		require.Equal(t, der, c.DER)
	})
}
