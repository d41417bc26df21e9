package manifest

import (
	"fmt"

	"github.com/moorage-dev/moorage/market"
)

const (
	// MaxEncodedBytes bounds the JSON form of a manifest that is written or
	// hashed: 128 MiB, what the largest document compiles to. A document can
	// name its services many times, so the bound is on the result.
	MaxEncodedBytes = 128 << 20
	// MaxDecodedBytes bounds the JSON form that is read: 16 MiB, a hundred times
	// the largest published one, so that a provider can hold what tenants send.
	MaxDecodedBytes = 16 << 20
	// MaxMismatches bounds the differences that [Check] collects: more of them
	// help nobody, and a hostile manifest must not grow the answer.
	MaxMismatches = 100
	// MaxHostnameLength is the longest host name, RFC 1123.
	MaxHostnameLength = 253
	// MaxPort is the largest port number.
	MaxPort = 65535
)

func tooLarge(n, most int) error {
	return fmt.Errorf("manifest: %w: %d bytes, at most %d", market.ErrLimit, n, most)
}
