package mtls

import (
	"context"
	"crypto/tls"
	"time"

	"github.com/moorage-dev/moorage/market"
)

// ServerConfig returns the TLS settings of a gateway: TLS 1.3, the provider's
// certificate, and a request for the client's. It takes any client certificate
// or none; every request must be checked with [Verifier.Verify], for which TLS
// has proved that the client holds the key.
//
// Only HTTP/1.1 is offered: a stream has a connection of its own, so that a
// reader who does not read holds up nobody else.
func ServerConfig(own tls.Certificate) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{own},
		ClientAuth:             tls.RequestClientCert,
		NextProtos:             []string{"http/1.1"},
		SessionTicketsDisabled: true,
	}
}

// ClientConfig returns TLS settings that accept a server only when it shows a
// certificate that the provider has published and not revoked. Names and
// certificate authorities play no part, so a host name or an address that leads
// elsewhere cannot deceive. own is shown to the server; a zero value shows none.
func (v *Verifier) ClientConfig(provider market.Address, own tls.Certificate) *tls.Config {
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{"http/1.1"},
		// The usual check asks certificate authorities. VerifyConnection, which
		// runs on every handshake, resumed ones too, asks the market instead.
		InsecureSkipVerify: true, //nolint:gosec // replaced by VerifyConnection
		VerifyConnection: func(cs tls.ConnectionState) error {
			return v.verifyServer(provider, cs)
		},
	}
	if len(own.Certificate) > 0 {
		cfg.Certificates = []tls.Certificate{own}
	}
	return cfg
}

func (v *Verifier) verifyServer(provider market.Address, cs tls.ConnectionState) error {
	if len(cs.PeerCertificates) != 1 {
		return reject(ReasonAbsent, "want exactly one certificate from the server")
	}
	ctx, cancel := context.WithTimeout(context.Background(), LookupTimeout)
	defer cancel()
	owner, err := v.Verify(ctx, cs.PeerCertificates[0], ServerUse, time.Now())
	if err != nil {
		return err
	}
	if owner != provider {
		return reject(ReasonOwner, "server is %s, want %s", owner, provider)
	}
	return nil
}
