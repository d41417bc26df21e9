package stack

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway/mtls"
)

// renewBefore is how long before its end a certificate is replaced.
const renewBefore = 30 * 24 * time.Hour

// Certificate returns the account's certificate for gateways: the one kept in
// dir, or a new one. It is on the market when the call returns.
func Certificate(ctx context.Context, m market.Client, dir string, hosts []string) (tls.Certificate, error) {
	cert, err := loadCertificate(dir, m.Address())
	if err != nil || time.Until(cert.Leaf.NotAfter) < renewBefore {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return tls.Certificate{}, err
		}
		if cert, err = newCertificate(dir, m.Address(), hosts); err != nil {
			return tls.Certificate{}, err
		}
	}
	return cert, publish(ctx, m, cert)
}

// CertificateFiles are where [Certificate] keeps the certificate of an account.
func CertificateFiles(dir string, owner market.Address) []string {
	cert, key := certificateFiles(dir, owner)
	return []string{cert, key}
}

func certificateFiles(dir string, owner market.Address) (cert, key string) {
	base := filepath.Join(dir, "certificate-"+string(owner))
	return base + ".pem", base + ".key"
}

func loadCertificate(dir string, owner market.Address) (tls.Certificate, error) {
	certFile, keyFile := certificateFiles(dir, owner)
	certPEM, err := os.ReadFile(certFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	keyPEM, err := os.ReadFile(keyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	cert, err := mtls.ParsePEM(certPEM, keyPEM)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%s: %w: delete it to get a new one", certFile, err)
	}
	return cert, nil
}

// newCertificate makes a certificate and keeps it. The key is written first, so
// that a certificate file never stands without one.
func newCertificate(dir string, owner market.Address, hosts []string) (tls.Certificate, error) {
	cert, err := mtls.Generate(mtls.Request{Owner: owner, Hosts: hosts}, time.Now())
	if err != nil {
		return tls.Certificate{}, err
	}
	certPEM, keyPEM, err := mtls.EncodePEM(cert)
	if err != nil {
		return tls.Certificate{}, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return tls.Certificate{}, err
	}
	certFile, keyFile := certificateFiles(dir, owner)
	if err := os.WriteFile(keyFile, keyPEM, 0o600); err != nil {
		return tls.Certificate{}, err
	}
	return cert, os.WriteFile(certFile, certPEM, 0o600)
}

// publish puts the certificate on the market unless it is there.
func publish(ctx context.Context, m market.Client, cert tls.Certificate) error {
	id, err := mtls.ID(cert.Leaf)
	if err != nil {
		return err
	}
	have, err := m.Certificate(ctx, id)
	switch {
	case err == nil && have.State == market.CertificateValid:
		return nil
	case err == nil:
		return fmt.Errorf("certificate %s was revoked: delete its files to get a new one", id)
	case !errors.Is(err, market.ErrNotFound):
		return err
	}
	msg, err := mtls.Message(cert)
	if err != nil {
		return err
	}
	_, err = m.Submit(ctx, msg)
	return err
}
