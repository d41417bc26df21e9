package mtls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"

	"github.com/moorage-dev/moorage/market"
)

const (
	// DefaultValidity is how long a certificate is good when nothing else is said.
	DefaultValidity = 365 * 24 * time.Hour
	// MaxHosts bounds the names in a certificate.
	MaxHosts = 64
	// backdate lets a peer whose clock is behind, or a chain whose block time is,
	// accept a new certificate.
	backdate = 10 * time.Minute
	// serialBits keep serial numbers below the 20 octets that RFC 5280 allows and
	// the 40 digits that the market allows.
	serialBits = 127
)

const (
	pemCertificate = "CERTIFICATE"
	pemKey         = "PRIVATE KEY"
)

// Request says which certificate to make.
type Request struct {
	// Owner is the account; it becomes the common name.
	Owner market.Address
	// Hosts are DNS names and IP addresses to put in, at most [MaxHosts]. Nothing
	// here depends on them; they are for clients that look.
	Hosts []string
	// Validity is how long it is good from now on; 0 means [DefaultValidity].
	Validity time.Duration
}

// Generate makes a key and a self-signed certificate, good from a little before
// now. Leaf is set. The error wraps [market.ErrInvalid] when the request is
// faulty.
func Generate(r Request, now time.Time) (tls.Certificate, error) {
	template, err := r.template(now)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("mtls: make key: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("mtls: make certificate: %w", err)
	}
	return assemble(der, key)
}

func (r Request) template(now time.Time) (*x509.Certificate, error) {
	if err := r.Owner.Validate(); err != nil {
		return nil, err
	}
	if r.Validity < 0 || len(r.Hosts) > MaxHosts {
		return nil, fmt.Errorf("mtls: request: %w: want a validity of at least 0 and at most %d hosts", market.ErrInvalid, MaxHosts)
	}
	validity := r.Validity
	if validity == 0 {
		validity = DefaultValidity
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: string(r.Owner)},
		NotBefore:             now.Add(-backdate).UTC().Truncate(time.Second),
		NotAfter:              now.Add(validity).UTC().Truncate(time.Second),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, h := range r.Hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	return t, nil
}

// newSerial returns a random number from 1 to 2^serialBits.
func newSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
	if err != nil {
		return nil, fmt.Errorf("mtls: make serial number: %w", err)
	}
	return n.Add(n, big.NewInt(1)), nil
}

func assemble(der []byte, key crypto.PrivateKey) (tls.Certificate, error) {
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("mtls: parse certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// EncodePEM returns the certificate and its key as PEM text. The key text is a
// secret: write it only where its owner alone can read it.
func EncodePEM(c tls.Certificate) (cert, key []byte, err error) {
	if len(c.Certificate) == 0 {
		return nil, nil, fmt.Errorf("mtls: encode: %w: no certificate", market.ErrInvalid)
	}
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return nil, nil, errors.New("mtls: encode: key is of a kind that cannot be written")
	}
	cert = pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: c.Certificate[0]})
	return cert, pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der}), nil
}

// ParsePEM reads what [EncodePEM] wrote. Leaf is set. The error wraps
// [market.ErrInvalid] and shows nothing of the key.
func ParsePEM(cert, key []byte) (tls.Certificate, error) {
	c, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("mtls: parse: %w: want a PEM certificate and its key", market.ErrInvalid)
	}
	return assemble(c.Certificate[0], c.PrivateKey)
}

// Message returns what the owner has to submit to publish the certificate. The
// error wraps [market.ErrInvalid] when it would not be accepted by a [Verifier].
func Message(c tls.Certificate) (market.CreateCertificate, error) {
	if len(c.Certificate) == 0 {
		return market.CreateCertificate{}, fmt.Errorf("mtls: message: %w: no certificate", market.ErrInvalid)
	}
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		return market.CreateCertificate{}, fmt.Errorf("mtls: message: %w: %w", market.ErrInvalid, err)
	}
	id, err := ID(leaf)
	if err != nil {
		return market.CreateCertificate{}, err
	}
	return market.CreateCertificate{Owner: id.Owner, DER: leaf.Raw}, nil
}

// ID returns the name that the market has for a certificate: its common name and
// its serial number. The error wraps [market.ErrInvalid] when there can be none.
// It says nothing about whether the certificate is good.
func ID(c *x509.Certificate) (market.CertificateID, error) {
	owner := market.Address(c.Subject.CommonName)
	if err := owner.Validate(); err != nil {
		return market.CertificateID{}, fmt.Errorf("mtls: common name: %w", err)
	}
	if c.SerialNumber == nil || c.SerialNumber.Sign() <= 0 || c.SerialNumber.BitLen() > serialBits+1 {
		return market.CertificateID{}, fmt.Errorf("mtls: serial number: %w: want 1 to %d bits, positive", market.ErrInvalid, serialBits+1)
	}
	return market.CertificateID{Owner: owner, Serial: c.SerialNumber.String()}, nil
}
