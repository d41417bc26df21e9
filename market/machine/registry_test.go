package machine_test

import (
	"crypto/elliptic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/machine"
)

// Whatever changes in the registry is announced, by name.
func TestTheRegistryAnnouncesItsChanges(t *testing.T) {
	h := newHost(market.DefaultParams("uakt"))
	provider := market.Provider{Owner: "provider", HostURI: "https://p.example"}
	word := market.Audit{ID: market.AuditID{Provider: "provider", Auditor: "auditor"}}
	k := ecKey(t, elliptic.P256())
	certificate := market.CertificateID{Owner: "tenant", Serial: "42"}
	ofProvider, ofTenant := market.LeaseID{Provider: "provider"}, market.LeaseID{}
	ofTenant.Owner = "tenant"
	for _, c := range []struct {
		msg  market.Msg
		want market.Event
	}{
		{market.CreateProvider{Provider: provider}, market.Event{Kind: market.EventProviderChanged, ID: ofProvider}},
		{market.UpdateProvider{Provider: provider}, market.Event{Kind: market.EventProviderChanged, ID: ofProvider}},
		{market.SignAudit{Audit: word}, market.Event{Kind: market.EventAuditChanged, ID: ofProvider}},
		{market.RevokeAudit{ID: word.ID}, market.Event{Kind: market.EventAuditChanged, ID: ofProvider}},
		{market.CreateCertificate{Owner: "tenant", DER: signCert(t, certTemplate(), k, k)}, market.Event{Kind: market.EventCertificateChanged, ID: ofTenant}},
		{market.RevokeCertificate{ID: certificate}, market.Event{Kind: market.EventCertificateChanged, ID: ofTenant}},
		{market.DeleteProvider{Owner: "provider"}, market.Event{Kind: market.EventProviderChanged, ID: ofProvider}},
	} {
		events, err := h.Execute(machine.Moment{Height: 1, Time: certNow()}, c.msg)
		require.NoError(t, err, "%T", c.msg)
		assert.Equal(t, []market.Event{c.want}, events, "%T", c.msg)
	}
}

func TestAnAuditMustNotBeExpiredWhenItIsSigned(t *testing.T) {
	h := newHost(market.DefaultParams("uakt"))
	h.must(t, 1, market.CreateProvider{Provider: market.Provider{Owner: "provider", HostURI: "https://p.example"}})
	word := market.Audit{ID: market.AuditID{Provider: "provider", Auditor: "auditor"}, ExpiresAt: certNow()}
	_, err := h.Execute(machine.Moment{Height: 1, Time: certNow()}, market.SignAudit{Audit: word})
	require.ErrorIs(t, err, market.ErrInvalid)
	word.ID.Provider = "nobody"
	_, err = h.Execute(machine.Moment{Height: 1, Time: certNow()}, market.SignAudit{Audit: word})
	require.ErrorIs(t, err, market.ErrNotFound)
}
