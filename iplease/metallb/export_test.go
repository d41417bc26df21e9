package metallb

import (
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/moorage-dev/moorage/iplease/driver"
)

// Render returns the Services of an announcement, the anchor first.
func Render(c Config, a driver.Announcement) ([]*corev1ac.ServiceApplyConfiguration, error) {
	announcer, err := New(c)
	if err != nil {
		return nil, err
	}
	record, err := encode(a)
	if err != nil {
		return nil, err
	}
	c = announcer.cfg
	out := []*corev1ac.ServiceApplyConfiguration{c.object(c.anchor(a, record))}
	for _, s := range c.services(a) {
		out = append(out, c.object(s))
	}
	return out, nil
}

// Encode and Decode are the record on an anchor.
func Encode(a driver.Announcement) (string, error) { return encode(a) }

// Decode reads a record.
func Decode(text string) (driver.Announcement, error) { return decode(text) }

// ParseRange reads a range of a pool.
func ParseRange(text string) (driver.Range, error) { return parseRange(text) }
