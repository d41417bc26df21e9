package manifest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

func volumes() []market.Volume {
	return []market.Volume{
		{Name: "default", Bytes: 1 << 30},
		{Name: "data", Bytes: 2 << 30, Attributes: market.Attributes{{Key: "class", Value: "beta3"}, {Key: "persistent", Value: "true"}}},
	}
}

func resources(id uint32) market.Resources {
	return market.Resources{
		ID: id, CPU: market.CPU{MilliCores: 500}, Memory: market.Memory{Bytes: 1 << 29},
		GPU: market.GPU{Units: 1, Attributes: market.Attributes{{Key: "vendor/nvidia/model/a100", Value: "true"}}}, Storage: volumes(),
	}
}

// fitting returns a manifest of two services on one unit, and its group.
func fitting() (manifest.Manifest, []market.GroupSpec) {
	web := manifest.Service{
		Name: "web", Image: "nginx", Env: []string{"A=secret-value"}, Count: 2, Resources: resources(1),
		Expose: []manifest.Expose{
			{Port: 80, Proto: manifest.TCP, Global: true, Hosts: []string{"example.com"}},
			{Port: 90, Proto: manifest.UDP, Global: true, IP: "front", EndpointSequenceNumber: 2},
		},
		Credentials: &manifest.Credentials{Host: "h", Username: "u", Password: "hunter2"},
	}
	web.Resources.Endpoints = []market.Endpoint{{}, {Kind: market.EndpointRandomPort}, {Kind: market.EndpointLeasedIP, SequenceNumber: 2}}
	api := manifest.Service{Name: "api", Image: "api", Count: 1, Resources: resources(1), Expose: []manifest.Expose{{Port: 81, Proto: manifest.TCP}}}
	api.Resources.Endpoints = []market.Endpoint{}
	unit := market.ResourceUnit{Resources: resources(1), Count: 3}
	unit.Endpoints = slices.Clone(web.Resources.Endpoints)
	return manifest.Manifest{{Name: "west", Services: []manifest.Service{api, web}}},
		[]market.GroupSpec{{Name: "west", Units: []market.ResourceUnit{unit}}}
}

func TestCheckAcceptsWhatFits(t *testing.T) {
	require.NoError(t, manifest.Check(fitting()))
}

func TestHTTPOptionsAreOnlyWhatDocumentsMaySay(t *testing.T) {
	for name, o := range map[string]manifest.HTTPOptions{
		"a word that ends a directive": {NextCases: []string{"error; return 200"}},
		"a line":                       {NextCases: []string{"error\nallow all"}},
		"no word":                      {NextCases: []string{""}},
		"off beside others":            {NextCases: []string{"error", "off"}},
		"a body of 4 GB":               {MaxBodySize: 1<<32 - 1},
		"an hour to read":              {ReadTimeout: 3_600_000},
		"an hour to send":              {SendTimeout: 3_600_000},
		"a buffer of 1 GB":             {ProxyBufferSize: 1 << 30},
	} {
		m, groups := fitting()
		m[0].Services[1].Expose[0].HTTPOptions = o
		err := manifest.Check(m, groups)
		require.ErrorIs(t, err, market.ErrInvalid, name)
		var mismatch *manifest.MismatchError
		require.ErrorAs(t, err, &mismatch, name)
		assert.Contains(t, mismatch.Field, "expose[0].httpOptions.", name)
		assert.NotContains(t, err.Error(), "\n", name)
	}
	m, groups := fitting()
	m[0].Services[1].Expose[0].HTTPOptions = manifest.HTTPOptions{
		MaxBodySize: manifest.MaxBodySize, ReadTimeout: 1, NextTries: 9, NextTimeout: 1000, NextCases: []string{"error", "503"},
	}
	require.NoError(t, manifest.Check(m, groups))
}

func TestCheckNamesEveryDifference(t *testing.T) {
	for _, c := range []struct {
		name           string
		change         func(m manifest.Manifest, g *market.GroupSpec)
		service, field string
	}{
		{"cpu", func(m manifest.Manifest, _ *market.GroupSpec) { m[0].Services[1].Resources.CPU.MilliCores++ }, "web", "resources.cpu.units"},
		{"memory", func(m manifest.Manifest, _ *market.GroupSpec) { m[0].Services[1].Resources.Memory.Bytes++ }, "web", "resources.memory.size"},
		{"gpu", func(m manifest.Manifest, _ *market.GroupSpec) { m[0].Services[1].Resources.GPU.Units++ }, "web", "resources.gpu.units"},
		{"gpu model", func(_ manifest.Manifest, g *market.GroupSpec) {
			g.Units[0].GPU.Attributes = market.Attributes{{Key: "vendor/nvidia/model/h100", Value: "true"}}
		}, "api", "resources.gpu.attributes"},
		{"more volumes", func(m manifest.Manifest, _ *market.GroupSpec) {
			r := &m[0].Services[1].Resources
			r.Storage = append(r.Storage, market.Volume{Name: "x", Bytes: 1})
		}, "web", "resources.storage"},
		{"fewer volumes", func(m manifest.Manifest, _ *market.GroupSpec) {
			m[0].Services[1].Resources.Storage = m[0].Services[1].Resources.Storage[:1]
		}, "web", "resources.storage"},
		{"volume size", func(m manifest.Manifest, _ *market.GroupSpec) { m[0].Services[0].Resources.Storage[1].Bytes++ }, "api", "resources.storage[1].size"},
		{"volume name", func(m manifest.Manifest, _ *market.GroupSpec) { m[0].Services[0].Resources.Storage[1].Name = "x" }, "api", "resources.storage[1].name"},
		{"volume class", func(m manifest.Manifest, _ *market.GroupSpec) {
			m[0].Services[0].Resources.Storage[1].Attributes[0].Value = "beta2"
		}, "api", "resources.storage[1].attributes"},
		{"more replicas", func(m manifest.Manifest, _ *market.GroupSpec) { m[0].Services[1].Count++ }, "web", "count"},
		{"fewer replicas", func(m manifest.Manifest, _ *market.GroupSpec) { m[0].Services[1].Count-- }, "", "count"},
		{"unknown unit", func(m manifest.Manifest, _ *market.GroupSpec) { m[0].Services[0].Resources.ID = 9 }, "api", "resources.id"},
		{"another port", func(m manifest.Manifest, _ *market.GroupSpec) { m[0].Services[0].Expose[0].Global = true }, "web", "expose[1]"},
		{"port not used", func(m manifest.Manifest, _ *market.GroupSpec) { m[0].Services[1].Expose = m[0].Services[1].Expose[1:] }, "", "expose"},
		{"another address", func(m manifest.Manifest, _ *market.GroupSpec) { m[0].Services[1].Expose[1].EndpointSequenceNumber = 1 }, "web", "expose[1]"},
		{"two names for an address", func(m manifest.Manifest, _ *market.GroupSpec) {
			m[0].Services[0].Expose[0] = manifest.Expose{Port: 81, Proto: manifest.UDP, Global: true, IP: "back", EndpointSequenceNumber: 2}
		}, "web", "expose[1].ip"},
		{"two addresses for a name", func(m manifest.Manifest, _ *market.GroupSpec) {
			m[0].Services[0].Expose[0] = manifest.Expose{Port: 81, Proto: manifest.UDP, Global: true, IP: "front", EndpointSequenceNumber: 3}
		}, "web", "expose[1].endpointSequenceNumber"},
		{"another group", func(m manifest.Manifest, _ *market.GroupSpec) { m[0].Name = "east" }, "", "name"},
		{"bad image", func(m manifest.Manifest, _ *market.GroupSpec) { m[0].Services[0].Image = "" }, "api", "image"},
		{"bad name", func(m manifest.Manifest, _ *market.GroupSpec) { m[0].Services[1].Name = "Web" }, "Web", "name"},
		{"bad variable", func(m manifest.Manifest, _ *market.GroupSpec) { m[0].Services[1].Env[0] = "=secret-value" }, "web", "env[0]"},
		{"bad port", func(m manifest.Manifest, _ *market.GroupSpec) { m[0].Services[1].Expose[1].Port = 70000 }, "web", "expose[1].port"},
		{"bad protocol", func(m manifest.Manifest, _ *market.GroupSpec) { m[0].Services[1].Expose[1].Proto = "SCTP" }, "web", "expose[1].proto"},
		{"bad host", func(m manifest.Manifest, _ *market.GroupSpec) { m[0].Services[1].Expose[0].Hosts[0] = "*.x" }, "web", "expose[0].hosts[0]"},
		{"host twice", func(m manifest.Manifest, _ *market.GroupSpec) {
			m[0].Services[0].Expose[0].Hosts = []string{"example.com"}
		}, "web", "expose[0].hosts[0]"},
		{"order of ports", func(m manifest.Manifest, _ *market.GroupSpec) { slices.Reverse(m[0].Services[1].Expose) }, "web", "expose[1]"},
		{"order of services", func(m manifest.Manifest, _ *market.GroupSpec) { slices.Reverse(m[0].Services) }, "api", "name"},
		{"no port for the world", func(m manifest.Manifest, _ *market.GroupSpec) { m[0].Services[1].Expose = nil }, "", "expose"},
		{"no services", func(m manifest.Manifest, _ *market.GroupSpec) { m[0].Services = nil }, "", "services"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, groups := fitting()
			c.change(m, &groups[0])
			err := manifest.Check(m, groups)
			var list manifest.Mismatches
			require.ErrorAs(t, err, &list)
			found := slices.ContainsFunc(list, func(e *manifest.MismatchError) bool { return e.Service == c.service && e.Field == c.field })
			assert.True(t, found, "%v", list)
			assert.True(t, errors.Is(err, market.ErrMismatch) || errors.Is(err, market.ErrInvalid))
			var one *manifest.MismatchError
			require.ErrorAs(t, err, &one)
			assert.NotContains(t, err.Error(), "secret-value")
		})
	}
}

func TestCheckWantsEveryGroup(t *testing.T) {
	m, groups := fitting()
	err := manifest.Check(m, append(groups, market.GroupSpec{Name: "east"}))
	assert.ErrorContains(t, err, `groups`)
	assert.ErrorIs(t, err, market.ErrMismatch)
	_, groups = fitting()
	assert.ErrorIs(t, manifest.Check(nil, groups), market.ErrInvalid)
}

func TestCheckBoundsItsAnswer(t *testing.T) {
	m, groups := fitting()
	for range 2 * manifest.MaxMismatches {
		m[0].Services[1].Env = append(m[0].Services[1].Env, "=x")
	}
	var list manifest.Mismatches
	require.ErrorAs(t, manifest.Check(m, groups), &list)
	assert.Len(t, list, manifest.MaxMismatches)
	assert.Contains(t, list.Error(), "and 99 more")
}

func TestCredentialsNeverShow(t *testing.T) {
	m, _ := fitting()
	c := *m[0].Services[1].Credentials
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	logger.Info("x", "c", c, "p", &c, "s", m[0].Services[1], "m", fmt.Sprint(m))
	text, err := json.Marshal(c)
	require.NoError(t, err)
	shown := []string{log.String(), string(text), c.String(), c.GoString(), m[0].Services[1].String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		shown = append(shown, fmt.Sprintf(verb, c), fmt.Sprintf(verb, &c), fmt.Sprintf(verb, m), fmt.Sprintf(verb, m[0]), fmt.Sprintf(verb, m[0].Services[1]))
	}
	for _, s := range shown {
		assert.NotContains(t, s, "hunter2")
		assert.NotContains(t, s, "secret-value")
		assert.NotContains(t, s, fmt.Sprintf("%x", "hunter2"))
	}
	canonical, err := m.MarshalJSON()
	require.NoError(t, err)
	assert.Contains(t, string(canonical), "hunter2", "the provider needs it")
}

func TestDecodingIsStrict(t *testing.T) {
	m, _ := fitting()
	good, err := m.MarshalJSON()
	require.NoError(t, err)
	for name, text := range map[string]string{
		"not JSON":        `{`,
		"text after":      string(good) + "1",
		"unknown key":     strings.Replace(string(good), `"image"`, `"imagine":1,"image"`, 1),
		"wrong type":      strings.Replace(string(good), `"count":1`, `"count":"1"`, 1),
		"negative":        strings.Replace(string(good), `"count":1`, `"count":-1`, 1),
		"amount":          strings.Replace(string(good), `"val":"500"`, `"val":"hunter2"`, 1),
		"no cpu":          `[{"name":"a","services":[{"name":"b","resources":{"id":1,"memory":{"size":{"val":"1"}},"gpu":{"units":{"val":"0"}},"endpoints":[]}}]}]`,
		"null endpoints":  strings.Replace(string(good), `"endpoints":[]`, `"endpoints":null`, 1),
		"wrong structure": `{"name":"x"}`,
	} {
		t.Run(name, func(t *testing.T) {
			var got manifest.Manifest
			err := got.UnmarshalJSON([]byte(text))
			var de *manifest.DecodeError
			require.ErrorAs(t, err, &de)
			assert.ErrorIs(t, err, market.ErrInvalid)
			assert.Nil(t, got)
			assert.NotContains(t, err.Error(), "hunter2")
		})
	}
	var got manifest.Manifest
	err = got.UnmarshalJSON(make([]byte, manifest.MaxDecodedBytes+1))
	assert.ErrorIs(t, err, market.ErrLimit)
	_, err = manifest.Read(strings.NewReader(strings.Repeat(" ", manifest.MaxDecodedBytes+1)))
	assert.ErrorIs(t, err, market.ErrLimit)
	read, err := manifest.Read(bytes.NewReader(good))
	require.NoError(t, err)
	back, err := read.MarshalJSON()
	require.NoError(t, err)
	assert.Equal(t, string(good), string(back))
}

// drawManifest makes any manifest, valid or not.
func drawManifest(t *rapid.T) manifest.Manifest {
	text := rapid.String()
	list := rapid.OneOf(rapid.Just[[]string](nil), rapid.SliceOfN(text, 0, 3))
	attributes := rapid.Custom(func(t *rapid.T) market.Attributes {
		var as market.Attributes
		for range rapid.IntRange(0, 2).Draw(t, "n") {
			as = append(as, market.Attribute{Key: text.Draw(t, "key"), Value: text.Draw(t, "value")})
		}
		return as
	})
	service := rapid.Custom(func(t *rapid.T) manifest.Service {
		s := manifest.Service{
			Name: text.Draw(t, "name"), Image: text.Draw(t, "image"), Command: list.Draw(t, "command"), Args: list.Draw(t, "args"),
			Env: list.Draw(t, "env"), Count: rapid.Uint32().Draw(t, "count"), Expose: []manifest.Expose{},
		}
		s.Resources = market.Resources{
			ID: rapid.Uint32().Draw(t, "id"), CPU: market.CPU{MilliCores: rapid.Uint64().Draw(t, "cpu"), Attributes: attributes.Draw(t, "a")},
			Memory: market.Memory{Bytes: rapid.Uint64().Draw(t, "memory")}, Endpoints: []market.Endpoint{},
		}
		if rapid.Bool().Draw(t, "more") {
			s.Expose = append(s.Expose, manifest.Expose{
				Port: rapid.Uint32().Draw(t, "port"), Proto: manifest.UDP, Hosts: list.Draw(t, "hosts"), IP: text.Draw(t, "ip"),
				HTTPOptions: manifest.HTTPOptions{ProxyBufferSize: rapid.Uint32().Draw(t, "proxy"), NextCases: []string{"off"}},
			})
			s.Params = &manifest.Params{Storage: []manifest.StorageParams{{Name: text.Draw(t, "volume"), ReadOnly: true}}, TEE: &manifest.TEE{Type: "cpu"}}
			s.Resources.Storage = []market.Volume{{Name: "v", Bytes: 1, Attributes: attributes.Draw(t, "v")}}
			s.Resources.Endpoints = append(s.Resources.Endpoints, market.Endpoint{Kind: market.EndpointLeasedIP, SequenceNumber: 3})
			s.Credentials = &manifest.Credentials{Password: text.Draw(t, "password")}
		}
		return s
	})
	return manifest.Manifest{{Name: text.Draw(t, "group"), Services: rapid.SliceOfN(service, 0, 3).Draw(t, "services")}}
}

func TestCanonicalFormIsSortedJSONAndSurvives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawManifest(t)
		b, err := m.MarshalJSON()
		require.NoError(t, err)
		var generic any
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.UseNumber()
		require.NoError(t, dec.Decode(&generic))
		sorted, err := json.Marshal(generic)
		require.NoError(t, err)
		require.Equal(t, string(sorted), string(b), "keys in order, escaped as encoding/json does")
		var back manifest.Manifest
		require.NoError(t, back.UnmarshalJSON(b))
		again, err := back.MarshalJSON()
		require.NoError(t, err)
		require.Equal(t, string(b), string(again))
	})
}

func TestNilAndEmptyListsHashApart(t *testing.T) {
	m, _ := fitting()
	before, err := m.Version()
	require.NoError(t, err)
	m[0].Services[0].Env = []string{}
	after, err := m.Version()
	require.NoError(t, err)
	assert.NotEqual(t, before, after)
}

func FuzzUnmarshalJSON(f *testing.F) {
	m, _ := fitting()
	b, err := m.MarshalJSON()
	require.NoError(f, err)
	f.Add(b)
	f.Add([]byte("[]"))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m manifest.Manifest
		if m.UnmarshalJSON(b) != nil {
			return
		}
		out, err := m.MarshalJSON()
		require.NoError(t, err)
		var again manifest.Manifest
		require.NoError(t, again.UnmarshalJSON(out))
		_ = m.Validate()
		_, groups := fitting()
		_ = manifest.Check(m, groups)
		_ = fmt.Sprint(m)
	})
}
