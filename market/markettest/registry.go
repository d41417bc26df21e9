package markettest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"time"

	"github.com/moorage-dev/moorage/market"
)

func registryCases() []Case {
	return []Case{
		{"providers-register", "a provider is registered once, updated, listed, and deleted only when idle", providersRegister},
		{"certificates-are-checked", "only a P-256 certificate in the owner's name, for client or server authentication, not expired, is published; a serial number is used once", certificatesAreChecked},
		{"certificates-are-revoked", "a revoked certificate stays, revoked, and its serial number with it", certificatesAreRevoked},
		{"the-absent-is-not-found", "reading what does not exist gives ErrNotFound", absentIsNotFound},
	}
}

func providersRegister(r *run) {
	a, p := r.actor(), r.actor()
	info := market.Provider{Owner: p.Address(), HostURI: "https://one.example:8443", Email: "ops@one.example", Attributes: market.Attributes{{Key: "tier", Value: "a"}, {Key: "region", Value: "eu"}}}
	for _, uri := range []string{"http://one.example", "https://one.example/path", "https://", "one.example"} {
		bad := info
		bad.HostURI = uri
		p.refused(market.ErrInvalid, "provider-host-uri", market.CreateProvider{Provider: bad})
	}
	p.refused(market.ErrNotFound, "provider-unknown", market.UpdateProvider{Provider: info})
	p.do(market.CreateProvider{Provider: info})
	p.refused(market.ErrExists, "provider-exists", market.CreateProvider{Provider: info})
	got, err := a.Provider(r.ctx, p.Address())
	r.must(err)
	r.want(got.HostURI == info.HostURI && got.Email == info.Email && len(got.Attributes) == 2 && got.Attributes[0].Key == "region" && got.CreatedAt > 0, "provider is %+v", got)
	info.HostURI = "https://two.example:8443"
	p.do(market.UpdateProvider{Provider: info})
	again, err := a.Provider(r.ctx, p.Address())
	r.must(err)
	r.want(again.HostURI == info.HostURI && again.CreatedAt == got.CreatedAt, "updated provider is %+v", again)
	found := false
	for v, err := range market.All(func(page market.Page) ([]market.Provider, string, error) { return a.Providers(r.ctx, page) }) {
		r.must(err)
		found = found || v.Owner == p.Address()
	}
	r.want(found, "the provider is not listed")

	l := r.leased(a, p, 1, "10")
	p.refused(market.ErrState, "provider-busy", market.DeleteProvider{Owner: p.Address()})
	a.do(market.CloseDeployment{ID: l.ID.DeploymentID})
	p.do(market.DeleteProvider{Owner: p.Address()})
	_, err = a.Provider(r.ctx, p.Address())
	r.wantNotFound(err, "deleted provider")
}

// template returns a certificate for an owner that the market takes.
func template(owner market.Address, serial int64) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: string(owner)},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(20 * 365 * 24 * time.Hour), // beyond the time of any world
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
}

func (r *run) sign(c *x509.Certificate, curve elliptic.Curve) []byte {
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	r.must(err)
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	r.must(err)
	return der
}

func certificatesAreChecked(r *run) {
	a := r.actor()
	publish := func(der []byte) market.Msg { return market.CreateCertificate{Owner: a.Address(), DER: der} }
	bend := func(f func(*x509.Certificate)) market.Msg {
		c := template(a.Address(), 5)
		f(c)
		return publish(r.sign(c, elliptic.P256()))
	}
	a.refused(market.ErrInvalid, "certificate-form", publish([]byte("no certificate")))
	a.refused(market.ErrLimit, "certificate-size", publish(make([]byte, 5000)))
	a.refused(market.ErrInvalid, "certificate-key", publish(r.sign(template(a.Address(), 5), elliptic.P384())))
	a.refused(market.ErrUnauthorized, "certificate-name", bend(func(c *x509.Certificate) { c.Subject.CommonName = "another" }))
	a.refused(market.ErrInvalid, "certificate-usage", bend(func(c *x509.Certificate) { c.ExtKeyUsage = nil }))
	a.refused(market.ErrInvalid, "certificate-usage", bend(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }))
	a.refused(market.ErrInvalid, "certificate-dates", bend(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Unix(0, 0), time.Unix(1, 0) }))
	good := r.sign(template(a.Address(), 5), elliptic.P256())
	broken := append([]byte(nil), good...)
	broken[len(broken)-1] ^= 1
	a.refused(market.ErrInvalid, "certificate-signature", publish(broken))
	a.do(publish(good))
	a.refused(market.ErrExists, "certificate-exists", publish(r.sign(template(a.Address(), 5), elliptic.P256())))
	got, err := a.Certificate(r.ctx, market.CertificateID{Owner: a.Address(), Serial: "5"})
	r.must(err)
	r.want(got.State == market.CertificateValid && string(got.DER) == string(good) && got.NotAfter.After(got.NotBefore), "certificate is %+v", got)
}

func certificatesAreRevoked(r *run) {
	a := r.actor()
	for _, serial := range []int64{7, 8} {
		a.do(market.CreateCertificate{Owner: a.Address(), DER: r.sign(template(a.Address(), serial), elliptic.P256())})
	}
	id := market.CertificateID{Owner: a.Address(), Serial: "7"}
	a.do(market.RevokeCertificate{ID: id})
	a.refused(market.ErrState, "certificate-revoked", market.RevokeCertificate{ID: id})
	a.refused(market.ErrExists, "certificate-exists", market.CreateCertificate{Owner: a.Address(), DER: r.sign(template(a.Address(), 7), elliptic.P256())})
	list, _, err := a.Certificates(r.ctx, market.CertificateFilter{Owner: a.Address()}, market.Page{})
	r.must(err)
	r.want(len(list) == 2 && list[0].State == market.CertificateRevoked && list[1].State == market.CertificateValid, "certificates are %+v", list)
	for serial, f := range map[string]market.CertificateFilter{
		"8": {Owner: a.Address(), State: market.CertificateValid},
		"7": {Owner: a.Address(), Serial: "7"},
	} {
		list, _, err := a.Certificates(r.ctx, f, market.Page{})
		r.must(err)
		r.want(len(list) == 1 && list[0].ID.Serial == serial, "certificates of %+v are %+v, want %s", f, list, serial)
	}
	list, _, err = a.Certificates(r.ctx, market.CertificateFilter{Owner: a.Address(), Serial: "7", State: market.CertificateValid}, market.Page{})
	r.must(err)
	r.want(len(list) == 0, "a valid certificate 7 is %+v, it is revoked", list)
	_, _, err = a.Certificates(r.ctx, market.CertificateFilter{Serial: "7"}, market.Page{})
	r.want(errors.Is(err, market.ErrInvalid), "a serial number without an owner: error %v, want ErrInvalid", err)
}

func absentIsNotFound(r *run) {
	a := r.actor()
	id := market.DeploymentID{Owner: a.Address(), DSeq: 404}
	o := orderOf(id, 1, 1)
	bid := market.BidID{OrderID: o, Provider: a.Address()}
	reads := map[string]func() error{
		"deployment": func() error { _, err := a.Deployment(r.ctx, id); return err },
		"groups":     func() error { _, err := a.Groups(r.ctx, id); return err },
		"account":    func() error { _, err := a.Account(r.ctx, id); return err },
		"order":      func() error { _, err := a.Order(r.ctx, o); return err },
		"bid":        func() error { _, err := a.Bid(r.ctx, bid); return err },
		"lease":      func() error { _, err := a.Lease(r.ctx, bid.Lease()); return err },
		"payment":    func() error { _, err := a.Payment(r.ctx, bid.Lease()); return err },
		"provider":   func() error { _, err := a.Provider(r.ctx, a.Address()); return err },
		"certificate": func() error {
			_, err := a.Certificate(r.ctx, market.CertificateID{Owner: a.Address(), Serial: "1"})
			return err
		},
	}
	for what, read := range reads {
		r.wantNotFound(read(), what)
	}
	a.refused(market.ErrNotFound, "deployment-unknown", market.CloseDeployment{ID: id})
	a.refused(market.ErrNotFound, "group-unknown", market.CloseGroup{ID: o.GroupID})
	a.refused(market.ErrNotFound, "bid-unknown", market.CreateLease{ID: bid})
	a.refused(market.ErrNotFound, "lease-unknown", market.CloseLease{ID: bid.Lease()})
	a.refused(market.ErrNotFound, "certificate-unknown", market.RevokeCertificate{ID: market.CertificateID{Owner: a.Address(), Serial: "1"}})
	a.refused(market.ErrNotFound, "audit-unknown", market.RevokeAudit{ID: market.AuditID{Provider: a.Address(), Auditor: a.Address()}})
}
