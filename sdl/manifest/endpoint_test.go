package manifest_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/moorage-dev/moorage/sdl/manifest"
)

func TestEndpointsClashWhenTheirVariablesDo(t *testing.T) {
	assert.Equal(t, "MY_IP", manifest.EndpointVariable("my-ip"))
	assert.Empty(t, manifest.EndpointClashes([]string{"my-ip", "my-ip", "my-ip-2", "other", "other_tcp", "other_tcp_99999"}))
	assert.Equal(t, map[int]string{1: "my-ip", 3: "my-ip"}, manifest.EndpointClashes([]string{"my-ip", "my_ip", "web", "my-ip-udp-53"}))
}
