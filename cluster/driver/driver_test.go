package driver_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// full is a workload in which everything that can be shared is there.
func full() driver.Workload {
	id, _ := market.ParseLeaseID("tenant/1/1/1/provider")
	as := market.Attributes{{Key: "k", Value: "v"}}
	s := manifest.Service{
		Name: "web", Image: "img", Command: []string{"c"}, Args: []string{"a"}, Env: []string{"E=1"}, Count: 2,
		Resources: market.Resources{
			ID: 4, CPU: market.CPU{MilliCores: 1, Attributes: as}, Memory: market.Memory{Bytes: 1, Attributes: as},
			GPU: market.GPU{Units: 1, Attributes: as}, Storage: []market.Volume{{Name: "data", Bytes: 1, Attributes: as}},
			Endpoints: []market.Endpoint{{Kind: market.EndpointSharedHTTP}},
		},
		Expose: []manifest.Expose{{
			Port: 80, Proto: manifest.TCP, Global: true, Hosts: []string{"B.example", "a.example", "a.example"},
			HTTPOptions: manifest.HTTPOptions{NextCases: []string{"error"}},
		}},
		Params: &manifest.Params{
			Storage: []manifest.StorageParams{{Name: "data", Mount: "/data"}}, Permissions: &manifest.Permissions{Read: []string{"logs"}},
			TEE: &manifest.TEE{Type: "cpu"},
		},
		Credentials: &manifest.Credentials{Password: "hunter2"},
	}
	return driver.Workload{Lease: id, Revision: 1, Group: manifest.Group{Name: "g", Services: []manifest.Service{s}}}
}

func TestACloneSharesNothing(t *testing.T) {
	text := func(w driver.Workload) string { return string(manifest.Manifest{w.Group}.AppendCanonical(nil)) }
	w := full()
	before := text(w)
	c := w.Clone()
	require.Equal(t, before, text(c))
	s := &c.Group.Services[0]
	s.Command[0], s.Args[0], s.Env[0] = "x", "x", "x"
	s.Resources.CPU.Attributes[0].Value, s.Resources.Memory.Attributes[0].Value = "x", "x"
	s.Resources.GPU.Attributes[0].Value, s.Resources.Storage[0].Attributes[0].Value = "x", "x"
	s.Resources.Storage[0].Bytes, s.Resources.Endpoints[0].Kind = 9, market.EndpointLeasedIP
	s.Expose[0].Hosts[0], s.Expose[0].HTTPOptions.NextCases[0] = "x", "x"
	s.Params.Storage[0].Mount, s.Params.Permissions.Read[0], s.Params.TEE.Type = "x", "x", "x"
	s.Credentials.Password, s.Name = "x", "x"
	assert.Equal(t, before, text(w))
}

func TestACloneKeepsNilAndEmptyApart(t *testing.T) {
	w := full()
	w.Group.Services[0].Args, w.Group.Services[0].Command = []string{}, nil
	c := w.Clone().Group.Services[0]
	assert.NotNil(t, c.Args)
	assert.Nil(t, c.Command)
}

func TestTheSpecHasOneUnitPerService(t *testing.T) {
	w := full()
	w.Group.Services = append(w.Group.Services, w.Group.Services[0])
	spec := w.Spec()
	require.Len(t, spec.Units, 2)
	for i, u := range spec.Units {
		assert.EqualValues(t, i+1, u.ID)
		assert.EqualValues(t, 2, u.Count)
		assert.EqualValues(t, 1, u.GPU.Units)
	}
}

func TestHostnamesAreInLowerCaseSortedAndOnce(t *testing.T) {
	w := full()
	assert.Equal(t, []string{"a.example", "b.example"}, w.Hostnames())
	w.Group.Services[0].Expose[0].Global = false
	assert.Empty(t, w.Hostnames())
}

func TestAValidWorkloadIsValid(t *testing.T) { require.NoError(t, full().Validate()) }

func TestFaultsWrapErrInvalidAndQuoteNoSecrets(t *testing.T) {
	rows := map[string]func(*manifest.Service){
		"many arguments":  func(s *manifest.Service) { s.Args = make([]string, driver.MaxArguments+1) },
		"long argument":   func(s *manifest.Service) { s.Args = []string{strings.Repeat("x", driver.MaxStringBytes+1)} },
		"much in all":     func(s *manifest.Service) { s.Env = manyStrings(12, driver.MaxStringBytes) },
		"many exposes":    func(s *manifest.Service) { s.Expose = make([]manifest.Expose, driver.MaxExposes+1) },
		"many hosts":      func(s *manifest.Service) { s.Expose[0].Hosts = make([]string, driver.MaxHosts+1) },
		"many volumes":    func(s *manifest.Service) { s.Resources.Storage = make([]market.Volume, driver.MaxVolumes+1) },
		"two mounts":      func(s *manifest.Service) { s.Params.Storage = append(s.Params.Storage, s.Params.Storage[0]) },
		"relative mount":  func(s *manifest.Service) { s.Params.Storage[0].Mount = "data" },
		"image too long":  func(s *manifest.Service) { s.Image = strings.Repeat("x", 2000) },
		"name too long":   func(s *manifest.Service) { s.Name = strings.Repeat("x", 64) },
		"name with a dot": func(s *manifest.Service) { s.Name = "a.b" },
		"zero byte":       func(s *manifest.Service) { s.Env = []string{"TOKEN=hunter2\x00"} },
	}
	for name, spoil := range rows {
		t.Run(name, func(t *testing.T) {
			w := full()
			spoil(&w.Group.Services[0])
			err := w.Validate()
			require.ErrorIs(t, err, driver.ErrInvalid)
			assert.NotContains(t, err.Error(), "hunter2")
			assert.Less(t, len(err.Error()), 400)
		})
	}
	w := full()
	for i := range driver.MaxServices {
		s := w.Group.Services[0]
		s.Name = fmt.Sprint("s", i)
		w.Group.Services = append(w.Group.Services, s)
	}
	require.ErrorIs(t, w.Validate(), driver.ErrInvalid, "too many services")
}

func manyStrings(n, size int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = "A=" + strings.Repeat("x", size-2)
	}
	return out
}

func TestATransientErrorIsFoundAndUnwraps(t *testing.T) {
	err := fmt.Errorf("list: %w", &driver.TransientError{Err: io.ErrUnexpectedEOF})
	var transient *driver.TransientError
	require.ErrorAs(t, err, &transient)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	assert.Equal(t, io.ErrUnexpectedEOF.Error(), transient.Error())
	assert.False(t, errors.As(driver.ErrNotFound, &transient))
}

func TestStatesHaveNames(t *testing.T) {
	for s, want := range map[driver.State]string{0: "absent", driver.Pending: "pending", driver.Ready: "ready", driver.Failing: "failing", driver.Leaving: "leaving"} {
		assert.Equal(t, want, s.String())
	}
}

func ExampleWorkload_Validate() {
	w := full()
	w.Group.Services[0].Name = "Web"
	fmt.Println(w.Validate())
	// Output:
	// cluster: invalid workload: service "Web": a name is 1 to 63 of a-z, 0-9 and -, and begins and ends with a letter or digit
}
