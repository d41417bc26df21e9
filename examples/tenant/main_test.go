package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/tenant"
)

func TestExitCodesTellWhatScriptsMustKnow(t *testing.T) {
	assert.Equal(t, codeNoBids, codeOf(fmt.Errorf("deploy: %w", &tenant.NoBidsError{})))
	assert.Equal(t, codeNotReady, codeOf(fmt.Errorf("deploy: %w", &tenant.NotReadyError{})))
	assert.Equal(t, 1, codeOf(market.ErrUnavailable))
}

func TestAGatewayThatCannotBeReachedIsNotBlamedOnTheNode(t *testing.T) {
	p := &program{node: "node:9090"}
	assert.ErrorContains(t, p.explain(market.ErrUnavailable), "node:9090")
	err := fmt.Errorf("send manifest: %w: %w", market.ErrUnavailable, &url.Error{Op: "Put", URL: "https://provider", Err: market.ErrState})
	assert.Equal(t, err, p.explain(err))
}

func TestDocumentsHaveStatesAsText(t *testing.T) {
	for _, doc := range []any{
		documents([]market.Deployment{{State: market.DeploymentActive}})[0],
		bidDocuments([]market.Bid{{State: market.BidOpen}})[0],
		orderDocuments([]market.Order{{State: market.OrderOpen}})[0],
		balanceDocument{tenant.Balance{State: market.AccountOpen}, market.AccountOpen.String()},
	} {
		text, err := json.Marshal(doc)
		require.NoError(t, err)
		var fields map[string]any
		require.NoError(t, json.Unmarshal(text, &fields))
		assert.IsType(t, "", fields["state"], string(text))
		assert.NotContains(t, fields, "State")
		assert.NotContains(t, fields, "BlocksLeft")
	}
}
