package manifest

import (
	"fmt"

	"github.com/moorage-dev/moorage/market"
)

const (
	// MaxEncodedBytes bounds the JSON form of a manifest, read or written:
	// 32 MiB, several hundred times the largest published one, so that a
	// provider can hold what any tenant sends.
	MaxEncodedBytes = 32 << 20
	// MaxMismatches bounds the differences that [Check] collects: more of them
	// help nobody, and a hostile manifest must not grow the answer.
	MaxMismatches = 100
	// MaxHostnameLength is the longest host name, RFC 1123.
	MaxHostnameLength = 253
	// MaxPort is the largest port number.
	MaxPort = 65535
)

func tooLarge(n int) error {
	return fmt.Errorf("manifest: encoding: %w: %d bytes, at most %d", market.ErrLimit, n, MaxEncodedBytes)
}
