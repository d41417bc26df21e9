package facts_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/internal/facts"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

func TestFactsComeFirstAndNeverReplaceWhatTheTenantSet(t *testing.T) {
	id, err := market.ParseLeaseID("tenant/7/1/2/provider")
	assert.NoError(t, err)
	s := manifest.Service{
		Name: "web", Env: []string{"A=1", "MOORAGE_SERVICE=mine", "EMPTY"},
		Expose: []manifest.Expose{{Port: 80, Proto: manifest.TCP, Global: true}},
	}
	f := facts.Facts{PublicHost: "p.example", Hostname: "web.p.example", Ports: []driver.ForwardedPort{{Port: 22, ExternalPort: 30022, Proto: manifest.TCP}}}
	assert.Equal(t, []string{
		"AKASH_OWNER=tenant", "AKASH_DEPLOYMENT_SEQUENCE=7", "AKASH_GROUP_SEQUENCE=1", "AKASH_ORDER_SEQUENCE=2",
		"AKASH_PROVIDER=provider", "AKASH_CLUSTER_PUBLIC_HOSTNAME=p.example", "MOORAGE_LEASE=tenant/7/1/2/provider",
		"MOORAGE_HOSTNAME=web.p.example", "MOORAGE_PORT_TCP_22=30022", "A=1", "MOORAGE_SERVICE=mine", "EMPTY=",
	}, facts.Environment(driver.Workload{Lease: id}, s, f))
	s.Expose = nil
	assert.NotContains(t, facts.Environment(driver.Workload{Lease: id}, s, f), "MOORAGE_HOSTNAME=web.p.example")
}
