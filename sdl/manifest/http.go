package manifest

import (
	"slices"
	"strings"
)

// Largest values of HTTP options: sizes in bytes, times in milliseconds.
const (
	MaxBodySize        = 100 << 20
	MaxReadTimeout     = 60_000
	MaxSendTimeout     = 60_000
	MaxProxyBufferSize = 1 << 20
)

// NextCases are the words that [HTTPOptions] may have for when another replica
// is tried, parted by spaces. [NextCaseOff] stands alone.
const (
	NextCases   = "error timeout 403 404 429 500 502 503 504 off"
	NextCaseOff = "off"
)

// HTTPLimit is an HTTP option with its largest value.
type HTTPLimit struct {
	// Option is the key in a document, Field that in a manifest.
	Option, Field string
	Value, Most   uint32
	// Unit is "bytes" or "ms".
	Unit string
}

// Limits lists the options that have a largest value. It is the one table of
// them, for documents and manifests.
func (o *HTTPOptions) Limits() [4]HTTPLimit {
	return [...]HTTPLimit{
		{"max_body_size", "maxBodySize", o.MaxBodySize, MaxBodySize, "bytes"},
		{"read_timeout", "readTimeout", o.ReadTimeout, MaxReadTimeout, "ms"},
		{"send_timeout", "sendTimeout", o.SendTimeout, MaxSendTimeout, "ms"},
		{"proxy_buffer_size", "proxyBufferSize", o.ProxyBufferSize, MaxProxyBufferSize, "bytes"},
	}
}

// ValidNextCase reports whether s is one of [NextCases].
func ValidNextCase(s string) bool { return slices.Contains(strings.Split(NextCases, " "), s) }

// validate keeps out what routers could read as more than an option.
func (o *HTTPOptions) validate(c *collector, field string) {
	for _, l := range o.Limits() {
		if l.Value > l.Most {
			c.add(field+"."+l.Field, "at most "+num(l.Most)+" "+l.Unit, num(l.Value))
		}
	}
	for _, name := range o.NextCases {
		switch {
		case !ValidNextCase(name):
			c.add(field+".nextCases", NextCases, "another word")
		case name == NextCaseOff && len(o.NextCases) > 1:
			c.add(field+".nextCases", NextCaseOff+" alone", "others beside it")
		}
	}
}
