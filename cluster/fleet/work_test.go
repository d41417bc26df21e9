package fleet

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/fleet/internal/agent"
	"github.com/moorage-dev/moorage/cluster/fleet/internal/store"
	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

func attrs(kv ...string) market.Attributes {
	var as market.Attributes
	for i := 0; i < len(kv); i += 2 {
		as = append(as, market.Attribute{Key: kv[i], Value: kv[i+1]})
	}
	return as
}

func definition() manifest.Service {
	return manifest.Service{
		Name: "db", Image: "postgres", Count: 2, Command: []string{"/run"}, Args: []string{"-v"}, Env: []string{"A=b"},
		Resources: market.Resources{
			CPU: market.CPU{MilliCores: 1500}, Memory: market.Memory{Bytes: 1 << 30},
			Storage: []market.Volume{
				{Name: "default", Bytes: 5 << 20},
				{Name: "data", Bytes: 7 << 20, Attributes: attrs("class", "beta2", "persistent", "true")},
				{Name: "shm", Bytes: 64 << 20, Attributes: attrs("class", "ram", "persistent", "false")},
				{Name: "scratch", Bytes: 9 << 20},
			},
		},
		Params: &manifest.Params{Storage: []manifest.StorageParams{
			{Name: "data", Mount: "/var/data/"}, {Name: "scratch", Mount: "/scratch", ReadOnly: true}, {Name: "shm", Mount: "/dev/shm"},
		}},
		Expose: []manifest.Expose{
			{Port: 5432, Proto: manifest.TCP}, {Port: 5432, Proto: manifest.TCP, Global: true}, {Port: 53, Proto: manifest.UDP, Global: true},
		},
		Credentials: &manifest.Credentials{Host: "r", Username: "u", Password: "p"},
	}
}

func translate(s manifest.Service) agent.Service {
	f := &Fleet{}
	id, _ := market.ParseLeaseID("t/1/1/1/p")
	return f.service(store.Record{Workload: driver.Workload{Lease: id}}, s)
}

func TestADefinitionBecomesAContainer(t *testing.T) {
	got := translate(definition())
	assert.Equal(t, []string{"/run"}, got.Template.Entrypoint)
	assert.Equal(t, []string{"-v"}, got.Template.Args)
	assert.Contains(t, got.Template.Env, "A=b")
	assert.Equal(t, runtime.Resources{
		MilliCores: 1500, MemoryBytes: 1<<30 + 64<<20, DiskBytes: 5 << 20,
	}, got.Template.Resources, "memory volumes add to memory, volumes that are not mounted are the writable layer")
	assert.Equal(t, []agent.Volume{
		{Name: "data", Target: "/var/data", Bytes: 7 << 20, Kind: agent.Persistent},
		{Name: "shm", Target: "/dev/shm", Bytes: 64 << 20, Kind: agent.Memory},
		{Name: "scratch", Target: "/scratch", Bytes: 9 << 20, ReadOnly: true, Kind: agent.Ephemeral},
	}, got.Volumes)
	assert.Equal(t, []uint16{5432}, got.Probe, "each TCP port once")
	assert.Equal(t, &runtime.Credentials{Host: "r", Username: "u", Password: "p"}, got.Credentials)
	tiny := definition()
	tiny.Resources = market.Resources{Memory: market.Memory{Bytes: 1}}
	assert.EqualValues(t, runtime.MinMemoryBytes, translate(tiny).Template.Resources.MemoryBytes)
	tiny.Command, tiny.Args = nil, nil
	assert.Nil(t, translate(tiny).Template.Entrypoint, "the image's own command")
}

func TestOnlyWhatMakesAContainerIsInItsHash(t *testing.T) {
	base := translate(definition()).Hash
	same := map[string]func(*manifest.Service){
		"count":   func(s *manifest.Service) { s.Count = 9 },
		"exposes": func(s *manifest.Service) { s.Expose = nil },
	}
	for name, change := range same {
		s := definition()
		change(&s)
		assert.Equal(t, base, translate(s).Hash, name)
	}
	other := map[string]func(*manifest.Service){
		"image":       func(s *manifest.Service) { s.Image = "x" },
		"command":     func(s *manifest.Service) { s.Command = nil },
		"args":        func(s *manifest.Service) { s.Args = []string{"-v", ""} },
		"environment": func(s *manifest.Service) { s.Env = []string{"A=c"} },
		"cpu":         func(s *manifest.Service) { s.Resources.CPU.MilliCores++ },
		"memory":      func(s *manifest.Service) { s.Resources.Memory.Bytes++ },
		"volume":      func(s *manifest.Service) { s.Resources.Storage[1].Bytes++ },
		"mount":       func(s *manifest.Service) { s.Params.Storage[0].Mount = "/x" },
	}
	for name, change := range other {
		s := definition()
		change(&s)
		assert.NotEqual(t, base, translate(s).Hash, name)
	}
}

func TestALeasedAddressIsInTheEnvironmentAlsoWhenItLeadsElsewhere(t *testing.T) {
	id, _ := market.ParseLeaseID("t/1/1/1/p")
	with := func(withheld bool, own ...string) agent.Service {
		s := definition()
		s.Env = own
		return (&Fleet{}).service(store.Record{Workload: driver.Workload{Lease: id, Addresses: []driver.LeasedAddress{{
			Endpoint: "my-ip", Address: netip.MustParseAddr("203.0.113.7"), Protocol: manifest.TCP, External: 5433, Service: "db", Port: 5432, Withheld: withheld,
		}}}}, s)
	}
	got := with(false)
	assert.Contains(t, got.Template.Env, "MOORAGE_IP_MY_IP=203.0.113.7")
	assert.Contains(t, got.Template.Env, "MOORAGE_IP_MY_IP_TCP_5432=5433")
	assert.Equal(t, got.Hash, with(true).Hash, "moving the address starts nothing anew")
	assert.NotEqual(t, got.Hash, translate(definition()).Hash)
	mine := with(false, "MOORAGE_IP_MY_IP=mine").Template.Env
	assert.NotContains(t, mine, "MOORAGE_IP_MY_IP=203.0.113.7", "the manifest goes before")
}

func TestCandidatesPreferTheNumberHeldThenThatOfTheOtherProtocol(t *testing.T) {
	p := store.Port{Service: "dns", Port: 53, Proto: manifest.UDP}
	had := []store.Port{{Service: "dns", Port: 53, Proto: manifest.UDP, External: 7}, {Service: "web", Port: 53, Proto: manifest.UDP, External: 8}}
	others := []store.Port{{Service: "dns", Port: 53, Proto: manifest.TCP, External: 9}}
	got := candidates(p, had, others)
	require.Equal(t, []uint16{7, 9, 7}, got)
	require.Equal(t, []uint16{9}, candidates(p, nil, others))
}
