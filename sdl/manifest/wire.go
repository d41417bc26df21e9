package manifest

import (
	"fmt"
	"strconv"

	"github.com/moorage-dev/moorage/market"
)

// The types of this file mirror the JSON of the reference for reading. Writing
// is done by hand in canonical.go, where the order of keys matters.
type (
	wireGroup struct {
		Name     string        `json:"name"`
		Services []wireService `json:"services"`
	}
	wireService struct {
		Name        string           `json:"name"`
		Image       string           `json:"image"`
		Command     []string         `json:"command"`
		Args        []string         `json:"args"`
		Env         []string         `json:"env"`
		Resources   wireResources    `json:"resources"`
		Count       uint32           `json:"count"`
		Expose      []wireExpose     `json:"expose"`
		Params      *wireParams      `json:"params"`
		Credentials *wireCredentials `json:"credentials"`
	}
	wireValue struct {
		Val string `json:"val"`
	}
	wireUnits struct {
		Units      wireValue         `json:"units"`
		Attributes market.Attributes `json:"attributes"`
	}
	wireSize struct {
		Size       wireValue         `json:"size"`
		Attributes market.Attributes `json:"attributes"`
	}
	wireVolume struct {
		Name       string            `json:"name"`
		Size       wireValue         `json:"size"`
		Attributes market.Attributes `json:"attributes"`
	}
	wireResources struct {
		ID        uint32            `json:"id"`
		CPU       *wireUnits        `json:"cpu"`
		Memory    *wireSize         `json:"memory"`
		GPU       *wireUnits        `json:"gpu"`
		Storage   []wireVolume      `json:"storage"`
		Endpoints []market.Endpoint `json:"endpoints"`
	}
	wireExpose struct {
		Port                   uint32          `json:"port"`
		ExternalPort           uint32          `json:"externalPort"`
		Proto                  Protocol        `json:"proto"`
		Service                string          `json:"service"`
		Global                 bool            `json:"global"`
		Hosts                  []string        `json:"hosts"`
		HTTPOptions            wireHTTPOptions `json:"httpOptions"`
		IP                     string          `json:"ip"`
		EndpointSequenceNumber uint32          `json:"endpointSequenceNumber"`
	}
	wireHTTPOptions struct {
		MaxBodySize     uint32   `json:"maxBodySize"`
		ReadTimeout     uint32   `json:"readTimeout"`
		SendTimeout     uint32   `json:"sendTimeout"`
		NextTries       uint32   `json:"nextTries"`
		NextTimeout     uint32   `json:"nextTimeout"`
		NextCases       []string `json:"nextCases"`
		ProxyBufferSize uint32   `json:"proxyBufferSize"`
	}
	wireParams struct {
		Storage     []wireStorageParams `json:"storage"`
		Permissions *wirePermissions    `json:"permissions"`
		TEE         *wireTEE            `json:"tee"`
	}
	wireStorageParams struct {
		Name     string `json:"name"`
		Mount    string `json:"mount"`
		ReadOnly bool   `json:"readOnly"`
	}
	wirePermissions struct {
		Read []string `json:"read"`
	}
	wireTEE struct {
		Type        string `json:"type"`
		Attestation bool   `json:"attestation"`
	}
	wireCredentials struct {
		Host     string `json:"host"`
		Email    string `json:"email"`
		Username string `json:"username"`
		Password string `json:"password"`
	}
)

func fromWire(groups []wireGroup) (Manifest, error) {
	if groups == nil {
		return nil, nil
	}
	m := make(Manifest, 0, len(groups))
	for gi, wg := range groups {
		g := Group{Name: wg.Name}
		if wg.Services != nil {
			g.Services = make([]Service, 0, len(wg.Services))
		}
		for si := range wg.Services {
			s, err := wg.Services[si].service(fmt.Sprintf("[%d].services[%d]", gi, si))
			if err != nil {
				return nil, err
			}
			g.Services = append(g.Services, s)
		}
		m = append(m, g)
	}
	return m, nil
}

func (w *wireService) service(path string) (Service, error) {
	s := Service{
		Name: w.Name, Image: w.Image, Command: w.Command, Args: w.Args, Env: w.Env, Count: w.Count,
		Credentials: (*Credentials)(w.Credentials), Params: w.Params.params(),
	}
	if w.Expose != nil {
		s.Expose = make([]Expose, 0, len(w.Expose))
	}
	for _, e := range w.Expose {
		s.Expose = append(s.Expose, Expose{
			Port: e.Port, ExternalPort: e.ExternalPort, Proto: e.Proto, Service: e.Service, Global: e.Global,
			Hosts: e.Hosts, HTTPOptions: HTTPOptions(e.HTTPOptions), IP: e.IP,
			EndpointSequenceNumber: e.EndpointSequenceNumber,
		})
	}
	var err error
	s.Resources, err = w.Resources.resources(path + ".resources")
	return s, err
}

func (w *wireParams) params() *Params {
	if w == nil {
		return nil
	}
	p := &Params{Permissions: (*Permissions)(w.Permissions), TEE: (*TEE)(w.TEE)}
	if w.Storage != nil {
		p.Storage = make([]StorageParams, 0, len(w.Storage))
	}
	for _, v := range w.Storage {
		p.Storage = append(p.Storage, StorageParams(v))
	}
	return p
}

func (w *wireResources) resources(path string) (market.Resources, error) {
	r := market.Resources{ID: w.ID, Endpoints: w.Endpoints}
	if w.CPU == nil || w.Memory == nil || w.GPU == nil || w.Endpoints == nil {
		return r, &DecodeError{Path: path, Reason: "want cpu, memory, gpu and endpoints"}
	}
	r.CPU.Attributes, r.Memory.Attributes, r.GPU.Attributes = w.CPU.Attributes, w.Memory.Attributes, w.GPU.Attributes
	if len(w.Storage) > 0 {
		r.Storage = make([]market.Volume, len(w.Storage))
	}
	ok := w.CPU.Units.into(&r.CPU.MilliCores) && w.Memory.Size.into(&r.Memory.Bytes) && w.GPU.Units.into(&r.GPU.Units)
	for i, v := range w.Storage {
		r.Storage[i] = market.Volume{Name: v.Name, Attributes: v.Attributes}
		ok = ok && v.Size.into(&r.Storage[i].Bytes)
	}
	if !ok {
		return r, &DecodeError{Path: path, Reason: "want amounts as decimal strings below 2^64"}
	}
	return r, nil
}

func (w wireValue) into(n *uint64) bool {
	v, err := strconv.ParseUint(w.Val, 10, 64)
	*n = v
	return err == nil
}
