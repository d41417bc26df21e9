package main

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/moorage-dev/moorage/provider/gateway/api"
)

func TestARefusalIsNotHiddenByALeaseThatDoesNotAsk(t *testing.T) {
	result := func(rule string) api.EndpointMoved { return api.EndpointMoved{Endpoint: "web-ip", Rule: rule} }
	notAsked, notReady, has := result(api.RuleEndpointNotAsked), result(api.RuleEndpointNotReady), result("")
	assert.Equal(t, notReady, betterResult(notReady, notAsked))
	assert.Equal(t, notReady, betterResult(notAsked, notReady))
	assert.Equal(t, has, betterResult(notReady, has))
	assert.Equal(t, notAsked, betterResult(api.EndpointMoved{}, notAsked))
}

func TestTheReasonWhyConnectionsLeaveFromElsewhereIsShown(t *testing.T) {
	assert.Equal(t, "true", egressText(api.LeasedPort{Egress: true, EgressReason: "old"}))
	assert.Equal(t, "false", egressText(api.LeasedPort{}))
	assert.Equal(t, "false: the network cannot", egressText(api.LeasedPort{EgressReason: "the network cannot"}))
}
