package manifest

import (
	"crypto/sha256"
	"strconv"
	"unicode/utf8"

	"github.com/moorage-dev/moorage/market"
)

// Version returns the SHA-256 of the canonical JSON form: the number on the
// chain that tells a provider whether it got the manifest the tenant meant. It
// fails only when the form is larger than [MaxEncodedBytes]; the error wraps
// [market.ErrLimit].
func (m Manifest) Version() (market.Hash, error) {
	b, err := m.MarshalJSON()
	if err != nil {
		return market.Hash{}, err
	}
	return sha256.Sum256(b), nil
}

// MarshalJSON returns the canonical form: JSON with keys in order, without
// white space, with nil lists as null where the reference prints null. It is
// what [Manifest.Version] hashes and what is sent to the provider, so it holds
// every secret in clear. The error wraps [market.ErrLimit].
func (m Manifest) MarshalJSON() ([]byte, error) {
	b := m.AppendCanonical(make([]byte, 0, m.sizeHint()))
	if len(b) > MaxEncodedBytes {
		return nil, tooLarge(len(b), MaxEncodedBytes)
	}
	return b, nil
}

// AppendCanonical appends the canonical form to dst, whatever its size.
func (m Manifest) AppendCanonical(dst []byte) []byte {
	if m == nil {
		return append(dst, "null"...)
	}
	dst = append(dst, '[')
	for i := range m {
		dst = comma(dst, i)
		dst = append(dst, `{"name":`...)
		dst = appendString(dst, m[i].Name)
		dst = append(dst, `,"services":`...)
		dst = appendServices(dst, m[i].Services)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// sizeHint guesses the size of the canonical form, to allocate once.
func (m Manifest) sizeHint() int {
	const perService, perExpose, perVolume = 420, 340, 120
	n := 64
	for i := range m {
		n += 64 + len(m[i].Name)
		for j := range m[i].Services {
			s := &m[i].Services[j]
			n += perService + len(s.Image) + perExpose*len(s.Expose) + perVolume*len(s.Resources.Storage)
			for _, list := range [...][]string{s.Command, s.Args, s.Env} {
				for _, item := range list {
					n += len(item) + len(item)/8 + 3
				}
			}
		}
	}
	return n
}

func comma(dst []byte, i int) []byte {
	if i > 0 {
		dst = append(dst, ',')
	}
	return dst
}

func appendServices(dst []byte, list []Service) []byte {
	if list == nil {
		return append(dst, "null"...)
	}
	dst = append(dst, '[')
	for i := range list {
		dst = comma(dst, i)
		dst = appendService(dst, &list[i])
	}
	return append(dst, ']')
}

func appendService(dst []byte, s *Service) []byte {
	dst = append(dst, `{"args":`...)
	dst = appendStrings(dst, s.Args)
	dst = append(dst, `,"command":`...)
	dst = appendStrings(dst, s.Command)
	dst = appendUint(dst, `,"count":`, uint64(s.Count))
	dst = append(dst, `,"credentials":`...)
	dst = appendCredentials(dst, s.Credentials)
	dst = append(dst, `,"env":`...)
	dst = appendStrings(dst, s.Env)
	dst = append(dst, `,"expose":`...)
	dst = appendExposes(dst, s.Expose)
	dst = append(dst, `,"image":`...)
	dst = appendString(dst, s.Image)
	dst = append(dst, `,"name":`...)
	dst = appendString(dst, s.Name)
	if s.Params != nil {
		dst = append(dst, `,"params":`...)
		dst = appendParams(dst, s.Params)
	}
	dst = append(dst, `,"resources":`...)
	dst = AppendResources(dst, &s.Resources)
	return append(dst, '}')
}

func appendCredentials(dst []byte, c *Credentials) []byte {
	if c == nil {
		return append(dst, "null"...)
	}
	dst = append(dst, `{"email":`...)
	dst = appendString(dst, c.Email)
	dst = append(dst, `,"host":`...)
	dst = appendString(dst, c.Host)
	dst = append(dst, `,"password":`...)
	dst = appendString(dst, c.Password)
	dst = append(dst, `,"username":`...)
	dst = appendString(dst, c.Username)
	return append(dst, '}')
}

func appendExposes(dst []byte, list []Expose) []byte {
	if list == nil {
		return append(dst, "null"...)
	}
	dst = append(dst, '[')
	for i := range list {
		dst = comma(dst, i)
		dst = appendExpose(dst, &list[i])
	}
	return append(dst, ']')
}

func appendExpose(dst []byte, e *Expose) []byte {
	dst = appendUint(dst, `{"endpointSequenceNumber":`, uint64(e.EndpointSequenceNumber))
	dst = appendUint(dst, `,"externalPort":`, uint64(e.ExternalPort))
	dst = appendBool(dst, `,"global":`, e.Global)
	dst = append(dst, `,"hosts":`...)
	dst = appendStrings(dst, e.Hosts)
	dst = append(dst, `,"httpOptions":`...)
	dst = appendHTTPOptions(dst, &e.HTTPOptions)
	dst = append(dst, `,"ip":`...)
	dst = appendString(dst, e.IP)
	dst = appendUint(dst, `,"port":`, uint64(e.Port))
	dst = append(dst, `,"proto":`...)
	dst = appendString(dst, string(e.Proto))
	dst = append(dst, `,"service":`...)
	dst = appendString(dst, e.Service)
	return append(dst, '}')
}

func appendHTTPOptions(dst []byte, o *HTTPOptions) []byte {
	dst = appendUint(dst, `{"maxBodySize":`, uint64(o.MaxBodySize))
	if len(o.NextCases) > 0 {
		dst = append(dst, `,"nextCases":`...)
		dst = appendStrings(dst, o.NextCases)
	}
	dst = appendUint(dst, `,"nextTimeout":`, uint64(o.NextTimeout))
	dst = appendUint(dst, `,"nextTries":`, uint64(o.NextTries))
	if o.ProxyBufferSize != 0 {
		dst = appendUint(dst, `,"proxyBufferSize":`, uint64(o.ProxyBufferSize))
	}
	dst = appendUint(dst, `,"readTimeout":`, uint64(o.ReadTimeout))
	dst = appendUint(dst, `,"sendTimeout":`, uint64(o.SendTimeout))
	return append(dst, '}')
}

func appendParams(dst []byte, p *Params) []byte {
	dst = append(dst, '{')
	if p.Permissions != nil {
		dst = append(dst, `"permissions":{`...)
		if len(p.Permissions.Read) > 0 {
			dst = append(dst, `"read":`...)
			dst = appendStrings(dst, p.Permissions.Read)
		}
		dst = append(dst, `},`...)
	}
	dst = append(dst, `"storage":`...)
	dst = appendStorageParams(dst, p.Storage)
	if p.TEE != nil {
		dst = appendBool(dst, `,"tee":{"attestation":`, p.TEE.Attestation)
		dst = append(dst, `,"type":`...)
		dst = appendString(dst, p.TEE.Type)
		dst = append(dst, '}')
	}
	return append(dst, '}')
}

func appendStorageParams(dst []byte, list []StorageParams) []byte {
	if list == nil {
		return append(dst, "null"...)
	}
	dst = append(dst, '[')
	for i := range list {
		dst = comma(dst, i)
		dst = append(dst, `{"mount":`...)
		dst = appendString(dst, list[i].Mount)
		dst = append(dst, `,"name":`...)
		dst = appendString(dst, list[i].Name)
		dst = appendBool(dst, `,"readOnly":`, list[i].ReadOnly)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// AppendResources appends the canonical JSON of resources: sizes as decimal
// strings, attributes and endpoint kind left out when empty or 0, keys in order.
// Group specs in the reference shape use the same form.
func AppendResources(dst []byte, r *market.Resources) []byte {
	dst = appendQuantity(dst, `{"cpu":{`, "units", r.CPU.MilliCores, r.CPU.Attributes)
	dst = append(dst, `},"endpoints":[`...)
	for i, e := range r.Endpoints {
		dst = comma(dst, i)
		if e.Kind != 0 {
			dst = appendUint(dst, `{"kind":`, uint64(e.Kind))
			dst = appendUint(dst, `,"sequence_number":`, uint64(e.SequenceNumber))
		} else {
			dst = appendUint(dst, `{"sequence_number":`, uint64(e.SequenceNumber))
		}
		dst = append(dst, '}')
	}
	dst = appendQuantity(dst, `],"gpu":{`, "units", r.GPU.Units, r.GPU.Attributes)
	dst = appendUint(dst, `},"id":`, uint64(r.ID))
	dst = appendQuantity(dst, `,"memory":{`, "size", r.Memory.Bytes, r.Memory.Attributes)
	dst = append(dst, '}')
	if len(r.Storage) > 0 {
		dst = append(dst, `,"storage":[`...)
		for i := range r.Storage {
			dst = comma(dst, i)
			dst = appendVolume(dst, &r.Storage[i])
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

func appendVolume(dst []byte, v *market.Volume) []byte {
	dst = append(dst, '{')
	if len(v.Attributes) > 0 {
		dst = append(dst, `"attributes":`...)
		dst = AppendAttributes(dst, v.Attributes)
		dst = append(dst, ',')
	}
	dst = append(dst, `"name":`...)
	dst = appendString(dst, v.Name)
	dst = append(dst, `,"size":{"val":"`...)
	dst = strconv.AppendUint(dst, v.Bytes, 10)
	return append(dst, `"}}`...)
}

// appendQuantity appends open, the attributes if any, and "name":{"val":"n"}.
func appendQuantity(dst []byte, open, name string, n uint64, as market.Attributes) []byte {
	dst = append(dst, open...)
	if len(as) > 0 {
		dst = append(dst, `"attributes":`...)
		dst = AppendAttributes(dst, as)
		dst = append(dst, ',')
	}
	dst = append(dst, '"')
	dst = append(dst, name...)
	dst = append(dst, `":{"val":"`...)
	dst = strconv.AppendUint(dst, n, 10)
	return append(dst, `"}`...)
}

// AppendAttributes appends the canonical JSON of a list of attributes: nil as
// null, empty keys and values left out.
func AppendAttributes(dst []byte, as market.Attributes) []byte {
	if as == nil {
		return append(dst, "null"...)
	}
	dst = append(dst, '[')
	for i, a := range as {
		dst = comma(dst, i)
		dst = append(dst, '{')
		if a.Key != "" {
			dst = append(dst, `"key":`...)
			dst = appendString(dst, a.Key)
		}
		if a.Key != "" && a.Value != "" {
			dst = append(dst, ',')
		}
		if a.Value != "" {
			dst = append(dst, `"value":`...)
			dst = appendString(dst, a.Value)
		}
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

func appendUint(dst []byte, key string, n uint64) []byte {
	return strconv.AppendUint(append(dst, key...), n, 10)
}

func appendBool(dst []byte, key string, v bool) []byte {
	return strconv.AppendBool(append(dst, key...), v)
}

func appendStrings(dst []byte, list []string) []byte {
	if list == nil {
		return append(dst, "null"...)
	}
	dst = append(dst, '[')
	for i, s := range list {
		dst = comma(dst, i)
		dst = appendString(dst, s)
	}
	return append(dst, ']')
}

// appendString appends a JSON string as Go's encoding/json writes it: with
// < > & and the line separators escaped, other text verbatim.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if plainByte(c) {
				i++
				continue
			}
			dst = append(dst, s[start:i]...)
			dst = appendEscape(dst, c)
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if (r == utf8.RuneError && size == 1) || r == '\u2028' || r == '\u2029' {
			dst = append(dst, s[start:i]...)
			dst = appendRune(dst, r)
			start = i + size
		}
		i += size
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

func plainByte(c byte) bool {
	return c >= 0x20 && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'
}

func appendEscape(dst []byte, c byte) []byte {
	const hex = "0123456789abcdef"
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, `\b`...)
	case '\f':
		return append(dst, `\f`...)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	return append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
}

// appendRune appends what two passes of the reference make of the rune: the
// line separators escaped, a broken byte as the replacement character.
func appendRune(dst []byte, r rune) []byte {
	switch r {
	case '\u2028':
		return append(dst, `\u2028`...)
	case '\u2029':
		return append(dst, `\u2029`...)
	}
	return utf8.AppendRune(dst, utf8.RuneError)
}
