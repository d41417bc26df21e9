package mtls_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/memmarket"
	"github.com/moorage-dev/moorage/provider/gateway/mtls"
)

func TestMarketTakesTheCertificateAndItsRevocation(t *testing.T) {
	now := time.Now()
	m, err := memmarket.New(memmarket.Config{
		BlockPerSubmit: true, Start: now, Balances: map[market.Address]market.Coins{owner: {market.NewCoin("uakt", 1_000_000)}},
	})
	require.NoError(t, err)
	c := m.Client(owner)
	cert, err := mtls.Generate(mtls.Request{Owner: owner}, now)
	require.NoError(t, err)
	msg, err := mtls.Message(cert)
	require.NoError(t, err)
	v := verifier(t, c)
	_, err = v.Verify(t.Context(), cert.Leaf, mtls.ClientUse, now)
	require.ErrorIs(t, err, mtls.ErrRejected)

	_, err = c.Submit(t.Context(), msg)
	require.NoError(t, err)
	v.Forget(owner)
	got, err := v.Verify(t.Context(), cert.Leaf, mtls.ClientUse, now)
	require.NoError(t, err)
	assert.Equal(t, owner, got)

	id, err := mtls.ID(cert.Leaf)
	require.NoError(t, err)
	_, err = c.Submit(t.Context(), market.RevokeCertificate{ID: id})
	require.NoError(t, err)
	v.Forget(owner)
	_, err = v.Verify(t.Context(), cert.Leaf, mtls.ClientUse, now)
	require.ErrorIs(t, err, mtls.ErrRejected)
}
