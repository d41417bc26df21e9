package machine

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"time"

	"github.com/moorage-dev/moorage/market"
)

// Bounds on certificates.
const (
	// MaxCertificateBytes bounds the DER form; one of our kind has about 500.
	MaxCertificateBytes = 4096
	// MaxSerialBits bounds the serial number, as RFC 5280 does (20 octets).
	MaxSerialBits = 160
)

// ParseCertificate checks that der is a certificate its owner may publish at a
// block time: x.509 with an ECDSA P-256 key, signed with that key over SHA-256,
// the owner's address as common name, a positive serial number, for digital
// signatures of a client or a server, no authority, not expired. A refusal is a
// [market.RuleError]. der is copied.
//
// What counts as x.509 is decided by crypto/x509, whose strictness grows with Go
// releases: hosts that must agree must be built with the same one.
func ParseCertificate(owner market.Address, der []byte, now time.Time) (market.Certificate, error) {
	var none market.Certificate
	if len(der) > MaxCertificateBytes {
		return none, market.Refuse(market.ErrLimit, "certificate-size", "%d bytes, at most %d", len(der), MaxCertificateBytes)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return none, market.Refuse(market.ErrInvalid, "certificate-form", "no x.509 certificate in DER form")
	}
	if c.Subject.CommonName != string(owner) {
		return none, market.Refuse(market.ErrUnauthorized, "certificate-name", "the common name is not %s", owner)
	}
	if err := checkKey(c); err != nil {
		return none, err
	}
	if err := checkUse(c); err != nil {
		return none, err
	}
	if !c.NotBefore.Before(c.NotAfter) || !c.NotAfter.After(now) {
		return none, market.Refuse(market.ErrInvalid, "certificate-dates", "valid from %s to %s, it is %s",
			c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return market.Certificate{
		ID:        market.CertificateID{Owner: owner, Serial: c.SerialNumber.String()},
		State:     market.CertificateValid,
		DER:       append([]byte(nil), der...),
		NotBefore: c.NotBefore.UTC(),
		NotAfter:  c.NotAfter.UTC(),
	}, nil
}

// checkKey checks the key, the signature with it, and the serial number.
func checkKey(c *x509.Certificate) error {
	k, ok := c.PublicKey.(*ecdsa.PublicKey)
	if !ok || k.Curve != elliptic.P256() {
		return market.Refuse(market.ErrInvalid, "certificate-key", "want an ECDSA key on P-256")
	}
	if c.SignatureAlgorithm != x509.ECDSAWithSHA256 || c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) != nil {
		return market.Refuse(market.ErrInvalid, "certificate-signature", "want a signature by its own key over SHA-256")
	}
	if n := c.SerialNumber; n.Sign() <= 0 || n.BitLen() > MaxSerialBits {
		return market.Refuse(market.ErrInvalid, "certificate-serial", "want a serial number above zero of at most %d bits", MaxSerialBits)
	}
	return nil
}

// checkUse checks what the certificate says it is for.
func checkUse(c *x509.Certificate) error {
	auth := false
	for _, u := range c.ExtKeyUsage {
		auth = auth || u == x509.ExtKeyUsageClientAuth || u == x509.ExtKeyUsageServerAuth
	}
	if c.KeyUsage&x509.KeyUsageDigitalSignature == 0 || !auth || c.IsCA {
		return market.Refuse(market.ErrInvalid, "certificate-usage", "want digital signatures for client or server authentication, and no authority")
	}
	return nil
}

func (m *Machine) createCertificate(at Moment, msg market.CreateCertificate) error {
	if err := msg.Owner.Validate(); err != nil {
		return market.Refuse(market.ErrInvalid, "certificate-owner", "%v", err)
	}
	c, err := ParseCertificate(msg.Owner, msg.DER, at.Time)
	if err != nil {
		return err
	}
	if err := free(m.Certificates, c.ID, "certificate"); err != nil {
		return err
	}
	m.emit(market.EventCertificateChanged, deploymentEvent(market.DeploymentID{Owner: msg.Owner}))
	return m.Certificates.Set(c.ID, c)
}

func (m *Machine) revokeCertificate(msg market.RevokeCertificate) error {
	c, err := need(m.Certificates, msg.ID, "certificate")
	if err != nil {
		return err
	}
	if c.State.Terminal() {
		return market.Refuse(market.ErrState, "certificate-revoked", "certificate %s is revoked", c.ID)
	}
	c.State = market.CertificateRevoked
	m.emit(market.EventCertificateChanged, deploymentEvent(market.DeploymentID{Owner: c.ID.Owner}))
	return m.Certificates.Set(c.ID, c)
}
