package mtls_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway/gatewaytest"
	"github.com/moorage-dev/moorage/provider/gateway/mtls"
)

const owner market.Address = "akash1owner"

func generate(t *testing.T, now time.Time) tls.Certificate {
	t.Helper()
	c, err := mtls.Generate(mtls.Request{Owner: owner, Hosts: []string{"h.example", "10.0.0.1"}}, now)
	require.NoError(t, err)
	return c
}

func verifier(t *testing.T, r mtls.Registry) *mtls.Verifier {
	t.Helper()
	v, err := mtls.NewVerifier(r, mtls.Config{})
	require.NoError(t, err)
	return v
}

func TestGeneratedCertificateIsWhatTheMarketWants(t *testing.T) {
	now := time.Now()
	c := generate(t, now)
	leaf := c.Leaf
	key, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	require.True(t, ok)
	assert.Equal(t, elliptic.P256(), key.Curve)
	assert.Equal(t, string(owner), leaf.Subject.CommonName)
	assert.Equal(t, leaf.RawSubject, leaf.RawIssuer)
	assert.ElementsMatch(t, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, leaf.ExtKeyUsage)
	assert.Equal(t, []string{"h.example"}, leaf.DNSNames)
	assert.Len(t, leaf.IPAddresses, 1)
	assert.True(t, leaf.NotBefore.Before(now))
	assert.WithinDuration(t, now.Add(mtls.DefaultValidity), leaf.NotAfter, time.Second)
	require.NoError(t, leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature))

	id, err := mtls.ID(leaf)
	require.NoError(t, err)
	assert.Equal(t, owner, id.Owner)
	assert.LessOrEqual(t, len(id.Serial), 40)
	msg, err := mtls.Message(c)
	require.NoError(t, err)
	assert.Equal(t, market.CreateCertificate{Owner: owner, DER: leaf.Raw}, msg)
	assert.NotEqual(t, leaf.SerialNumber, generate(t, now).Leaf.SerialNumber)
}

func TestBadRequestsAreInvalid(t *testing.T) {
	for name, r := range map[string]mtls.Request{
		"no owner":          {},
		"odd owner":         {Owner: "a/b"},
		"negative validity": {Owner: owner, Validity: -1},
		"too many hosts":    {Owner: owner, Hosts: make([]string, mtls.MaxHosts+1)},
	} {
		_, err := mtls.Generate(r, time.Now())
		require.ErrorIs(t, err, market.ErrInvalid, name)
	}
	_, err := mtls.Message(tls.Certificate{})
	require.ErrorIs(t, err, market.ErrInvalid)
}

func TestPEMGoesThereAndBack(t *testing.T) {
	c := generate(t, time.Now())
	cert, key, err := mtls.EncodePEM(c)
	require.NoError(t, err)
	back, err := mtls.ParsePEM(cert, key)
	require.NoError(t, err)
	assert.Equal(t, c.Certificate, back.Certificate)
	assert.Equal(t, c.Leaf.Raw, back.Leaf.Raw)
	assert.Equal(t, c.PrivateKey, back.PrivateKey)

	_, err = mtls.ParsePEM(cert, []byte("secret key text"))
	require.ErrorIs(t, err, market.ErrInvalid)
	assert.NotContains(t, err.Error(), "secret key text")
	_, otherKey, err := mtls.EncodePEM(generate(t, time.Now()))
	require.NoError(t, err)
	_, err = mtls.ParsePEM(cert, otherKey)
	require.ErrorIs(t, err, market.ErrInvalid, "the key of another certificate")
	_, _, err = mtls.EncodePEM(tls.Certificate{})
	require.ErrorIs(t, err, market.ErrInvalid)
}

func TestOnlyThePublishedCertificateIsGood(t *testing.T) {
	now := time.Now()
	good := generate(t, now)
	reg := gatewaytest.NewRegistry()
	id := reg.Publish(t, good)
	v := verifier(t, reg)

	got, err := v.Verify(t.Context(), good.Leaf, mtls.ClientUse, now)
	require.NoError(t, err)
	assert.Equal(t, owner, got)
	_, err = v.Verify(t.Context(), good.Leaf, mtls.ServerUse, now)
	require.NoError(t, err)

	cases := []struct {
		name string
		cert *x509.Certificate
		now  time.Time
		want mtls.Reason
	}{
		{"none", nil, now, mtls.ReasonForm},
		{"not published", generate(t, now).Leaf, now, mtls.ReasonUnknown},
		{"same name and serial, another key", forge(t, good.Leaf, nil), now, mtls.ReasonMismatch},
		{"expired", good.Leaf, good.Leaf.NotAfter.Add(time.Second), mtls.ReasonExpired},
		{"not yet valid", good.Leaf, good.Leaf.NotBefore.Add(-time.Second), mtls.ReasonNotYetValid},
		{"for servers only", forge(t, good.Leaf, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}), now, mtls.ReasonUsage},
		{"not for signatures", forge(t, good.Leaf, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }), now, mtls.ReasonUsage},
		{"no account", forge(t, good.Leaf, func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: "not an account!"} }), now, mtls.ReasonForm},
		{"large serial", forge(t, good.Leaf, func(c *x509.Certificate) { c.SerialNumber = new(big.Int).Lsh(big.NewInt(1), 150) }), now, mtls.ReasonForm},
		{"another issuer", foreignIssuer(t, good.Leaf), now, mtls.ReasonForm},
		{"another kind of key", ed25519Cert(t, good.Leaf), now, mtls.ReasonForm},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			_, err := v.Verify(t.Context(), tc.cert, mtls.ClientUse, tc.now)
			require.ErrorIs(t, err, mtls.ErrRejected)
			e, ok := errors.AsType[*mtls.RejectError](err)
			require.True(t, ok)
			assert.Equal(t, tc.want, e.Reason, err)
		})
	}

	reg.Revoke(id)
	_, err = v.Verify(t.Context(), good.Leaf, mtls.ClientUse, now.Add(mtls.DefaultTTL))
	require.ErrorIs(t, err, mtls.ErrRejected, "a revocation is seen after the TTL")
}

// forge makes a certificate like c with a key of its own.
func forge(t *testing.T, c *x509.Certificate, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	template := *c
	template.SubjectKeyId, template.AuthorityKeyId, template.RawSubject = nil, nil, nil
	template.SignatureAlgorithm = 0
	if change != nil {
		template.Subject = pkix.Name{CommonName: c.Subject.CommonName}
		change(&template)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template.PublicKey = key.Public()
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	require.NoError(t, err)
	out, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return out
}

func foreignIssuer(t *testing.T, c *x509.Certificate) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	issuer := &x509.Certificate{Subject: pkix.Name{CommonName: "ca"}, SerialNumber: big.NewInt(1)}
	template := *c
	template.SignatureAlgorithm = 0
	der, err := x509.CreateCertificate(rand.Reader, &template, issuer, key.Public(), key)
	require.NoError(t, err)
	out, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return out
}

func ed25519Cert(t *testing.T, c *x509.Certificate) *x509.Certificate {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	template := *c
	template.SignatureAlgorithm, template.PublicKey = 0, pub
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, pub, key)
	require.NoError(t, err)
	out, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return out
}

func TestAnswersAreRememberedForTheTTLAndNoLonger(t *testing.T) {
	now := time.Now()
	c := generate(t, now)
	reg := gatewaytest.NewRegistry()
	v := verifier(t, reg)
	verify := func(at time.Duration) error {
		_, err := v.Verify(t.Context(), c.Leaf, mtls.ClientUse, now.Add(at))
		return err
	}
	require.ErrorIs(t, verify(0), mtls.ErrRejected)
	reg.Publish(t, c)
	require.ErrorIs(t, verify(mtls.DefaultTTL-1), mtls.ErrRejected)
	assert.Equal(t, 1, reg.Lookups())
	require.NoError(t, verify(mtls.DefaultTTL))
	require.NoError(t, verify(2*mtls.DefaultTTL-1))
	assert.Equal(t, 2, reg.Lookups())

	v.Forget("somebody")
	require.NoError(t, verify(2*mtls.DefaultTTL-1))
	assert.Equal(t, 2, reg.Lookups())
	v.Forget(owner)
	require.NoError(t, verify(2*mtls.DefaultTTL-1))
	assert.Equal(t, 3, reg.Lookups())
}

func TestMarketThatCannotBeAskedLetsNobodyIn(t *testing.T) {
	now := time.Now()
	c := generate(t, now)
	reg := gatewaytest.NewRegistry()
	reg.Publish(t, c)
	reg.Fail(errors.New("connection refused"))
	v := verifier(t, reg)
	_, err := v.Verify(t.Context(), c.Leaf, mtls.ClientUse, now)
	require.ErrorIs(t, err, market.ErrUnavailable)
	require.NotErrorIs(t, err, mtls.ErrRejected)
	reg.Fail(nil)
	_, err = v.Verify(t.Context(), c.Leaf, mtls.ClientUse, now)
	require.NoError(t, err, "a failure is not remembered")
}

// slowRegistry answers when its context ends, or when released.
type slowRegistry struct {
	release chan struct{}
	mu      sync.Mutex
	asked   int
}

func (r *slowRegistry) Certificate(ctx context.Context, id market.CertificateID) (market.Certificate, error) {
	r.mu.Lock()
	r.asked++
	r.mu.Unlock()
	select {
	case <-r.release:
		return market.Certificate{}, fmt.Errorf("%s: %w", id, market.ErrNotFound)
	case <-ctx.Done():
		return market.Certificate{}, ctx.Err()
	}
}

func TestManyQuestionsAboutOneCertificateAreAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := generate(t, time.Now())
		reg := &slowRegistry{release: make(chan struct{})}
		v := verifier(t, reg)
		errs := make(chan error, 50)
		for range cap(errs) {
			go func() {
				_, err := v.Verify(t.Context(), c.Leaf, mtls.ClientUse, time.Now())
				errs <- err
			}()
		}
		synctest.Wait()
		close(reg.release)
		for range cap(errs) {
			require.ErrorIs(t, <-errs, mtls.ErrRejected)
		}
		assert.Equal(t, 1, reg.asked)
	})
}

func TestSlowMarketIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := verifier(t, &slowRegistry{})
		start := time.Now()
		_, err := v.Verify(t.Context(), generate(t, start).Leaf, mtls.ClientUse, start)
		require.ErrorIs(t, err, market.ErrUnavailable)
		assert.Equal(t, mtls.LookupTimeout, time.Since(start))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = v.Verify(ctx, generate(t, start).Leaf, mtls.ClientUse, time.Now())
		require.ErrorIs(t, err, market.ErrUnavailable)
		assert.Equal(t, mtls.LookupTimeout+time.Second, time.Since(start), "the caller's context counts")
		time.Sleep(mtls.LookupTimeout) // virtual: the lookup itself ends too
	})
}

func TestMadeUpCertificatesDriveNoGoodOneOut(t *testing.T) {
	now := time.Now()
	good := generate(t, now)
	reg := gatewaytest.NewRegistry()
	reg.Publish(t, good)
	v := verifier(t, reg)
	_, err := v.Verify(t.Context(), good.Leaf, mtls.ClientUse, now)
	require.NoError(t, err)
	fake := generate(t, now)
	for i := range 5000 {
		c := *fake.Leaf
		c.Raw = append([]byte(nil), fake.Leaf.Raw...)
		c.Raw[len(c.Raw)-1-i%8] ^= byte(i>>3 + 1)
		c.Raw = append(c.Raw, byte(i), byte(i>>8))
		_, err := v.Verify(t.Context(), &c, mtls.ClientUse, now)
		require.ErrorIs(t, err, mtls.ErrRejected)
	}
	before := reg.Lookups()
	_, err = v.Verify(t.Context(), good.Leaf, mtls.ClientUse, now)
	require.NoError(t, err)
	assert.Equal(t, before, reg.Lookups(), "still remembered")
}

func TestVerifierNeedsARegistryAndAShortTTL(t *testing.T) {
	_, err := mtls.NewVerifier(nil, mtls.Config{})
	require.ErrorIs(t, err, market.ErrInvalid)
	_, err = mtls.NewVerifier(gatewaytest.NewRegistry(), mtls.Config{TTL: mtls.MaxTTL + 1})
	require.ErrorIs(t, err, market.ErrInvalid)
	_, err = mtls.NewVerifier(gatewaytest.NewRegistry(), mtls.Config{TTL: -1})
	require.ErrorIs(t, err, market.ErrInvalid)
}

// handshake connects two configurations over loopback and returns the client's
// error.
func handshake(t *testing.T, server, client *tls.Config) error {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_ = tls.Server(conn, server).HandshakeContext(t.Context()) // the client's error counts
		_ = conn.Close()
	}()
	raw, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	err = tls.Client(raw, client).HandshakeContext(t.Context())
	_ = raw.Close()
	<-done
	return err
}

func TestClientTalksOnlyToTheProvider(t *testing.T) {
	reg := gatewaytest.NewRegistry()
	cert := generate(t, time.Now())
	id := reg.Publish(t, cert)
	impostor := generate(t, time.Now())

	err := handshake(t, mtls.ServerConfig(cert), verifier(t, reg).ClientConfig(owner, tls.Certificate{}))
	require.NoError(t, err)
	err = handshake(t, mtls.ServerConfig(impostor), verifier(t, reg).ClientConfig(owner, tls.Certificate{}))
	require.ErrorIs(t, err, mtls.ErrRejected)
	err = handshake(t, mtls.ServerConfig(cert), verifier(t, reg).ClientConfig("another", tls.Certificate{}))
	require.ErrorIs(t, err, mtls.ErrRejected)

	two := cert
	two.Certificate = append(two.Certificate, impostor.Certificate...)
	err = handshake(t, mtls.ServerConfig(two), verifier(t, reg).ClientConfig(owner, tls.Certificate{}))
	require.ErrorIs(t, err, mtls.ErrRejected, "a chain")

	old := mtls.ServerConfig(cert)
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	err = handshake(t, old, verifier(t, reg).ClientConfig(owner, tls.Certificate{}))
	require.Error(t, err, "TLS 1.2")

	reg.Revoke(id)
	err = handshake(t, mtls.ServerConfig(cert), verifier(t, reg).ClientConfig(owner, tls.Certificate{}))
	require.ErrorIs(t, err, mtls.ErrRejected)
}

func FuzzVerifyNeverAcceptsWhatIsNotPublished(f *testing.F) {
	now := time.Now()
	c, err := mtls.Generate(mtls.Request{Owner: owner}, now)
	require.NoError(f, err)
	f.Add(c.Leaf.Raw)
	f.Add([]byte{0x30, 0x03, 1, 2, 3})
	v, err := mtls.NewVerifier(gatewaytest.NewRegistry(), mtls.Config{})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, der []byte) {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		_, err = v.Verify(t.Context(), cert, mtls.ClientUse, now)
		require.ErrorIs(t, err, mtls.ErrRejected)
	})
}
